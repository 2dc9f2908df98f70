import { hiddenText } from '../core/messages.ts';
import { isNoiommu } from '../locate/find_cdev.ts';
import {
  hiddenClasses,
  hiddenFolder,
  listNames,
  readAttribute,
  readLinkName,
} from '../locate/sysfs.ts';
import {
  type Finding,
  host,
  look,
  noProc,
  type Place,
  readProc,
  type Seen,
  whereModulesAre,
} from './finding.ts';

/** What the kernel has for VFIO: told by what is there, not by its version. */
export function kernelFindings(place: Place): Finding[] {
  return [
    ...look('iommu', host, () => iommu(place)),
    ...look('interrupt-remapping', host, () => interruptRemapping(place)),
    ...look('unsafe-interrupts', host, () => unsafeInterrupts(place)),
    ...look('noiommu-mode', host, () => noiommuMode(place)),
    ...look('modules', host, () => modules(place)),
    ...look('module-parameters', host, () => moduleParameters(place)),
    ...look('cdevs', host, () => cdevs(place)),
    ...look('groups', host, () => groups(place)),
  ];
}

function iommu(place: Place): Seen {
  const hidden = hiddenClasses(place.roots);
  if (hidden) return ['unknown', hiddenText(hidden), 'look on the host: ls /sys/class/iommu'];
  const { names, groups, isShown } = iommusOf(place);
  if (names.length > 0 && groups === 0 && !isShown) {
    return ['ok', `the kernel uses ${names.join(', ')}; its groups are not to be seen here`];
  }
  if (isShown && groups === 0 && someHasGroup(place)) {
    const what = `${place.roots.sysfsRoot}/kernel/iommu_groups is empty, and devices have IOMMU groups all the same: it is hidden here`;
    return ['unknown', what, 'look on the host: ls /sys/kernel/iommu_groups'];
  }
  if (names.length > 0 && groups === 0) {
    return [
      'warning',
      `the kernel uses ${names.join(', ')}, and no device has an IOMMU group`,
      'the log says why: sudo journalctl -k -g iommu',
    ];
  }
  if (names.length > 0) {
    return [
      'ok',
      `the kernel uses ${names.join(', ')}; there are ${counted(groups, 'IOMMU group')}`,
    ];
  }
  if (groups > 0) return ['ok', `there are ${counted(groups, 'IOMMU group')}`];
  const what = 'the kernel uses no IOMMU';
  const but = 'mediated devices apart';
  const isMeant = parameterOf(place, 'vfio', 'enable_unsafe_noiommu_mode') === 'Y';
  return isMeant
    ? ['warning', `${what}; devices can be opened without, and reach all memory`, turnOn(place)]
    : ['bad', `${what}, so that no device can be opened, ${but}`, turnOn(place)];
}

/** The kernel's IOMMUs, and how many groups come from one. */
function iommusOf({ roots: { sysfsRoot } }: Place): {
  names: string[];
  groups: number;
  isShown: boolean;
} {
  const names = (listNames(`${sysfsRoot}/class/iommu`) ?? []).sort();
  const folder = `${sysfsRoot}/kernel/iommu_groups`;
  const all = listNames(folder);
  const groups = (all ?? []).filter(
    (group) => readAttribute(`${folder}/${group}/name`) !== 'vfio-noiommu',
  );
  return { names, groups: groups.length, isShown: all !== undefined };
}

/** Whether a device of PCI is in a group of an IOMMU, by its own folder. */
function someHasGroup({ roots: { sysfsRoot } }: Place): boolean {
  const folder = `${sysfsRoot}/bus/pci/devices`;
  const addresses = listNames(folder) ?? [];
  return addresses.some((address) => {
    if (readLinkName(`${folder}/${address}/iommu_group`) === undefined) return false;
    return readAttribute(`${folder}/${address}/iommu_group/name`) !== 'vfio-noiommu';
  });
}

const firmware = {
  intel: 'VT-d (Intel Virtualization Technology for Directed I/O)',
  amd: 'AMD-Vi (“IOMMU”)',
};

