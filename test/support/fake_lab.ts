import { FakeHost } from '../../lib/testing/index.ts';
import { FakeHost as PackageHost } from 'vfio/testing';
import { EduModel } from '../../examples/models/edu.ts';
import { NvmeModel } from '../../examples/models/nvme.ts';
import type { TestDevice } from './devices.ts';

// The lab's devices, of the fake kernel side: with VFIO_TEST_FAKE=1 the tests of devices run over it.
// They import lib/ or the package, which are two instances: each has its fake host.

export const isFake: boolean = process.env['VFIO_TEST_FAKE'] === '1';

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
  ];
  for (const [name, kind, address] of named) {
    if (kind === 'edu') new EduModel(host, { address });
    else models.push(new NvmeModel(host, { address, serial: name, size: 64 * mebibyte }));
  }
  return named.map(([name, kind, address]) => ({ name, kind, bus: 'pci', address }));
}
