import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { describe, it } from 'mocha';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import type { Roots } from '../../lib/core/location.ts';
import { FdChannel, type FdMessage, Iommufd, unpackDevice } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeVfio } from '../support/fake_vfio.ts';
import { libraryFds } from '../support/proc.ts';
import { put } from '../support/tree.ts';

const EIO = -constants.errno.EIO;
const description = { device: { bus: 'pci', address: fakeAddress }, devId: 7, ioasIds: [] };

/** Sysfs with the device as /dev/null and iommufd as /dev/zero. */
function roots(): Roots {
  const all = fakeVfio();
  put(all.sysfsRoot, { 'class/misc/iommu/dev': '1:5\n' });
  return all;
}

/** A message with these files. */
async function messageWith(...paths: string[]): Promise<FdMessage> {
  const [a, b] = FdChannel.pair();
  const fds = paths.map((path) => openSync(path, 'r+'));
  await a.send(Uint8Array.of(1), fds);
  const message = await b.receive();
  for (const fd of fds) closeSync(fd);
  await Promise.all([a.close(), b.close()]);
  assert.ok(message);
  return message;
}

/** Descriptors are closed, and the close with this number is said to have failed. */
function failingClose(at: number): (fd: NativeFd) => number | undefined {
  const { closeSync: close } = binding();
  let calls = 0;
  return (fd) => {
    const answer = close(fd);
    return calls++ === at ? EIO : answer;
  };
}

describe('a received descriptor that does not close', () => {
  it('leaves no device behind that nobody has', async () => {
    const all = roots();
    const before = libraryFds();
    let failures = 0;
    await withBinding({ ...fakeIoctls }, async () => {
      // Whichever it is: what is inspected and the message's own are closed by the same function.
      for (let at = 0; ; at++) {
        await using message = await messageWith('/dev/null', '/dev/zero');
        const failed = await withBinding({ closeSync: failingClose(at) }, () => {
          try {
            unpackDevice(description, message.fds, all).device.closeSync();
            return false;
          } catch {
            return true;
          }
        });
        await message.close();
        assert.deepEqual(libraryFds(), before, `close ${at}`);
        if (!failed) break;
        failures++;
      }
    });
    // At least one to look whether it is bound, and the two of the message.
    assert.ok(failures >= 3, `${failures} closes failed`);
  });

  it('leaves nothing of what took it over', async () => {
    const all = roots();
    const before = libraryFds();
    await using message = await messageWith('/dev/zero');
    const [fd] = message.fds;
    assert.ok(fd);
    await withBinding({ closeSync: failingClose(0) }, () =>
      failure(() => Iommufd.fromFd(fd, all), 'EIO'),
    );
    assert.deepEqual(libraryFds(), before);
  });
});
