import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, it } from 'mocha';
import {
  DmaBuffer,
  Iommufd,
  listDevices,
  packDevice,
  VfioDevice,
  VfioError,
  type VfioFacts,
} from '../../lib/index.ts';
import { DmaFault, FakeHost } from '../../lib/testing/index.ts';
import { root } from '../support/root.ts';

describe('a fake host', () => {
  let host: FakeHost;
  beforeEach(() => {
    host = FakeHost.install();
  });
  afterEach(() => {
    assert.deepEqual(host.openDevices, []);
    host.dispose();
  });

  it('has devices that open, by their address, and say what they are', async () => {
    const fake = host.addDevice({
      vendor: 0x1b36,
      device: 0x0010,
      classCode: 0x010802,
      bars: { bar0: { size: 0x4000, wide: true } },
      msi: 4,
      msix: 8,
    });
    const [listed] = await listDevices();
    assert.equal(listed?.address, fake.address);
    assert.equal(listed.class, '0x010802');
    await using device = await VfioDevice.open(fake.address);
    assert.ok(fake.isOpen);
    const config = device.pci.readConfig();
    assert.deepEqual(config.problems, []);
    assert.deepEqual(
      config.capabilities.map(({ kind }) => kind),
      ['pm', 'pcie', 'msi', 'msix'],
    );
    assert.deepEqual(
      device.info.irqs.map(({ name, count }) => [name, count]),
      [
        ['intx', 1],
        ['msi', 4],
        ['msix', 8],
        ['err', 1],
        ['req', 1],
      ],
    );
    assert.equal(device.info.regions[0]?.size, 0x4000);
    assert.deepEqual(device.info.flags, ['reset', 'pci']);
  });

  it('calls hooks for every way to a register', async () => {
    const seen: [string, number, number, number?][] = [];
    const fake = host.addDevice({
      bars: {
        bar0: {
          size: 0x1000,
          read: (offset, width) => {
            seen.push(['r', offset, width]);
            return offset === 8 ? 0x1234_5678 : undefined;
          },
          write: (offset, value, width) => {
            seen.push(['w', offset, width, value]);
          },
        },
      },
    });
    await using device = await VfioDevice.open(fake.address);
    const took = (): typeof seen => seen.splice(0);
    const bar = device.region('bar0').map();
    assert.equal(bar.read32(8), 0x1234_5678);
    bar.write16(2, 0xbeef);
    assert.equal(bar.read32(0), 0xbeef_0000);
    assert.equal(fake.bar('bar0').view.getUint16(2, true), 0xbeef);
    assert.deepEqual(took(), [
      ['r', 8, 4],
      ['w', 2, 2, 0xbeef],
      ['r', 0, 4],
    ]);
    assert.equal(bar.read64(8), 0x1234_5678n);
    bar.write64(16, 0x1_0000_0002n);
    assert.deepEqual(took(), [
      ['r', 8, 4],
      ['r', 12, 4],
      ['w', 16, 4, 2],
      ['w', 20, 4, 1],
    ]);
    const prepared = bar.prepare([
      { op: 'write', offset: 32 },
      { op: 'read', offset: 8 },
    ]);
    prepared.values[0] = 77;
    prepared.run();
    assert.equal(prepared.values[1], 0x1234_5678);
    assert.deepEqual(took(), [
      ['w', 32, 4, 77],
      ['r', 8, 4],
    ]);
    bar.writeBlock(64, Uint16Array.of(1, 2));
    assert.deepEqual(bar.readBlock(64, new Uint16Array(2)), Uint16Array.of(1, 2));
    bar.writeBatch32(Uint32Array.of(0, 4), Uint32Array.of(5, 6));
    assert.deepEqual(
      bar.readBatch32(Uint32Array.of(4, 8), new Uint32Array(2)),
      Uint32Array.of(6, 0x1234_5678),
    );
    assert.equal(await bar.poll32(8, 0xff, 0x78), 0x1234_5678);
    took();
    const region = device.region('bar0');
    region.write32(100, 9);
    assert.equal(region.read8(100), 9);
    assert.deepEqual(region.read(8, 4), Uint8Array.of(0x78, 0x56, 0x34, 0x12));
    assert.deepEqual(took(), [
      ['w', 100, 4, 9],
      ['r', 100, 1],
      ['r', 8, 4],
    ]);
    for (const offset of [-1, 2, 0x1000]) assert.throws(() => bar.read32(offset), RangeError);
    bar.closeSync();
    assert.throws(() => bar.read32(0), { code: 'ERR_VFIO_CLOSED' });
  });

  it('does DMA through the maps, and refuses what is not mapped', async () => {
    const fake = host.addDevice();
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    await using device = await VfioDevice.open(fake.address, { iommufd });
    await device.attach(ioas);
    await using memory = await DmaBuffer.allocate(8192);
    await using mapping = await ioas.map(memory, { write: false });
    const bytes = new Uint8Array(memory.buffer);
    bytes.set([1, 2, 3], 4095);
    const fails = (reason: string) => (error: unknown) =>
      error instanceof DmaFault && error.reason === reason;
    assert.throws(() => fake.readMemory(mapping.iova, 4), fails('bus-master-off'));
    device.pci.setBusMaster(true);
    assert.deepEqual(fake.readMemory(mapping.iova + 4095n, 3), Uint8Array.of(1, 2, 3));
    assert.throws(() => {
      fake.writeMemory(mapping.iova, bytes);
    }, fails('not-allowed'));
    await using second = await ioas.map(memory);
    fake.writeMemory(second.iova, Uint8Array.of(9));
    assert.equal(bytes[0], 9);
    assert.throws(() => fake.readMemory(second.iova + 8190n, 4), fails('not-mapped'));
    assert.equal(fake.dmaFaults.length, 3);
  });

  it('signals interrupts', async () => {
    const fake = host.addDevice({ msix: 4 });
    await using device = await VfioDevice.open(fake.address);
    assert.equal(fake.interrupt('msix', 1), false);
    const vectors = await device.interrupt('msix').enable(2);
    assert.equal(fake.enabledVectors('msix'), 2);
    const count = vectors[1]?.wait();
    assert.equal(fake.interrupt('msix', 1), true);
    assert.equal(await count, 1);
    await device.interrupt('msix').disable();
    assert.equal(fake.interrupt('msix', 1), false);
    const [intx] = await device.interrupt('intx').enable();
    fake.assertIntx(true);
    assert.equal(await intx?.wait(), 1);
    device.interrupt('intx').unmask();
    assert.equal(await intx?.wait(), 1);
    fake.assertIntx(false);
    device.interrupt('intx').unmask();
    await assert.rejects(intx?.wait({ timeout: 20 }) ?? Promise.resolve(), {
      code: 'ERR_VFIO_TIMEOUT',
    });
  });

  it('answers what is injected', async () => {
    const fake = host.addDevice({ msix: 4 });
    host.inject({ call: 'VFIO_DEVICE_BIND_IOMMUFD', errno: 'EBUSY' });
    await assert.rejects(VfioDevice.open(fake.address), {
      code: 'EBUSY',
      request: 'VFIO_DEVICE_BIND_IOMMUFD',
    });
    await using device = await VfioDevice.open(fake.address);
    host.inject({ call: 'VFIO_DEVICE_SET_IRQS', answer: 2, times: Infinity });
    await assert.rejects(device.interrupt('msix').enable(4), { code: 'ERR_VFIO_TOO_FEW_VECTORS' });
  });

  it('says of a device that is open already that this process has it', async () => {
    const fake = host.addDevice();
    const device = await VfioDevice.open(fake.address);
    await assert.rejects(VfioDevice.open(fake.address), (error) => {
      assert.ok(error instanceof VfioError);
      assert.equal(error.reason, 'held-by-cdev');
      const { holders } = error.facts as VfioFacts['held-by-cdev'];
      assert.deepEqual(
        holders.map(({ pid }) => pid),
        [process.pid],
      );
      assert.match(error.message, /bound already, by this process$/);
      return true;
    });
    await device.close();
  });

  it('takes a device away', async () => {
    const fake = host.addDevice({ bars: { bar0: { size: 0x1000 } } });
    await using device = await VfioDevice.open(fake.address);
    const bar = device.region('bar0').map();
    assert.equal(device.removalRequested, false);
    let asked = 0;
    device.on('request', () => asked++);
    const gone = fake.unplug();
    assert.ok(device.removalRequested);
    assert.throws(() => bar.read32(0), { code: 'EIO' });
    assert.equal(device.region('config').read16(0), 0xffff);
    await device.close();
    await gone;
    assert.deepEqual(await listDevices(), []);
    await assert.rejects(VfioDevice.open(fake.address, { timeout: 0 }), {
      code: 'ERR_VFIO_NO_DEVICE',
    });
  });

  it('answers in the order of its injections, to whom they are for, so often', async () => {
    const one = host.addDevice();
    const two = host.addDevice();
    const busy = host.inject({
      call: 'VFIO_DEVICE_RESET',
      errno: 'EIO',
      skip: 1,
      times: 2,
      device: two.address,
    });
    await using first = await VfioDevice.open(one.address);
    await using second = await VfioDevice.open(two.address);
    await first.reset();
    await second.reset();
    for (let round = 0; round < 2; round++) {
      await assert.rejects(second.reset(), { code: 'EIO', request: 'VFIO_DEVICE_RESET' });
    }
    await second.reset();
    assert.equal(busy.hits, 2);
    assert.throws(() => host.inject({ call: 'open' }), TypeError);
    assert.throws(() => host.inject({ call: 'open', errno: 'ENONSENSE' as never }), TypeError);
  });

  it('lets a call take its time', async () => {
    const fake = host.addDevice();
    let go = (): void => undefined;
    const until = new Promise<void>((resolve) => (go = resolve));
    host.inject({ call: 'VFIO_DEVICE_BIND_IOMMUFD', until });
    const controller = new AbortController();
    const opening = VfioDevice.open(fake.address, { signal: controller.signal });
    await new Promise(setImmediate);
    controller.abort(new Error('enough'));
    go();
    await assert.rejects(opening, /enough/);
  });

  it('has every errno of the kernel’s for every call of an open', async () => {
    const fake = host.addDevice({ msix: 1, bars: { bar0: { size: 0x1000 } } });
    for (const call of [
      'open',
      'VFIO_DEVICE_BIND_IOMMUFD',
      'VFIO_DEVICE_GET_INFO',
      'VFIO_DEVICE_GET_REGION_INFO',
      'VFIO_DEVICE_GET_IRQ_INFO',
    ] as const) {
      for (const errno of [
        'EPERM',
        'EBUSY',
        'ENODEV',
        'EIO',
        'EBADFD',
        'EAGAIN',
        'E524',
      ] as const) {
        host.inject({ call, errno, device: fake.address });
        await assert.rejects(VfioDevice.open(fake.address, { timeout: 0 }), { code: errno });
      }
    }
    await (await VfioDevice.open(fake.address)).close();
  });

  it('is of its thread: a share of what is fake is refused, of what is real made', async () => {
    const fake = host.addDevice({ msix: 1, bars: { bar0: { size: 0x1000 } } });
    await using device = await VfioDevice.open(fake.address);
    using bar = device.region('bar0').map();
    assert.throws(() => bar.share(), { code: 'ENOTSUP' });
    await using memory = await DmaBuffer.allocate(4096);
    assert.ok(memory.share());
    assert.equal(packDevice(device).description.version, 1);
  });

  it('shows a mapping’s memory to who takes it without its methods', async () => {
    const fake = host.addDevice({ bars: { bar0: { size: 0x1000, read: () => 7 } } });
    await using device = await VfioDevice.open(fake.address);
    const bar = device.region('bar0').map();
    const words = new Uint32Array(bar.unsafeArrayBuffer());
    fake.bar('bar0').view.setUint32(4, 42, true);
    assert.deepEqual([words[1], bar.read32(4)], [42, 7]);
    bar.closeSync();
    assert.equal(fake.bar('bar0').view.getUint32(4, true), 42);
  });

  it('leaves nothing behind', async () => {
    const fake = host.addDevice({ bars: { bar0: { size: 0x1000 } } });
    const { sysfsRoot } = host;
    assert.throws(() => FakeHost.install(), /already .*dispose of it after each test/);
    const device = await VfioDevice.open(fake.address);
    const bar = device.region('bar0').map();
    host.dispose();
    host.dispose();
    assert.ok(!existsSync(sysfsRoot));
    assert.throws(() => host.addDevice(), /disposed/);
    await assert.rejects(VfioDevice.open(fake.address, { timeout: 0 }), {
      code: 'ERR_VFIO_NO_DEVICE',
    });
    // What was open is closed like anything else.
    bar.closeSync();
    await device.close();
    host = FakeHost.install();
  });

  it('is loaded by nobody who does not import it', () => {
    const [index, ...chunks] = ['index.js', ...readdirSync(new URL('dist', root))].filter((name) =>
      name.endsWith('.js'),
    );
    assert.ok(index && chunks.length > 0);
    for (const name of [index, ...chunks]) {
      const text = readFileSync(new URL(`dist/${name}`, root), 'utf8');
      assert.doesNotMatch(text, /class FakeHost|testing\/index/);
    }
  });
});
