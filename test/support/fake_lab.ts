import { FakeHost } from '../../lib/testing/index.ts';
import { type FakeDeviceOptions, FakeHost as PackageHost } from 'vfio/testing';
import { EduModel } from '../../examples/models/edu.ts';
import { NvmeModel } from '../../examples/models/nvme.ts';
import type { TestDevice } from './devices.ts';

// The lab's devices, of the fake kernel side: with VFIO_TEST_FAKE=1 the tests of devices run over it.
// They import lib/ or the package, which are two instances: each has its fake host.

export const isFake: boolean = process.env['VFIO_TEST_FAKE'] === '1';

/** As QEMU's are, so far as tests look at them. */
const others: Partial<Record<string, FakeDeviceOptions>> = {
  'pci-testdev': {
    vendor: 0x1b36,
    device: 0x0005,
    intx: false,
    reset: false,
    bars: {
      bar0: { size: 0x1000 },
      bar1: { size: 0x100, io: true },
      bar2: { size: 64 * 2 ** 20, wide: true },
    },
  },
  e1000e: {
    vendor: 0x8086,
    device: 0x10d3,
    classCode: 0x020000,
    msi: 1,
    msix: 5,
    msixTable: { bar: 'bar3', offset: 0 },
    bars: {
      bar0: { size: 0x20000 },
      bar1: { size: 0x20000 },
      bar2: { size: 32, io: true },
      bar3: { size: 0x4000 },
    },
  },
};

const mebibyte = 2 ** 20;
const models: NvmeModel[] = [];

/** What the lab's manifest would have. */
export function fakeDevices(): TestDevice[] {
  // The models are written for the package, and take what is the same.
  addDevices(PackageHost.install());
  return addDevices(FakeHost.install() as unknown as PackageHost);
}

/** Has the disk of an NVMe do nothing any more, or all that it can: in both hosts. */
export function holdFake(held: boolean): void {
  for (const model of models) {
    if (held) model.hold();
    else model.release();
  }
}

function addDevices(host: PackageHost): TestDevice[] {
  const named: [name: string, kind: string, address: string][] = [
    ['edu', 'edu', '0000:00:02.0'],
    ['edu-port', 'edu', '0000:01:00.0'],
    ['nvme-port', 'nvme', '0000:02:00.0'],
    ['nvme0', 'nvme', '0000:00:07.0'],
    ['testdev', 'pci-testdev', '0000:00:03.0'],
    ['e1000e-port', 'e1000e', '0000:03:00.0'],
  ];
  for (const [name, kind, address] of named) {
    if (kind === 'edu') new EduModel(host, { address });
    else if (kind !== 'nvme') host.addDevice({ ...others[kind], address });
    else
      models.push(
        new NvmeModel(host, { address, serial: name, size: 64 * mebibyte, aborts: false }),
      );
  }
  return named.map(([name, kind, address]) => ({ name, kind, bus: 'pci', address }));
}
