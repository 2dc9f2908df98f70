import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { describe, it } from 'mocha';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import type { Roots } from '../../lib/core/location.ts';
import { FdChannel, type FdMessage, Iommufd, unpackDevice, VfioError } from '../../lib/index.ts';
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

describe('a message that cannot be read', () => {
  const good = { device: { bus: 'pci', address: fakeAddress }, devId: 7, ioasIds: [3] };
  const cases: [name: string, said: unknown, field: string, text: RegExp][] = [
    ['is cut off', Buffer.from('{"device": {'), 'description', /no JSON/],
    ['is no text', Uint8Array.of(0xff, 0), 'description', /no JSON/],
    ['is a list', [good], 'description', /not an object/],
    ['is wrapped', JSON.stringify({ ok: true, device: good }), 'device.bus', /not a string/],
    ['has no address', { ...good, device: { bus: 'pci' } }, 'device.address', /not a string/],
    ['has no id', { ...good, devId: undefined }, 'devId', /devId is not an integer .* undefined/],
    ['has an id as text', { ...good, devId: '7' }, 'devId', /but '7'/],
    ['has no spaces', { ...good, ioasIds: undefined }, 'ioasIds', /not an array/],
    ['has a bad space', { ...good, ioasIds: [3, -1] }, 'ioasIds[1]', /from 1 to .* but -1/],
    [
      'is newer',
      { ...good, version: 2 },
      'version',
      /^the message is of version 2, and .* knows version 1$/,
    ],
    ['is newer than its fields', { version: 7 }, 'version', /of version 7, and/],
    ['is of no version', { ...good, version: '1' }, 'version', /but '1'/],
    ['is older than the first', { ...good, version: 0 }, 'version', /from 1 to .* but 0/],
    ['has no descriptors', good, 'fds', /2 descriptors, and not with 0/],
    ['is long', { ...good, devId: 'x'.repeat(10_000) }, 'devId', /^.{1,300}$/],
    ['is coloured', { ...good, devId: '\x1b[31m' }, 'devId', /\\x1[bB]\[31m/],
  ];
  for (const [name, said, field, text] of cases) {
    it(`names the field: ${name}`, async () => {
      const error = await failure(() => unpackDevice(said, [], roots()), 'ERR_VFIO_BAD_MESSAGE');
      assert.ok(error instanceof VfioError);
      assert.equal(error.field, field);
      assert.match(error.message, text);
    });
  }

  it('is not one of the first version, which says so or does not', async () => {
    for (const version of [{}, { version: 1 }]) {
      await withBinding({ ...fakeIoctls }, async () => {
        await using message = await messageWith('/dev/null', '/dev/zero');
        const said = JSON.stringify({ ...description, ...version });
        await unpackDevice(said, message.fds, roots()).device.close();
      });
    }
  });

  it('names the descriptor that is something else', async () => {
    for (const [files, field] of [
      [['/dev/full', '/dev/zero'], 'fds[0]'],
      [['/dev/null', '/dev/full'], 'fds[1]'],
    ] as const) {
      await withBinding({ ...fakeIoctls }, async () => {
        await using message = await messageWith(...files);
        const taking = (): unknown => unpackDevice(description, message.fds, roots());
        const error = await failure(taking, 'ERR_VFIO_NOT_VFIO');
        assert.ok(error instanceof VfioError);
        assert.equal(error.field, field);
        assert.ok(error.message.includes(`(${field} of the message)`));
      });
    }
  });
});

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
