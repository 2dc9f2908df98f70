import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { DmaBuffer, VfioDevice } from '../../lib/index.ts';
import { FakeHost } from '../../lib/testing/index.ts';

/** Memory of this process that it has touched, in bytes. */
const touched = (fake: { bar: (name: 'bar0') => { bytes: Uint8Array } }): number => {
  const smaps = readFileSync('/proc/self/smaps', 'utf8');
  const size = fake.bar('bar0').bytes.length / 1024;
  const sizes = [...smaps.matchAll(/memfd:vfio-dma[^]*?Size: +(\d+) kB[^]*?Rss: +(\d+) kB/g)];
  return Number(sizes.find(([, kilobytes]) => Number(kilobytes) === size)?.[2]) * 1024;
};

describe('the fake kernel side answers as the kernel does', () => {
  let host: FakeHost;
  beforeEach(() => {
    host = FakeHost.install();
  });
  afterEach(() => {
    assert.deepEqual(host.openDevices, []);
    host.dispose();
  });

  it('to a file that it cannot map: an errno, not the step of the addon', async () => {
    await using device = await VfioDevice.open(host.addDevice().address);
    await using ioas = device.createIoas();
    const folder = mkdtempSync('/dev/shm/vfio-test-');
    const path = join(folder, 'file');
    writeFileSync(path, new Uint8Array(4096));
    const fd = openSync(path, 'r');
    try {
      await assert.rejects(ioas.map({ fd, offset: 0, length: 4096 }), {
        code: 'EACCES',
        request: 'IOMMU_IOAS_MAP_FILE',
      });
    } finally {
      closeSync(fd);
      rmSync(folder, { recursive: true });
    }
  });

  it('to a bind where another iommufd has the group: EPERM, with that reason', async () => {
    const one = host.addDevice({ group: 7 });
    const other = host.addDevice({ group: 7 });
    await using device = await VfioDevice.open(one.address);
    assert.ok(device);
    await assert.rejects(VfioDevice.open(other.address), {
      code: 'EPERM',
      reason: 'group-owned',
      certainty: 'certain',
    });
  });

  it('to a bind without interrupt remapping, where a test says so', async () => {
    const fake = host.addDevice();
    const parameter = 'module/iommufd/parameters/allow_unsafe_interrupts';
    writeFileSync(join(host.sysfsRoot, parameter), 'N\n');
    host.inject({ call: 'VFIO_DEVICE_BIND_IOMMUFD', errno: 'EPERM' });
    await assert.rejects(VfioDevice.open(fake.address), { reason: 'unsafe-interrupts' });
  });

  it('to accesses of ports, which need no memory decoding', async () => {
    let written = 0;
    const fake = host.addDevice({
      bars: { bar0: { size: 64, io: true, write: () => written++ }, bar1: { size: 4096 } },
    });
    const device = await VfioDevice.open(fake.address);
    const [ports, memory, config] = [
      device.region('bar0'),
      device.region('bar1'),
      device.region('config'),
    ];
    ports.write32(0, 5);
    const command = config.read16(4);
    config.write16(4, command & ~2);
    assert.equal(ports.read32(0), 5);
    assert.throws(() => memory.read32(0), { code: 'EIO' });
    config.write16(4, (command & ~1) | 2);
    assert.equal(ports.read32(0), 0xffff_ffff);
    ports.write32(0, 6);
    assert.equal(written, 1);
    assert.equal(memory.read32(0), 0);
    config.write16(4, command);
    const gone = fake.unplug();
    assert.equal(ports.read16(0), 0xffff);
    assert.throws(() => memory.read32(0), { code: 'EIO' });
    assert.throws(
      () => {
        memory.write32(0, 1);
      },
      { code: 'EIO' },
    );
    config.write16(4, 0);
    await device.close();
    await gone;
  });

  it('to writes of BAR registers, by which a program finds their sizes', async () => {
    const fake = host.addDevice({
      bars: {
        bar0: { size: 0x2_0000 },
        bar1: { size: 0x20, io: true },
        bar2: { size: 2 ** 32, wide: true },
        bar4: { size: 16 },
      },
    });
    const registers = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24];
    const sizing = async (): Promise<[number[], number[]]> => {
      await using device = await VfioDevice.open(fake.address);
      const config = device.region('config');
      const read = (): number[] => registers.map((at) => config.read32(at));
      const before = read();
      for (const at of registers) config.write32(at, 0xffff_ffff);
      return [before, read()];
    };
    const [placed, masks] = await sizing();
    assert.deepEqual(masks, [0xfffe_0000, 0xffff_ffe1, 4, 0xffff_ffff, 0xffff_fff0, 0]);
    const [bar0 = 0, bar1 = 0, low = 0, high = 0, bar4 = 0, none] = placed;
    assert.deepEqual([bar0 % 0x2_0000, bar1 % 0x20, bar4 % 16, low, none], [0, 1, 0, 4, 0]);
    // Above 4 GiB, at a multiple of its size.
    assert.ok(bar0 > 0 && bar4 > 0 && high > 0);
    // They are the program's own: the device keeps its, and the next one who opens it finds those.
    const view = new DataView(fake.configBytes.buffer);
    assert.equal(view.getUint32(0x10, true), bar0);
    assert.deepEqual((await sizing())[0], placed);
    await using device = await VfioDevice.open(fake.address);
    const config = device.region('config');
    config.write8(0x13, 0x12);
    config.write8(0x12, 0x35);
    assert.equal(config.read32(0x10), 0x1234_0000);
    assert.equal(device.pci.readConfig().problems.length, 0);
    await device.reset();
    assert.equal(config.read32(0x10), 0x1234_0000);
  });

  it('places all BARs, none over another', () => {
    const half = { size: 2 ** 28 };
    const fake = host.addDevice({
      bars: { bar0: { size: 16 }, bar1: half, bar2: half, bar3: half },
    });
    const view = new DataView(fake.configBytes.buffer);
    const starts = [0x14, 0x18, 0x1c].map((at) => view.getUint32(at, true));
    assert.equal(new Set(starts).size, 3);
    for (const start of starts) assert.equal(start % half.size, 0);
    assert.ok(view.getUint32(0x10, true) >= 0x8000_0000);
    const large = { size: 2 ** 31 };
    assert.throws(() => host.addDevice({ bars: { bar0: large, bar1: half } }), {
      code: 'ERR_OUT_OF_RANGE',
    });
    assert.equal(host.devices.length, 1);
  });

  it('to thousands of maps, as fast as they come', async () => {
    await using device = await VfioDevice.open(host.addDevice().address);
    await using ioas = device.createIoas();
    await device.attach(ioas);
    await using memory = await DmaBuffer.allocate(4096);
    const time = (count: number): number => {
      const start = performance.now();
      const maps = Array.from({ length: count }, () => ioas.mapSync(memory));
      const took = performance.now() - start;
      assert.equal(new Set(maps.map(({ iova }) => iova)).size, count);
      // A hole is found again, and maps beside it are not touched.
      const [, second, third] = maps;
      second?.unmapSync();
      const again = ioas.mapSync(memory, { iova: second?.iova });
      assert.throws(() => ioas.mapSync(memory, { iova: third?.iova }), { code: 'EEXIST' });
      again.unmapSync();
      assert.equal(ioas.mapSync(memory).iova, second?.iova);
      ioas.unmapSync(0n, 2n ** 64n - 1n);
      return took;
    };
    time(100);
    // It took 27 s, cubic in their number.
    assert.ok(time(2000) < 5000);
    await device.detach();
  });

  it('to a large BAR with no more memory than is touched', async () => {
    const size = 2 ** 30;
    const fake = host.addDevice({
      bars: { bar0: { size, wide: true, initial: Uint8Array.of(1, 2, 3) } },
    });
    const { bytes } = fake.bar('bar0');
    const device = await VfioDevice.open(fake.address);
    const bar = device.region('bar0').map();
    bar.write32(size - 4, 7);
    bytes[size / 2] = 9;
    new Uint8Array(bar.unsafeArrayBuffer())[1] = 8;
    assert.deepEqual([...bytes.subarray(0, 4)], [1, 8, 3, 0]);
    await device.reset();
    assert.deepEqual([...bytes.subarray(0, 4)], [1, 2, 3, 0]);
    assert.deepEqual([bytes[size / 2], bar.read32(size - 4)], [0, 0]);
    bar.closeSync();
    await device.close();
    assert.ok(touched(fake) <= 2 ** 21, `${touched(fake)} bytes`);
  });
});
