import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { GroupDevice } from '../../lib/backend/group_device.ts';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import { fs } from '../../lib/core/builtins.ts';
import { VfioError } from '../../lib/core/errors.ts';
import { OwnedFd } from '../../lib/core/owned_fd.ts';
import { FdMessage } from '../../lib/handover/socket.ts';
import { DmaBuffer, DmaPool, FdListener, Iommufd } from '../../lib/index.ts';
import { Ioas } from '../../lib/iommu/ioas.ts';
import { type PeerMap, PeerMaps } from '../../lib/region/owner.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { openNull } from '../support/null_fd.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { tree } from '../support/tree.ts';

const { EDEADLK, EIO } = constants.errno;

/** The kernel frees a descriptor also where it answers an error to its closing. */
function failingFirst<Result>(
  close: (fd: NativeFd) => Result,
  failed: (closed: Result) => Result,
): (fd: NativeFd) => Result {
  let calls = 0;
  return (fd) => {
    const result = close(fd);
    calls++;
    return calls === 1 ? failed(result) : result;
  };
}

const forms = {
  close: (): Parameters<typeof withBinding>[0] => {
    const { close } = binding();
    return {
      close: failingFirst(
        (fd) => close(fd),
        (closed) => closed?.then(() => -EIO),
      ),
    };
  },
  closeSync: (): Parameters<typeof withBinding>[0] => {
    const { closeSync } = binding();
    return {
      closeSync: failingFirst(
        (fd) => closeSync(fd),
        () => -EIO,
      ),
    };
  },
};

for (const [form, fakes] of Object.entries(forms)) {
  const name = form as keyof typeof forms;

  describe(`${name}() where a descriptor does not close well`, () => {
    it('closes the other descriptors of a message', async () => {
      const before = libraryFds();
      const message = FdMessage.of(new Uint8Array(1), [openNull(), openNull(), openNull()], 'test');
      await assert.rejects(
        withBinding(fakes(), async () => {
          await message[name]();
        }),
        isEio,
      );
      assertNoMore(libraryFds(), before);
    });

    it('removes the file of a listener and tells both errors', async () => {
      const before = libraryFds();
      const listener = FdListener.listen(join(tree({}), 'socket'));
      const gone = new VfioError({ code: 'EACCES', message: 'unlink' });
      const { unlinkSync } = fs;
      fs.unlinkSync = () => {
        throw gone;
      };
      try {
        await withBinding(fakes(), async () => {
          const told = await bothErrors(() => listener[name]());
          assert.deepEqual([told[0], isEio(told[1])], [gone, true]);
        });
      } finally {
        fs.unlinkSync = unlinkSync;
      }
      assertNoMore(libraryFds(), before);
    });

    it('leaves the group of a device all the same, and closes what it owns', async () => {
      const did: string[] = [];
      const broken = new VfioError({ code: 'EIO', message: 'broken' });
      const fail = (): never => {
        did.push('device');
        throw broken;
      };
      const device = groupDevice(did, {
        close: () => Promise.resolve().then(fail),
        closeSync: fail,
      });
      await assert.rejects(
        Promise.resolve().then(() => device[name]()),
        broken,
      );
      assert.deepEqual(did, ['device', 'group', 'container']);
    });
  });
}

const unmaps = {
  close: (unmap: () => number | bigint) => ({ ioasUnmap: () => Promise.resolve(unmap()) }),
  closeSync: (unmap: () => number | bigint) => ({ ioasUnmapSync: unmap }),
};

for (const [form, fakesOf] of Object.entries(unmaps)) {
  const name = form as keyof typeof unmaps;

  describe(`${name}() where a map does not go`, () => {
    /** An address space that maps everything; the first unmap is refused. */
    async function withSpace(body: (ioas: Ioas) => Promise<void>): Promise<void> {
      const fd = OwnedFd.open('/dev/null', 'the fake iommufd');
      let calls = 0;
      let iova = 0n;
      const fakes = {
        ioasMapMemorySync: () => (iova += 4096n),
        ...fakesOf(() => (calls++ === 0 ? -EDEADLK : 4096n)),
      };
      await withBinding(fakes, () => body(Ioas.adopt(Iommufd.adopt(fd).parent, 1)));
      fd.closeSync();
    }

    it('unmaps the other maps of a buffer', () =>
      withSpace(async (ioas) => {
        const buffer = DmaBuffer.allocateSync(4096);
        const [first, second] = [ioas.mapSync(buffer), ioas.mapSync(buffer)];
        const dispose = name === 'close' ? 'dispose' : 'disposeSync';
        await failure(() => buffer[dispose](), 'EDEADLK');
        assert.deepEqual([first.mapped, second.mapped], [true, false]);
        await buffer[dispose]();
        assert.equal(first.mapped, false);
      }));

    it('disposes of the other chunks of a pool', () =>
      withSpace(async (ioas) => {
        const pool = new DmaPool(ioas, { chunkSize: 4096 });
        const blocks = [pool.allocateSync(4096), pool.allocateSync(4096)];
        await failure(() => pool[name](), 'EDEADLK');
        assert.deepEqual(
          blocks.map(({ bytes }) => bytes.length),
          [4096, 0],
        );
        await pool[name]();
        assert.deepEqual(ioas.mappings, []);
      }));

    it('unmaps the other regions that devices reach of one', async () => {
      const did: string[] = [];
      const broken = new Error('broken');
      const map = (what: string): PeerMap => {
        const end = (): void => {
          did.push(what);
          if (what === 'first') throw broken;
        };
        const unmap = (): Promise<void> => Promise.resolve().then(end);
        return { mapped: true, endSync: end, unmap } as unknown as PeerMap;
      };
      const peers = new PeerMaps();
      peers.add(map('first'));
      peers.add(map('second'));
      await assert.rejects(
        Promise.resolve().then(() => peers[name]()),
        broken,
      );
      assert.deepEqual(did, ['first', 'second']);
    });
  });
}

async function bothErrors(call: () => unknown): Promise<unknown[]> {
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof AggregateError, String(error));
    return error.errors as unknown[];
  }
  assert.fail('it did not fail');
}

/** Of what closing takes, and no more. */
function groupDevice(did: string[], fd: object): GroupDevice {
  const own = {
    close: () => Promise.resolve().then(() => did.push('container')),
    closeSync: () => did.push('container'),
  };
  function* leave(): Generator<never, void> {
    did.push('group');
    yield* [];
  }
  const container = { own, groups: { leave } };
  const parts = [{ fd }, {}, {}, container, { kind: 'group' }] as unknown;
  return new GroupDevice(...(parts as ConstructorParameters<typeof GroupDevice>));
}

function isEio(error: unknown): boolean {
  return error instanceof VfioError && error.code === 'EIO';
}