/** What turns the IOMMU on, by processor and by the kernel's command line. */
function turnOn(place: Place): string {
  const words = (readProc(place, 'cmdline') ?? '').split(/\s+/);
  const off = words.filter((word) => /^(?:intel_iommu|amd_iommu|iommu)=(?:.*,)?off\b/.test(word));
  if (off.length > 0) {
    const are = off.length === 1 ? 'is' : 'are';
    return `boot without ${off.join(' and ')}, which ${are} on the kernel's command line`;
  }
  if (process.arch === 'arm64') {
    return 'the firmware has to describe the SMMU (in the ACPI table IORT, or the device tree): see its settings, or dmesg | grep -i smmu';
  }
  const processor = readProc(place, 'cpuinfo') ?? '';
  if (/^flags\s.*\bhypervisor\b/m.test(processor)) {
    return 'this is a virtual machine: its hypervisor has to give it an IOMMU (QEMU: -device intel-iommu,intremap=on with -machine kernel-irqchip=split), and Linux may need intel_iommu=on';
  }
  if (/AuthenticAMD|HygonGenuine/.test(processor)) {
    return `enable ${firmware.amd} in the firmware: the kernel uses it by itself then`;
  }
  if (!processor.includes('GenuineIntel')) {
    return "enable the IOMMU in the firmware; a kernel on Intel's processors may also need intel_iommu=on";
  }
  return words.some((word) => /^intel_iommu=(?:.*,)?on\b/.test(word))
    ? `enable ${firmware.intel} in the firmware: the kernel's command line has intel_iommu=on already`
    : `enable ${firmware.intel} in the firmware, and boot Linux with intel_iommu=on`;
}

/** The names of interrupt chips begin with IR- where interrupts are remapped (x86). */
function interruptRemapping(place: Place): Seen | undefined {
  const { names, groups } = iommusOf(place);
  const hidden = hiddenClasses(place.roots);
  if (names.length === 0 && groups === 0) return hidden && ['unknown', hiddenText(hidden)];
  if (process.arch !== 'x64' && process.arch !== 'ia32') {
    return ['unknown', `the kernel does not show it on ${process.arch}`];
  }
  const interrupts = readProc(place, 'interrupts');
  if (interrupts === undefined) return noProc(place, 'interrupts');
  if (/\bIR-/.test(interrupts)) return ['ok', 'interrupts are remapped (IR- in /proc/interrupts)'];
  return [
    'warning',
    'no interrupt in /proc/interrupts is remapped (IR-), so that VFIO may refuse every device',
    'enable interrupt remapping (x2APIC, VT-d or AMD-Vi) in the firmware, and boot without intremap=off or nointremap',
  ];
}

const judges = ['vfio_iommu_type1', 'iommufd'] as const;

/** Whether devices are accepted that could forge others' interrupts. */
function unsafeInterrupts(place: Place): Seen {
  const found = judges.map((name) => ({
    name,
    value: parameterOf(place, name, 'allow_unsafe_interrupts'),
  }));
  const allowing = found.filter(({ value }) => value === 'Y').map(({ name }) => name);
  if (allowing.length > 0) {
    return [
      'warning',
      `${allowing.join(' and ')} ${allowing.length === 1 ? 'accepts' : 'accept'} devices that could forge others' interrupts (allow_unsafe_interrupts)`,
      'where interrupts are remapped this is not needed: load without allow_unsafe_interrupts=1',
    ];
  }
  const asked = found.filter(({ value }) => value !== undefined).map(({ name }) => name);
  if (asked.length > 0) {
    const refuse = asked.length === 1 ? 'refuses' : 'refuse';
    return ['ok', `${asked.join(' and ')} ${refuse} devices that could forge others' interrupts`];
  }
  return ['unknown', `neither ${judges.join(' nor ')} is loaded, or its parameters are hidden`];
}

function noiommuMode(place: Place): Seen {
  const value = parameterOf(place, 'vfio', 'enable_unsafe_noiommu_mode');
  if (value === 'Y') {
    return [
      'warning',
      'devices may be opened without an IOMMU: what they are told to do reaches all memory',
      'where that is not meant: echo N | sudo tee /sys/module/vfio/parameters/enable_unsafe_noiommu_mode',
    ];
  }
  if (value !== undefined) return ['ok', 'devices are not opened without an IOMMU'];
  return isLoaded(place, 'vfio')
    ? ['ok', 'the kernel opens no device without an IOMMU: it has no such mode']
    : ['unknown', 'vfio is not loaded, or /sys/module does not show it'];
}

