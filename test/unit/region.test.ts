import assert from 'node:assert/strict';
import { readFileSync, truncateSync } from 'node:fs';
import { describe, it } from 'mocha';
import { VfioError } from '../../lib/index.ts';
import { findRegion } from '../../lib/region/find.ts';
import { Region } from '../../lib/region/region.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { tree } from '../support/tree.ts';
import { fileOwner, fileRegion, regionInfo } from '../support/file_region.ts';

const counting = Uint8Array.from({ length: 0x100 }, (_, at) => at);

describe('Region', () => {
  it('reads bytes, into a new array or into the one given', () => {
    using file = fileRegion(counting);
    assert.deepEqual(file.region.read(0x10, 4), Uint8Array.of(0x10, 0x11, 0x12, 0x13));
    const room = new Uint8Array(8).fill(0xff);
    assert.equal(file.region.read(0x20, room.subarray(2, 4)).length, 2);
    assert.deepEqual(room, Uint8Array.of(255, 255, 0x20, 0x21, 255, 255, 255, 255));
    assert.deepEqual(file.region.read(0xff, 1), Uint8Array.of(0xff));
    assert.deepEqual(file.region.read(0x100, 0), new Uint8Array(0));
  });

  it('reads and writes registers of every width, little-endian, in their place', () => {
    using file = fileRegion(counting);
    const { region } = file;
    assert.equal(region.read8(3), 3);
    assert.equal(region.read16(2), 0x0302);
    assert.equal(region.read32(0xfc), 0xfffefdfc);
    assert.equal(region.read64(8), 0x0f0e0d0c0b0a0908n);
    region.write8(0, 0xaa);
    region.write16(2, 0xbbcc);
    region.write32(4, 0xfedcba98);
    region.write64(8, 0xffeeddccbbaa9988n);
    region.write(16, Uint8Array.of(1, 2, 3));
    const hex = '0xaa 01 ccbb 98badcfe 8899aabbccddeeff 010203 13'.replace(/0x| /g, '');
    const content = readFileSync(file.path);
    assert.equal(content.subarray(0x2000, 0x2000 + hex.length / 2).toString('hex'), hex);
    assert.equal(content.subarray(0, 0x2000).findIndex(Boolean), -1);
  });

  it('reaches a place past 2^32 that the kernel gave', () => {
    using file = fileRegion(new Uint8Array(0), { offset: 7n, size: 8 });
    const far = Region.of(file.owner, regionInfo({ offset: 0xa_1234_5678n }));
    far.write32(0x10, 0xcafe_f00d);
    assert.equal(far.read32(0x10), 0xcafe_f00d);
    const same = Region.of(file.owner, regionInfo({ offset: 0xa_1234_5688n }));
    assert.equal(same.read32(0), 0xcafe_f00d);
  });

  it('fails where less is transferred than was asked for', async () => {
    using file = fileRegion(counting);
    truncateSync(file.path, 0x2006);
    const error = await failure(() => file.region.read(4, 4), 'ERR_VFIO_SHORT_TRANSFER');
    assert.match(error.message, /pread of 4 bytes at bar0\+0x4 of 0000:3b:00.0 transferred 2/);
    await failure(() => file.region.read32(0x10), 'ERR_VFIO_SHORT_TRANSFER');
  });

  it('fails with the kernel’s error, and says where and why', async () => {
    // Nothing is mapped at address 0: reading there is EIO, as in a BAR with decoding off.
    const owner = fileOwner('/proc/self/mem');
    const region = Region.of(owner, regionInfo({ offset: 0n, name: 'bar2' }));
    const error = await failure(() => region.read32(0x10), 'EIO');
    assert.ok(error instanceof VfioError);
    const { syscall, device, region: where, path } = error;
    assert.deepEqual([syscall, device, where], ['pread', '0000:3b:00.0', 'bar2+0x10']);
    assert.match(error.message, /memory decoding is off/);
    assert.equal(path, '/proc/self/mem');
    await failure(() => {
      region.write32(0x10, 1);
    }, 'EIO');
    owner.fd.closeSync();
  });

  it('is refused after the device was closed', async () => {
    const file = fileRegion(counting);
    file.owner.fd.closeSync();
    await failure(() => file.region.read8(0), 'ERR_VFIO_CLOSED');
    await failure(() => {
      file.region.write8(0, 0);
    }, 'ERR_VFIO_CLOSED');
  });
});

describe('findRegion', () => {
  const type = { kind: 'type', type: 0x8000_8086, subtype: 2 } as const;
  const device = { bus: 'pci', address: '0000:3b:00.0', sysfsPath: '/nowhere' };
  const regions = [
    regionInfo(),
    regionInfo({ index: 1, name: 'bar1', size: 0 }),
    regionInfo({ index: 9, name: 'region9', capabilities: [type] }),
  ];

  it('finds by name, by index, by type', () => {
    const index = (spec: Parameters<typeof findRegion>[1]): number =>
      findRegion({ regions }, spec, device).index;
    assert.deepEqual(
      [index('bar0'), index(9), index('region9'), index({ type: 0x8000_8086, subtype: 2 })],
      [0, 9, 9, 9],
    );
  });

  it('says what there is where there is no such region', async () => {
    for (const spec of ['bar1', 'vga', 1, 77, { type: 1, subtype: 2 }]) {
      const error = await failure(
        () => findRegion({ regions }, spec, device),
        'ERR_VFIO_NO_REGION',
      );
      assert.match(error.message, /it has bar0, region9$/);
    }
  });

  it('says that there is a ROM which the kernel does not show', async () => {
    const withRom = [...regions, regionInfo({ index: 6, name: 'rom', size: 0 })];
    const find = (sysfsPath: string) => (): unknown =>
      findRegion({ regions: withRom }, 'rom', { ...device, sysfsPath });
    const hidden = await vfioFailure(find(tree({ rom: '' })), 'ERR_VFIO_NO_REGION');
    assert.deepEqual(
      [hidden.reason, hidden.facts],
      ['rom-unreadable', { address: device.address }],
    );
    const none = await vfioFailure(find(tree({})), 'ERR_VFIO_NO_REGION');
    assert.equal(none.reason, undefined);
  });
});
