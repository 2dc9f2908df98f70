import type { Roots } from '../core/location.ts';
import type { FakeDevice } from './fake_device.ts';
import { iommuNumbers } from './file_calls.ts';

/** The sysfs and the nodes of the fake machine: a folder of real files. */
export class MachineFolder {
  readonly roots: Roots;
  readonly #root: string;
  /** Groups that have their folders. */
  readonly #groups = new Set<number>();
  #isDisposed = false;
  /** A process that ends without disposing of it leaves nothing either. */
  readonly #atExit = (): void => {
    this.dispose();
  };

  constructor() {
    const { mkdtempSync } = process.getBuiltinModule('node:fs');
    const { tmpdir } = process.getBuiltinModule('node:os');
    this.#root = mkdtempSync(`${tmpdir()}/vfio-testing-`);
    process.once('exit', this.#atExit);
    this.roots = { sysfsRoot: `${this.#root}/sys`, devRoot: `${this.#root}/dev` };
    this.#put('sys/class/misc/iommu/dev', `${iommuNumbers.major}:${iommuNumbers.minor}\n`);
    this.#put('sys/class/misc/iommu/uevent', 'DEVNAME=iommu\n');
    this.#put('sys/class/iommu/dmar0/uevent', '');
    // So that nobody takes what this machine refuses for what unsafe interrupts are refused for.
    this.#put('sys/module/iommufd/parameters/allow_unsafe_interrupts', 'Y\n');
    this.#put('sys/bus/pci/drivers/vfio-pci/uevent', '');
    for (const folder of ['bus/pci/devices', 'dev/char', 'kernel/iommu_groups']) {
      this.#make(`sys/${folder}`);
    }
    this.#put('dev/iommu', '');
  }

  /** The device's node. */
  nodeOf({ cdev }: FakeDevice): string {
    return `${this.roots.devRoot}/vfio/devices/${cdev.name}`;
  }

  get iommu(): string {
    return `${this.roots.devRoot}/iommu`;
  }

  /** A device is there, bound to vfio-pci. */
  add(device: FakeDevice): void {
    const { address, group, cdev, config } = device;
    const real = `devices/pci0000:00/${address}`;
    const folder = `sys/${real}`;
    const hex = (at: number, bytes: number): string => {
      const reversed = [...config.bytes.subarray(at, at + bytes)].reverse();
      return `0x${reversed.map((byte) => byte.toString(16).padStart(2, '0')).join('')}\n`;
    };
    const files: Record<string, string> = {
      vendor: hex(0, 2),
      device: hex(2, 2),
      class: hex(9, 3),
      revision: hex(8, 1),
      subsystem_vendor: hex(0x2c, 2),
      subsystem_device: hex(0x2e, 2),
      driver_override: 'vfio-pci\n',
      numa_node: '-1\n',
      uevent: `DRIVER=vfio-pci\nPCI_SLOT_NAME=${address}\n`,
      modalias: 'pci:\n',
      [`vfio-dev/${cdev.name}/dev`]: `${cdev.major}:${cdev.minor}\n`,
      [`vfio-dev/${cdev.name}/uevent`]: `DEVNAME=vfio/devices/${cdev.name}\n`,
    };
    for (const [name, text] of Object.entries(files)) this.#put(`${folder}/${name}`, text);
    this.writeConfig(device);
    this.#addGroup(group);
    this.#link(`${folder}/subsystem`, '../../../bus/pci');
    this.#link(`${folder}/driver`, '../../../bus/pci/drivers/vfio-pci');
    this.#link(`${folder}/iommu_group`, `../../../kernel/iommu_groups/${group}`);
    this.#link(`${folder}/vfio-dev/${cdev.name}/device`, `../../../${address}`);
    this.#link(`sys/bus/pci/devices/${address}`, `../../../${real}`);
    this.#link(`sys/bus/pci/drivers/vfio-pci/${address}`, `../../../../${real}`);
    this.#link(`sys/kernel/iommu_groups/${group}/devices/${address}`, `../../../../${real}`);
    this.#link(`sys/dev/char/${cdev.major}:${cdev.minor}`, `../../${real}/vfio-dev/${cdev.name}`);
    this.#put(`dev/vfio/devices/${cdev.name}`, '');
  }

  /** The configuration space, as sysfs shows it. A device may be closed when all is over. */
  writeConfig({ address, config }: FakeDevice): void {
    if (this.#isDisposed) return;
    this.#put(`sys/devices/pci0000:00/${address}/config`, config.bytes);
  }

  /** It is gone. */
  remove({ address, group, cdev }: FakeDevice): void {
    if (this.#isDisposed) return;
    const { rmSync } = process.getBuiltinModule('node:fs');
    for (const path of [
      `sys/bus/pci/devices/${address}`,
      `sys/bus/pci/drivers/vfio-pci/${address}`,
      `sys/kernel/iommu_groups/${group}/devices/${address}`,
      `sys/dev/char/${cdev.major}:${cdev.minor}`,
      `dev/vfio/devices/${cdev.name}`,
      `sys/devices/pci0000:00/${address}`,
    ]) {
      rmSync(`${this.#root}/${path}`, { recursive: true, force: true });
    }
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    process.off('exit', this.#atExit);
    process.getBuiltinModule('node:fs').rmSync(this.#root, { recursive: true, force: true });
  }

  #addGroup(group: number): void {
    if (this.#groups.has(group)) return;
    this.#groups.add(group);
    this.#make(`sys/kernel/iommu_groups/${group}/devices`);
    this.#put(`sys/kernel/iommu_groups/${group}/type`, 'DMA-FQ\n');
    const msi = '0x00000000fee00000 0x00000000feefffff msi\n';
    this.#put(`sys/kernel/iommu_groups/${group}/reserved_regions`, msi);
  }

  #make(path: string): void {
    process.getBuiltinModule('node:fs').mkdirSync(`${this.#root}/${path}`, { recursive: true });
  }

  #put(path: string, text: string | Uint8Array): void {
    this.#make(path.slice(0, path.lastIndexOf('/')));
    process.getBuiltinModule('node:fs').writeFileSync(`${this.#root}/${path}`, text);
  }

  #link(path: string, pointsTo: string): void {
    this.#make(path.slice(0, path.lastIndexOf('/')));
    process.getBuiltinModule('node:fs').symlinkSync(pointsTo, `${this.#root}/${path}`);
  }
}