const known = ['vfio', 'vfio_pci', 'vfio_pci_core', 'vfio_iommu_type1', 'iommufd', 'mdev'] as const;

function modules(place: Place): Seen {
  const hidden = hiddenFolder(`${place.roots.sysfsRoot}/module`);
  if (hidden) return ['unknown', hiddenText(hidden)];
  const there = known.filter((name) => isLoaded(place, name));
  const shown =
    there.length > 0 ? `${there.join(', ')}: loaded or built in` : 'none of VFIO is loaded';
  return there.includes('vfio_pci')
    ? ['ok', shown]
    : [
        'warning',
        `${shown}; vfio-pci is not`,
        whereModulesAre('for PCI devices: sudo modprobe vfio-pci'),
      ];
}

/** vfio-pci's parameters of which a value other than the usual surprises, and how. */
const surprising: Readonly<Record<string, string>> = {
  nointxmask: 'INTx lines are not shared (nointxmask)',
  disable_denylist: 'devices that are known not to work are taken (disable_denylist)',
};

function moduleParameters(place: Place): Seen {
  const folder = `${place.roots.sysfsRoot}/module/vfio_pci/parameters`;
  const names = listNames(folder);
  if (names === undefined) {
    return ['unknown', 'vfio_pci shows no parameters here: it is not loaded, or they are hidden'];
  }
  const values = names.sort().map((name) => ({ name, value: readAttribute(`${folder}/${name}`) }));
  const shown = values.map(({ name, value }) => `${name}=${value ?? '?'}`).join(' ');
  const odd = values.flatMap(({ name, value }) => (value === 'Y' ? (surprising[name] ?? []) : []));
  if (odd.length === 0) return ['ok', `vfio_pci: ${shown}`];
  return [
    'warning',
    `vfio_pci: ${shown}; ${odd.join('; ')}`,
    'where that is not meant, take it out of /etc/modprobe.d and the command line; it holds from the next load on',
  ];
}

function cdevs(place: Place): Seen {
  const { sysfsRoot } = place.roots;
  const hidden = hiddenClasses(place.roots);
  if (hidden) return ['unknown', hiddenText(hidden)];
  const names = listNames(`${sysfsRoot}/class/vfio-dev`) ?? [];
  if (names.length === 0) {
    return ['unknown', 'whether the kernel makes cdevs shows once a device has a VFIO driver'];
  }
  const made = names.filter(
    (name) => readAttribute(`${sysfsRoot}/class/vfio-dev/${name}/dev`) !== undefined,
  );
  if (made.length === 0 && isAllWithoutIommu(place)) {
    return [
      'warning',
      'no device has a cdev: those with a VFIO driver have no IOMMU, and such devices have cdevs since Linux 7.3; they are opened by their group',
    ];
  }
  return made.length > 0
    ? ['ok', `the kernel makes cdevs: ${counted(made.length, 'device')} with one`]
    : [
        'warning',
        'the kernel makes no cdevs (CONFIG_VFIO_DEVICE_CDEV): devices are opened by their group',
      ];
}

/** By the names of the groups' nodes. */
function isAllWithoutIommu({ roots: { sysfsRoot } }: Place): boolean {
  const names = listNames(`${sysfsRoot}/class/vfio`) ?? [];
  return names.length > 0 && names.every((name) => isNoiommu({ name }));
}

function groups(place: Place): Seen {
  const hidden = hiddenClasses(place.roots);
  if (hidden) return ['unknown', hiddenText(hidden)];
  const names = listNames(`${place.roots.sysfsRoot}/class/vfio`) ?? [];
  return names.length > 0
    ? ['ok', `the kernel makes nodes of groups: ${counted(names.length, 'group')} with one`]
    : ['unknown', 'whether the kernel makes nodes of groups shows once a device has a VFIO driver'];
}

function isLoaded({ roots: { sysfsRoot } }: Place, module: string): boolean {
  return listNames(`${sysfsRoot}/module/${module}`) !== undefined;
}

function parameterOf(
  { roots: { sysfsRoot } }: Place,
  module: string,
  name: string,
): string | undefined {
  return readAttribute(`${sysfsRoot}/module/${module}/parameters/${name}`);
}

function counted(count: number, what: string): string {
  return count === 1 ? `one ${what}` : `${count} ${what}s`;
}
