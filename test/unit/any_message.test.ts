import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { Roots } from '../../lib/core/location.ts';
import { parseUevent } from '../../lib/host/uevent.ts';
import { FdChannel, type FdMessage, unpackDevice, VfioError } from '../../lib/index.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeVfio } from '../support/fake_vfio.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { put } from '../support/tree.ts';

/** Sysfs with the device as /dev/null and iommufd as /dev/zero. */
function roots(): Roots {
  const all = fakeVfio();
  put(all.sysfsRoot, { 'class/misc/iommu/dev': '1:5\n' });
  return all;
}

/** Mostly as it should be; anything sometimes. */
const mostly = (good: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 4, arbitrary: good }, { weight: 1, arbitrary: fc.anything() });

const descriptions = mostly(
  fc.record({
    device: mostly(
      fc.record({ bus: mostly(fc.constant('pci')), address: mostly(fc.constant(fakeAddress)) }),
    ),
    devId: mostly(fc.nat(2 ** 32)),
    ioasIds: mostly(fc.array(mostly(fc.nat(8)), { maxLength: 3 })),
  }),
);

const files = fc.oneof(
  { weight: 3, arbitrary: fc.constant(['/dev/null', '/dev/zero']) },
  fc.array(fc.constantFrom('/dev/null', '/dev/zero', '/dev/full'), { maxLength: 3 }),
);

async function messageWith(paths: readonly string[]): Promise<FdMessage> {
  const [a, b] = FdChannel.pair();
  const fds = paths.map((path) => openSync(path, 'r+'));
  await a.send(Uint8Array.of(1), fds);
  const message = await b.receive();
  for (const fd of fds) closeSync(fd);
  await Promise.all([a.close(), b.close()]);
  assert.ok(message);
  return message;
}

describe('any message', () => {
  it('with a device is taken as a whole, or refused with a VfioError and its descriptors left', async () => {
    const all = roots();
    const before = libraryFds();
    const seen = new Set<string>();
    const property = fc.asyncProperty(descriptions, files, async (description, paths) => {
      await using message = await messageWith(paths);
      try {
        const { device, ioases } = unpackDevice(description, message.fds, all);
        for (const ioas of ioases) ioas.closeSync();
        device.closeSync();
        seen.add('device');
      } catch (error) {
        assert.ok(error instanceof VfioError, error instanceof Error ? error.stack : String(error));
        seen.add(error.code);
        assert.ok(message.fds.every((fd) => fd.fd >= 0));
      }
      await message.close();
      assertNoMore(libraryFds(), before);
    });
    await withBinding({ ...fakeIoctls }, () => fc.assert(property, { endOnFailure: true }));
    for (const outcome of ['device', 'ERR_VFIO_BAD_MESSAGE'])
      assert.ok(seen.has(outcome), [...seen].join());
  });

  it('of the uevent socket is read as the kernel writes it, or is none', () => {
    const line = fc.oneof(
      fc.constantFrom('add@/devices/a', 'ACTION=add', 'DEVPATH=/devices/a', 'SUBSYSTEM=pci'),
      fc.constantFrom('SEQNUM=7', 'SEQNUM=-1', 'DEVPATH=/../etc', 'remove@/x', '=', '', 'a=b=c'),
      fc.string({ unit: 'binary', maxLength: 12 }),
    );
    const usual = [
      'add@/devices/a',
      'ACTION=add',
      'DEVPATH=/devices/a',
      'SUBSYSTEM=pci',
      'SEQNUM=7',
    ];
    const texts = fc.tuple(fc.constantFrom([], usual), fc.array(line, { maxLength: 8 }));
    const messages = fc.oneof(
      texts.map(([head, more]) => Buffer.from([...head, ...more].join('\0'))),
      fc.uint8Array({ maxLength: 300 }),
    );
    fc.assert(
      fc.property(messages, (bytes) => {
        const event = parseUevent(bytes);
        if (event === undefined) return;
        assert.ok(Number.isSafeInteger(event.seqnum) && event.seqnum >= 0);
        assert.ok(event.devpath.startsWith('/') && !event.devpath.split('/').includes('..'));
        assert.ok(Buffer.from(bytes).toString().startsWith(`${event.action}@${event.devpath}`));
      }),
    );
    assert.ok(parseUevent(Buffer.from(usual.join('\0'))));
  });
});
