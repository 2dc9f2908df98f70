import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { DmaBuffer, Iommufd, VfioDevice } from '../../lib/index.ts';
import {
  type FakeDeviceOptions,
  FakeHost,
  type FakeIrq,
  type InjectOptions,
} from '../../lib/testing/index.ts';

const [type, value, range] = ['ERR_INVALID_ARG_TYPE', 'ERR_INVALID_ARG_VALUE', 'ERR_OUT_OF_RANGE'];

describe('what a fake host is given', () => {
  let host: FakeHost;
  beforeEach(() => {
    host = FakeHost.install();
  });
  afterEach(() => {
    host.dispose();
  });

  const page = { size: 4096 };
  const body = new Uint8Array(8);
  const devices: [what: string, options: unknown, code: string | undefined][] = [
    ['no options', null, type],
    ['an address that is no text', { address: 7 }, type],
    ['a part of an address', { address: '3b:00.0' }, value],
    ['a vendor of 20 bits', { vendor: 0x12345 }, range],
    ['the vendor of what is not there', { vendor: 0xffff }, range],
    ['a vendor that is a text', { vendor: '8086' }, type],
    ['a device below 0', { device: -1 }, range],
    ['half a device', { device: 0.5 }, range],
    ['a class of 30 bits', { classCode: 2 ** 30 }, range],
    ['a revision that is a text', { revision: 'x' }, type],
    ['a revision of 9 bits', { revision: 256 }, range],
    ['a subsystem of 17 bits', { subsystemDevice: 0x10000 }, range],
    ['a group that is a path', { group: '../../x' }, type],
    ['a group below 0', { group: -5 }, range],
    ['BARs that are none', { bars: 3 }, type],
    ['a seventh BAR', { bars: { bar6: page } }, value],
    ['a BAR without its options', { bars: { bar0: null } }, type],
    ['a BAR without a size', { bars: { bar0: {} } }, type],
    ['a BAR of an odd size', { bars: { bar0: { size: 48 } } }, range],
    ['a BAR of memory that is too small', { bars: { bar0: { size: 8 } } }, range],
    ['a BAR of 4 GiB that is not wide', { bars: { bar0: { size: 2 ** 32 } } }, range],
    ['a BAR that is perhaps wide', { bars: { bar0: { ...page, wide: 1 } } }, type],
    ['wide ports', { bars: { bar0: { ...page, io: true, wide: true } } }, value],
    ['a wide last BAR', { bars: { bar5: { ...page, wide: true } } }, value],
    ['a wide BAR over another', { bars: { bar0: { ...page, wide: true }, bar1: page } }, value],
    ['a hook that is none', { bars: { bar0: { ...page, read: 5 } } }, type],
    ['content that is no bytes', { bars: { bar0: { ...page, initial: [1] } } }, type],
    ['more than fits', { bars: { bar0: { ...page, initial: new Uint8Array(4097) } } }, value],
    ['an INTx that is a number', { intx: 1 }, type],
    ['three messages', { msi: 3 }, range],
    ['too many messages', { msix: 2049 }, range],
    ['messages that are a text', { msix: '4' }, type],
    ['a table nowhere', { msix: 1, msixTable: { bar: 'bar0', offset: 0 } }, value],
    ['a table of no BAR', { msix: 1, msixTable: { bar: 0, offset: 0 } }, type],
    ...[-8, 4, 4096].map((offset): [string, unknown, string | undefined] => [
      `a table at ${offset}`,
      { msix: 1, bars: { bar0: page }, msixTable: { bar: 'bar0', offset } },
      range,
    ]),
    ['one capability', { capabilities: { id: 9, body } }, type],
    ['a capability of nothing', { capabilities: [{ id: 9 }] }, type],
    ['a capability of 9 bits', { capabilities: [{ id: 0x109, body }] }, range],
    ['half of power management', { capabilities: [{ id: 1, body: new Uint8Array(2) }] }, value],
    ['an extended capability of 17 bits', { extendedCapabilities: [{ id: 65536, body }] }, range],
    ['a version of 5 bits', { extendedCapabilities: [{ id: 1, body, version: 16 }] }, range],
    ['a model that is none', { onReset: {} }, type],
  ];

  for (const [what, options, code] of devices) {
    it(`makes no device of ${what}`, () => {
      assert.throws(() => host.addDevice(options as FakeDeviceOptions), { code });
      assert.deepEqual(host.devices, []);
      assert.ok(!existsSync(join(host.sysfsRoot, 'devices')));
      assert.deepEqual(readdirSync(join(host.sysfsRoot, 'kernel')), ['iommu_groups']);
    });
  }

  const until = Promise.resolve();
  const injections: [what: string, options: unknown, code: string | undefined][] = [
    ['nothing', undefined, type],
    ['a call that there is not', { call: 'VFIO_DEVICE_RESTE', errno: 'EIO' }, value],
    ['a call of Object', { call: 'toString', errno: 'EIO' }, value],
    ['no answer', { call: 'open' }, value],
    ['an error that there is not', { call: 'open', errno: 'ENONSENSE' }, value],
    ['an error beyond all', { call: 'open', errno: 'E8205' }, value],
    ['an error by its number', { call: 'open', errno: 5 }, type],
    ['an answer that is a text', { call: 'VFIO_DEVICE_SET_IRQS', answer: '2' }, type],
    ['half a time', { call: 'open', errno: 'EIO', times: 0.5 }, range],
    ['a skip below 0', { call: 'open', errno: 'EIO', skip: -1 }, range],
    ['a device that is one', { call: 'open', errno: 'EIO', device: {} }, type],
    ['a wait of no promise', { call: 'close', until: 5 }, type],
    ...(
      [
        ...['open', 'mmap', 'pread', 'load', 'store', 'VFIO_DEVICE_GET_INFO'],
        ...['VFIO_DEVICE_GET_REGION_INFO', 'VFIO_DEVICE_GET_IRQ_INFO', 'IOMMU_IOAS_ALLOC'],
        ...['IOMMU_IOAS_ALLOW_IOVAS', 'IOMMU_IOAS_IOVA_RANGES', 'IOMMU_OPTION'],
      ] as const
    ).map((call): [string, unknown, string | undefined] => [
      `a wait of ${call}`,
      { call, until },
      value,
    ]),
  ];

  for (const [what, options, code] of injections) {
    it(`injects nothing by ${what}`, () => {
      assert.throws(() => host.inject(options as InjectOptions), { code });
    });
  }

  for (const [options, code] of [
    [null, type],
    [{ iovaBits: 20 }, range],
    [{ iovaBits: '48' }, type],
    [{ dirtyTracking: 1 }, type],
  ] as const) {
    it(`is no host of ${JSON.stringify(options)}`, () => {
      host.dispose();
      assert.throws(() => FakeHost.install(options as never), { code });
      host = FakeHost.install();
    });
  }

  const interrupts: [what: string, irq: unknown, vector: unknown, expected: object][] = [
    ['a name that there is not', 'msx', 0, { code: value }],
    ['a name of Object', 'toString', 0, { code: value }],
    ['an index', 2, 0, { code: type }],
    ['what the device does not have', 'msi', 0, RangeError],
    ['a vector after the last', 'msix', 4, { code: range }],
    ['a vector below 0', 'msix', -1, { code: range }],
    ['half a vector', 'msix', 0.5, { code: range }],
    ['a vector that is a text', 'msix', '1', { code: type }],
    ['a second request', 'req', 1, { code: range }],
  ];

  for (const [what, irq, vector, expected] of interrupts) {
    it(`signals no interrupt by ${what}`, () => {
      const fake = host.addDevice({ msix: 4 });
      assert.throws(() => fake.interrupt(irq as FakeIrq, vector as number), expected);
      assert.equal(fake.interrupt('msix', 3), false);
    });
  }

  it('counts no vectors of what is no interrupt', () => {
    const fake = host.addDevice();
    assert.throws(() => fake.enabledVectors('msx' as FakeIrq), { code: value });
    assert.equal(fake.enabledVectors('msi'), 0);
  });

  it('waits in every call that it says can wait', async () => {
    const fake = host.addDevice({
      address: '0000:3b:00.0',
      msix: 2,
      bars: { bar0: page },
      onFeature: () => 0,
    });
    /** How it ends when it is let go. */
    const waits = async (
      call: InjectOptions['call'],
      act: () => Promise<unknown>,
    ): Promise<void> => {
      let isLetGo = false;
      let letGo = (): void => undefined;
      const wait = new Promise<void>((resolve) => {
        letGo = () => {
          isLetGo = true;
          resolve();
        };
      });
      const injection = host.inject({ call, until: wait });
      let early = false;
      const acted = act().then(() => {
        early = !isLetGo;
      });
      while (injection.hits === 0) await new Promise(setImmediate);
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      letGo();
      await acted;
      assert.ok(!early, call);
    };
    await using iommufd = Iommufd.open();
    let device!: VfioDevice;
    await waits('VFIO_DEVICE_BIND_IOMMUFD', async () => {
      device = await VfioDevice.open(fake.address, { iommufd });
    });
    const ioas = iommufd.createIoas();
    const other = iommufd.createIoas();
    await using memory = await DmaBuffer.allocate(8192);
    let mapping!: Awaited<ReturnType<typeof ioas.map>>;
    await waits('VFIO_DEVICE_ATTACH_IOMMUFD_PT', () => device.attach(ioas));
    await waits('IOMMU_IOAS_MAP_FILE', async () => {
      mapping = await ioas.map(memory);
    });
    await waits('IOMMU_IOAS_COPY', () => ioas.copy(mapping.iova, 4096));
    await waits('IOMMU_IOAS_UNMAP', () => mapping.unmap());
    await waits('IOMMU_HWPT_ALLOC', async () => {
      await (await ioas.createHwpt(device)).close();
    });
    await waits('VFIO_DEVICE_GET_PCI_HOT_RESET_INFO', () => device.planHotReset());
    await waits('VFIO_DEVICE_PCI_HOT_RESET', () => device.hotReset());
    await waits('pwrite', () => device.pci.setPowerState('D3hot'));
    await device.pci.setPowerState('D0');
    await waits('VFIO_DEVICE_SET_IRQS', () => device.interrupt('msix').enable(2));
    await waits('VFIO_DEVICE_RESET', () => device.reset());
    await waits('VFIO_DEVICE_FEATURE', () => device.feature.list());
    await waits('VFIO_DEVICE_DETACH_IOMMUFD_PT', () => device.detach());
    await waits('IOMMU_DESTROY', () => other.close());
    await waits('close', () => device.close());
  });
});
