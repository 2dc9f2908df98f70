import { channelFd, type ChannelName } from './channels.ts';
import { pciDevices, type PciDevice } from './devices.ts';
import type { Kernel } from './kernel/kernel.ts';

export interface Machine {
  kernel: Kernel;
  accelerator: string;
  memoryMib: number;
  cpus: number;
  /** More kernel parameters. */
  append: string;
  rootNvme: number;
  channels: readonly ChannelName[];
  consoleLog: string;
  /** A folder of the host that the guest may write. */
  results?: string | undefined;
}

// Emulated vectors of 256 bits and byte-wise string copies cost a quarter of what starts Node
// there.
const CPU = 'max,-avx,-avx2,-erms';

const KERNEL_PARAMETERS = [
  'console=ttyS0',
  'quiet',
  'intel_iommu=on',
  // A kernel that is no longer right shall end the VM, with its reason in the log.
  'oops=panic',
  'panic=-1',
  'vfio_pci.enable_sriov=1',
  // Both cost start-up time and guard against what an emulated processor does not have.
  'mitigations=off',
  'no_timer_check',
];

export function qemuArguments(machine: Machine): string[] {
  return [
    ...['-machine', 'q35,kernel-irqchip=split', '-accel', machine.accelerator, '-cpu', CPU],
    ...['-smp', `${machine.cpus}`, '-m', `${machine.memoryMib}`, '-nodefaults', '-no-reboot'],
    ...['-display', 'none', '-chardev', `file,id=console,path=${escaped(machine.consoleLog)}`],
    ...['-serial', 'chardev:console', '-kernel', machine.kernel.image],
    ...[
      '-initrd',
      machine.kernel.initrd,
      '-append',
      [...KERNEL_PARAMETERS, machine.append].join(' '),
    ],
    // It has to come before the devices whose DMA it translates.
    ...['-device', 'intel-iommu,intremap=on,caching-mode=on,device-iotlb=on'],
    ...channelArguments(machine.channels),
    ...shareArguments('host', '/', '01.1', 'readonly=on,'),
    ...(machine.results === undefined
      ? []
      : shareArguments('results', machine.results, '01.2', '')),
    ...pciDevices(machine.rootNvme).flatMap(deviceArguments),
  ];
}

function channelArguments(channels: readonly ChannelName[]): string[] {
  const bus = ['-device', 'virtio-serial-pci,id=serial,addr=01.0,multifunction=on'];
  return [...bus, ...channels.flatMap((name, index) => channel(name, channelFd(index)))];
}

function channel(name: ChannelName, fd: number): string[] {
  const backend = ['-chardev', `socket,id=${name},fd=${fd}`];
  switch (name) {
    case 'monitor':
      return [...backend, '-mon', `chardev=${name},mode=control`];
    case 'tty':
      return [...backend, '-device', `virtconsole,bus=serial.0,chardev=${name},nr=0`];
    default:
      return [
        ...backend,
        ...['-device', `virtserialport,bus=serial.0,chardev=${name},name=vfio-lab.${name}`],
      ];
  }
}

function shareArguments(tag: string, path: string, address: string, options: string): string[] {
  return [
    '-fsdev',
    `local,id=${tag},path=${escaped(path)},security_model=none,${options}multidevs=remap`,
    '-device',
    `virtio-9p-pci,fsdev=${tag},mount_tag=${tag},addr=${address},multifunction=on`,
  ];
}

function deviceArguments(device: PciDevice): string[] {
  const { name, slot, behindPort, model, disk, multifunction } = device;
  const properties = [`${model},id=${name}`];
  const result: string[] = [];
  const slotAddress = `addr=${slot}${multifunction ? ',multifunction=on' : ''}`;
  if (behindPort) {
    // Chassis and slot number only have to be unique.
    const number = Number(slot.replace('.', ''));
    result.push('-device', `pcie-root-port,id=${name}-root,chassis=${number},${slotAddress}`);
    properties.push(`bus=${name}-root`);
  } else {
    properties.push(slotAddress);
  }
  if (disk) {
    result.push('-drive', diskOf(`${name}-disk`));
    properties.push(`drive=${name}-disk`);
  }
  if (name === 'nvme-sriov') result.push('-device', 'nvme-subsys,id=nvme-sriov-subsys');
  return [...result, '-device', properties.join(',')];
}

/** Zeroes with a layer to write to, in a file that has no name any more when QEMU has opened it. */
function diskOf(id: string): string {
  const zeroes = 'format=raw,file.driver=null-co,file.size=64M,file.read-zeroes=on';
  return `if=none,id=${id},snapshot=on,${zeroes}`;
}

/** In QEMU's option lists a comma is written twice. */
function escaped(path: string): string {
  return path.replaceAll(',', ',,');
}
