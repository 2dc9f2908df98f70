import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { constants } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { type Binding, binding } from '../../lib/core/binding.ts';
import { FdListener, fromShared, VfioDevice } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { assertNoMore, libraryFds, openFds } from '../support/proc.ts';

const { EIO } = constants.errno;

/** All close, and the close with this number is said to have failed. */
function failingClose(at: number): Pick<Binding, 'close' | 'closeSync'> {
  const { close, closeSync } = binding();
  let calls = 0;
  return {
    close: async (...args) => {
      const fails = calls++ === at;
      // What is said to have failed is closed all the same, before it is said.
      const answer = (await close(...args)) ?? 0;
      return fails ? -EIO : answer;
    },
    closeSync: (...args) => {
      const answer = closeSync(...args);
      return calls++ === at ? -EIO : answer;
    },
  };
}

function roots(): ReturnType<typeof fakeVfio> {
  const all = fakeVfio();
  putNode(all, fakeNode, '/dev/null');
  putNode(all, 'iommu', '/dev/zero');
  return all;
}

/** Adds 3 to its count. */
function writeEventfd(fd: number): void {
  writeSync(fd, BigUint64Array.of(3n));
}

const counted = (): string[] => openFds().filter((target) => /eventfd|socket/.test(target));

describe('the end of a device', () => {
  for (const form of ['close', 'closeSync'] as const) {
    it(`reaches all that hangs on it, whichever descriptor does not close: ${form}`, async () => {
      await withBinding(fakeIoctls, async () => {
        // What Node opens once.
        (await VfioDevice.open(fakeAddress, roots())).closeSync();
        await turn();
        for (let at = 0, failed = true; failed; at++) {
          const before = [libraryFds(), counted()] as const;
          const device = await VfioDevice.open(fakeAddress, roots());
          const [vector] = await device.interrupt(0).enable();
          assert.ok(vector);
          const shared = fromShared(vector.share());
          const iterated = vector.counts().next();
          const waiting = failure(() => vector.wait(), 'ERR_VFIO_CLOSED');
          const closed = once(device, 'close');
          failed = await withBinding(failingClose(at), async () => {
            try {
              await device[form]();
              return false;
            } catch {
              return true;
            }
          });
          assert.deepEqual(await iterated, { done: true, value: undefined }, `close ${at}`);
          await Promise.all([waiting, closed]);
          shared.close();
          await turn();
          await turn();
          assertNoMore(libraryFds(), before[0]);
          assertNoMore(counted(), before[1]);
          assert.ok(failed || at >= 4, `${at} closes`);
        }
      });
    });
  }
});

describe('a vector whose eventfd cannot be read', () => {
  it('tells who waits and who iterates, and is listened to again', async () => {
    await withBinding(fakeIoctls, async () => {
      await using device = await VfioDevice.open(fakeAddress, roots());
      const [vector] = await device.interrupt(0).enable();
      assert.ok(vector);
      const watch: Binding['eventfdWatch'] = (fd, callback) => {
        const answer = native.eventfdWatch(fd, () => undefined);
        setImmediate(() => {
          native.eventfdUnwatch(fd); // as the addon does where it cannot read
          callback(-EIO);
        });
        return answer;
      };
      const native = binding();
      await withBinding({ eventfdWatch: watch }, async () => {
        const iterated = vector.counts().next();
        const waiting = vector.wait();
        await Promise.all([failure(() => iterated, 'EIO'), failure(() => waiting, 'EIO')]);
      });
      const again = vector.wait();
      writeEventfd(vector.fd);
      assert.equal(await again, 3);
    });
  });

  it('tells who waited until his time was up', async () => {
    await withBinding(fakeIoctls, async () => {
      await using device = await VfioDevice.open(fakeAddress, roots());
      const [vector] = await device.interrupt(0).enable();
      assert.ok(vector);
      await withBinding({ eventfdRead: () => -EIO }, async () => {
        await failure(() => vector.wait({ timeout: 5 }), 'EIO');
      });
    });
  });
});

describe('a socket that cannot be made', () => {
  it('is told by the call that failed, and not by another', async () => {
    const path = '/tmp/none/of/these';
    const error = await failure(() => FdListener.listen(path), 'ENOENT');
    assert.match(error.message, /, bind '/);
    const steps = ['socket', 'fchmod', 'bind', 'fchmodat', 'listen'];
    for (const [at, name] of steps.entries()) {
      await withBinding({ socketListen: () => -(EIO + 4096 * at) }, async () => {
        const failed = await failure(() => FdListener.listen(path), 'EIO');
        assert.match(failed.message, new RegExp(`, ${name} '`));
      });
    }
  });
});
