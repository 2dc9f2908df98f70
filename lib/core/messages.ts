import { basename } from 'node:path';
import { counted } from './counted.ts';
import type {
  Cause,
  GroupMember,
  Holding,
  HostUse,
  IovaBounds,
  IovaExtent,
  NeededDevice,
  Ownership,
  VfioFacts,
  VfioReason,
} from './reasons.ts';

/** A reason as people read it. */
export interface Words {
  /** Follows the error's message. */
  why: string;
  /** What mends it. */
  hint: string;
}

type WordsOf = { [Reason in VfioReason]: (facts: VfioFacts[Reason]) => Words };

/** What to say of a cause. Pure, so that every one can be read without the trouble itself. */
export function wordsOf<Reason extends VfioReason>({ reason, facts }: Cause<Reason>): Words {
  return words[reason](facts);
}

const words: WordsOf = {
  'sysfs-absent': (hidden) => ({
    why: hiddenText(hidden),
    hint:
      hidden.code === 'ENOENT'
        ? 'have the container or the sandbox mount sysfs (at /sys; read-only will do), or say where it is: { sysfsRoot }'
        : `it is there, and this process may not look: ls -ld ${hidden.path} shows who may; or look as root`,
  }),
  'no-device': ({ bus, elsewhere = [] }) => ({
    why: '',
    hint:
      elsewhere.length > 0
        ? `a short address means the domain 0000; write the whole: ${elsewhere.join(' or ')}`
        : `ls /sys/bus/${bus}/devices shows what is on the bus; vfio list --all the devices that have an IOMMU group`,
  }),
  'not-bound': (facts) => ({ why: '', hint: giveAway([facts], false) }),
  bridge: ({ address, behind }) => ({
    why: `${address} is a bridge or a port, and vfio-pci takes none`,
    hint:
      `leave it to the host, which reaches what is behind it through it` +
      (behind.length > 0 ? `; open what is behind it: ${behind.join(' or ')}` : '') +
      '. It is in no device’s way; for smaller groups, enable ACS in the firmware or use another slot',
  }),
  'no-iommu-group': ({ iommus }) => ({
    why: 'it has no IOMMU group, so no VFIO driver can have it',
    hint:
      iommus === null
        ? 'see whether the kernel uses an IOMMU where all of sysfs is to be seen: ls /sys/class/iommu'
        : iommus === 0
          ? 'the kernel uses no IOMMU: vfio doctor says what switches it on here'
          : 'the kernel has an IOMMU, but the device is not behind it: only another slot or machine helps',
  }),
  'no-cdev': ({ release, noiommu }) => ({
    why: noiommu ? 'it has no IOMMU, and such devices have cdevs since Linux 7.3' : '',
    hint: noiommu
      ? `Linux ${release} opens it by its group: where that is meant --backend noiommu, in programs { backend: 'noiommu' }; otherwise vfio doctor says what switches an IOMMU on`
      : `Linux ${release} has only legacy groups here: use a kernel with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV (Linux 6.6 and later)`,
  }),
  'iommufd-not-loaded': () => ({
    why: 'the kernel has the module iommufd, and nobody loaded it: opening the node does not',
    hint: 'sudo modprobe iommufd',
  }),
  'iommufd-absent': ({ release, unread }) =>
    unread === undefined
      ? {
          why: `Linux ${release} has no iommufd`,
          hint: 'use a kernel with CONFIG_IOMMUFD (Linux 6.6 and later)',
        }
      : {
          why: `Linux ${release} has no iommufd, or nobody loaded its module: ${unread}, which would tell, is not here`,
          hint: 'on the host: sudo modprobe iommufd; a kernel without it needs CONFIG_IOMMUFD (Linux 6.6 and later)',
        },
  'node-absent': ({ path, numbers }) => ({
    why: `the kernel has it as ${numbers}, but there is no node here`,
    hint: `pass the node to the container (--device ${path}); on the host: sudo udevadm trigger --settle`,
  }),
  'container-absent': ({ release }) => ({
    why: `Linux ${release} has no containers of legacy groups, or its module is not loaded`,
    hint: "sudo modprobe vfio; a kernel without CONFIG_VFIO_CONTAINER opens devices by their cdevs: --backend cdev, in programs { backend: 'cdev' }",
  }),
  'no-permission': (facts) => ({
    why: `${facts.path} ${rightsOf(facts)}`,
    hint:
      facts.isFolder === true
        ? `let others pass the folder, whose nodes keep their own modes: sudo chmod a+x ${facts.path}; or run it as root`
        : 'give the node a group by udev rules (sudo npx vfio udev --group NAME --install), and this user that group',
  }),
  'denied-by-policy': (facts) => ({
    why: `${facts.path} ${rightsOf(facts)}, which allows it: something else does not`,
    hint: `look for a denial in the log (sudo journalctl -k -g denied), and for a mount with nodev (findmnt -T ${facts.path})`,
  }),
  'device-cgroup': ({ path, numbers }) => ({
    why: `a device cgroup keeps ${numbers || 'it'} from this process`,
    hint: `allow it: DeviceAllow=${path} rw in the systemd unit, --device ${path} for a container`,
  }),
  'stale-node': ({ path, expected, found }) => ({
    why:
      found !== null && found === expected
        ? `the kernel has no device ${found} any more`
        : 'the node is stale or another device’s',
    hint:
      found === null
        ? `see what is there (ls -l ${path}); once that is moved away: sudo udevadm trigger --settle; a container gets the node by a restart`
        : expected === null
          ? 'name the device by its address; vfio list shows those that can be opened'
          : `have it made again: sudo rm ${path} && sudo udevadm trigger --settle; a container gets it by a restart`,
  }),
  'held-by-cdev': (facts) => ({
    why: `its cdev is bound already${byWhom(facts)}`,
    hint: letGo(facts),
  }),
  'held-by-group': (facts) => ({
    why: `its legacy group /dev/vfio/${facts.group} is open${byWhom(facts)}`,
    hint: letGo(facts),
  }),
  'group-not-viable': ({ group, members }) => ({
    why: `IOMMU group ${group} has ${blockers(members).map(shown).join(' and ')}, whose driver does DMA for the host`,
    hint: giveAway(blockers(members)),
  }),
  'unsafe-interrupts': ({ parameter }) => ({
    why: 'the platform does not isolate the interrupts of devices, so that a device could forge others’',
    hint:
      'enable interrupt remapping in the firmware and the kernel; or accept the danger: ' +
      `echo Y | sudo tee ${parameter}`,
  }),
  'group-owned': (facts) => ({
    why: `another iommufd owns its IOMMU group ${facts.group}${byWhom(facts)}`,
    hint: 'open all devices of a group through one iommufd: pass the same Iommufd to each open',
  }),
  'vf-token-required': ({ physicalFunction }) => ({
    why: `${physicalFunction} and its virtual functions are opened with one VF token, and it was missing or another`,
    hint: 'open it with { vfToken }: the UUID of the program that has the physical function open, which sets it by device.feature.setVfToken()',
  }),
  'no-rawio': ({ path }) => ({
    why: `${path} is of a device without an IOMMU, which only CAP_SYS_RAWIO opens`,
    hint: 'sudo setcap cap_sys_rawio+ep on the program, or run it as root: its devices reach all memory',
  }),
  'no-iommu': ({ name }) => ({
    why: `the kernel has it as ${name}: no IOMMU confines its DMA`,
    hint: "where that is meant: open(…, { backend: 'noiommu' }); otherwise enable the IOMMU",
  }),
  'already-bound': () => ({
    why: '',
    hint: 'use the VfioDevice that bind() returned, or open another VfioCdev after closing it',
  }),
  'not-a-vm': () => ({
    why: 'the descriptor is not that of a KVM VM',
    hint: 'pass what KVM_CREATE_VM answered, not the descriptor of /dev/kvm or of a vCPU',
  }),
  'vm-of-other-process': () => ({
    why: 'KVM takes this from the process alone that made the VM, and not from it once the VM failed',
    hint: 'have that process call it; where it is this one, read the kernel’s log: dmesg',
  }),
  'kvm-without-vfio': ({ release }) => ({
    why: `KVM of Linux ${release} knows nothing of VFIO`,
    hint: 'use a kernel with CONFIG_KVM_VFIO; devices work without it, unless their driver asks for KVM',
  }),
  'vm-has-vfio': () => ({
    why: 'the VM has its VFIO device already, and has one at most',
    hint: 'take that one: KvmVfio.fromFd() with the descriptor that KVM_CREATE_DEVICE answered; or close it first',
  }),
  'vm-has-device': () => ({
    why: 'KVM was told of it before',
    hint: 'remove it first, or leave it as it is: KVM tells a device or a group by its open file, however many descriptors it has',
  }),
  'vm-lacks-device': () => ({
    why: 'KVM was not told of it, or was told of another open file of the same device',
    hint: 'remove what was added: the same descriptor, or a duplicate of it',
  }),
  'not-for-kvm': () => ({
    why: 'it is neither a VFIO device nor a VFIO group',
    hint: 'pass a VfioCdev or a VfioDevice; kernels before 6.6 take groups alone',
  }),
  'being-removed': ({ driver }) => ({
    why: `it is being removed: ${driver} lets go of it when whoever has it open closes it`,
    hint: 'close it there; to see who has it open: sudo lsof | grep "/dev/vfio/devices/.*(deleted)"',
  }),
  'no-such-cdev': ({ path }) => ({
    why: `the kernel has no ${basename(path)}: its device was unbound or unplugged, or is bound anew under another name`,
    hint: 'vfio list shows the names of now; an address names a device for longer',
  }),
  gone: ({ address }) => ({
    why: `${address} was there and is gone: unplugged, or its driver was taken away`,
    hint: 'vfio list shows what is there now',
  }),
  'still-attached': ({ what, devices, pageTables, objects }) => ({
    why: `${what} is in use: ${usersOf(devices, pageTables, objects)}`,
    hint: 'detach the devices or close them, and close what was made of it, first; the order of await using does it: what is opened last is closed first',
  }),
  'invalidated-in-part': ({ handled, entries }) => ({
    why: `of ${counted(entries, 'entry', 'entries')} ${handled} ${handled === 1 ? 'was' : 'were'} handled, and ${handled < entries ? `entry ${handled}` : 'the request'} was refused`,
    hint: 'correct the entry that was refused, and give it and those after it again',
  }),
  'no-external-buffers': ({ runtime }) => ({
    why: `${runtime} makes no ArrayBuffer over memory that is not its own`,
    hint: 'run what needs it in a process of Node itself; registers can be read and written by read32(), write32() and the like',
  }),
  'rom-unreadable': ({ address }) => ({
    why: `${address} has a ROM, whose first bytes are not those of one (0x55 0xaa), so that the kernel does not show it`,
    hint: 'the ROM may be empty, or be shown only after the device was set up: look for “Invalid PCI ROM header signature” in the log (sudo journalctl -k -g ROM)',
  }),
  'vga-window': ({ offset, length }) => ({
    why: `${counted(length, 'byte')} at 0x${offset.toString(16)} ${length === 1 ? 'is' : 'are'} not within one of VGA's windows: ${vgaWindows}`,
    hint: `read and write within ${vgaWindows}`,
  }),
  'asked-back': ({ address }) => ({
    why: `${address} was asked back, to be unbound from its driver or unplugged, and closed itself since nobody listened to its event 'request'`,
    hint: "close it in a listener yourself, when it is not in use: device.on('request', …)",
  }),
  'disabled-elsewhere': ({ address, interrupt }) => ({
    why: `another owner of ${address} in this process, such as another thread, disabled ${interrupt}`,
    hint: `await device.interrupt('${interrupt}').enable() gives new vectors`,
  }),
  'irq-disabled': ({ address, interrupt }) => ({
    why: `${interrupt} of ${address} is not enabled`,
    hint: `await device.interrupt('${interrupt}').enable() first`,
  }),
  'bus-master-off': ({ address, interrupt }) => ({
    why: `because bus mastering of ${address} is off, without which a device sends no ${interrupt}`,
    hint: 'device.pci.setBusMaster(true) switches it on',
  }),
  'not-an-eventfd': ({ fd, found }) => ({
    why: `the descriptor ${fd} (${found}) is no eventfd`,
    hint: 'give the number of an open eventfd, as eventfd(2) answers it and KVM takes it for an irqfd',
  }),
  'no-reset': ({ address }) => ({
    why: `${address} has no reset of its own; planHotReset() tells what else is possible`,
    hint: 'await device.planHotReset() says whether its bus or slot can be reset, and what hotReset() would hit',
  }),
  'intx-line-taken': ({ line, others, nointxmask }) => ({
    why: `the interrupt line ${line} has another handler${others.length > 0 ? ` (${others.join(', ')})` : ''}, and cannot be shared with this device`,
    hint:
      'enable msix or msi where device.interrupt(…).count is not 0: they have no line; or end who has the line' +
      (nointxmask
        ? '; vfio-pci was loaded with nointxmask=1, which shares no line: load it without'
        : ''),
  }),
  'iova-mapped': ({ mapped }) => ({
    why: mapped.length > 0 ? `${mapped.map(extent).join(' and ')} mapped there already` : '',
    hint: 'unmap that first, or leave the address to the kernel by giving no iova',
  }),
  'iova-misaligned': ({ iova, length, alignment }) => ({
    why: `${hex(iova)} or the length ${hex(length)} is no multiple of ${hex(alignment)}`,
    hint: `make both, and the offset in the memory, multiples of ${hex(alignment)}`,
  }),
  'iova-not-allowed': ({ iova, length, ranges }) => ({
    why: `${extent({ iova, length })} is not within ${ranges.map(bounds).join(' or ')}`,
    hint: 'take an address of ioas.iovaRanges(), read again after each attach and detach',
  }),
  'iova-exhausted': ({ length, ranges }) => ({
    why: `${hex(length)} bytes fit nowhere in ${ranges.map(bounds).join(' or ') || 'what is left: nothing'}`,
    hint: 'unmap what is not needed, or map in larger pieces: small ones leave gaps',
  }),
  'too-many-maps': ({ parameter }) => ({
    why: `the container takes no more maps (${parameter})`,
    hint: 'map in larger pieces; the limit is a parameter: modprobe vfio_iommu_type1 dma_entry_limit=',
  }),
  'container-empty': ({ path }) => ({
    why: `no device is open in this container (${path}), which has no address space until one is`,
    hint: 'open the device first and map then',
  }),
  'not-mapped': ({ iova, length, cut }) => ({
    why:
      cut.length > 0
        ? `it would cut ${cut.map(extent).join(' and ')}`
        : `nothing lies wholly within ${extent({ iova, length })}`,
    hint: 'unmap what was mapped, as a whole: the kernel does not split a mapping',
  }),
  'memory-not-pinnable': ({ what }) => ({
    why: `the kernel cannot pin this ${what}`,
    hint:
      what === 'buffer'
        ? 'allocate it with populate: true, which says what keeps the kernel from its pages'
        : 'use a DmaBuffer, or a memfd, shmem or hugetlbfs file that is as long as what is mapped',
  }),
  'memlock-limit': ({ needed, limit, pinned, counted }) => ({
    why: `${needed} bytes are needed, RLIMIT_MEMLOCK is ${limit}, and this process has pinned ${pinned}${counted === 'user' ? '; the kernel counts all processes of the user' : ''}`,
    hint: 'raise it (LimitMEMLOCK= of a systemd unit, ulimit -l), or give the program CAP_IPC_LOCK',
  }),
  'too-few-huge-pages': ({ pageSize, needed, free, total, parameter }) => ({
    why: `${counted(needed, 'page')} of ${pageSize / 2 ** 20} MiB ${needed === 1 ? 'is' : 'are'} needed, and ${free} of ${total} are free`,
    hint:
      `have the kernel set more aside: echo ${total + needed - free} | sudo tee ${parameter}, and read it ` +
      "again, since it gives fewer where memory is short or in pieces; or take hugePages: 'auto'",
  }),
  'hugetlb-limit': ({ pageSize }) => ({
    why: `a cgroup of this process limits its huge pages of ${pageSize / 2 ** 20} MiB`,
    hint:
      'look for hugetlb.*.max, or hugetlb.*.limit_in_bytes, in the folders of /sys/fs/cgroup that ' +
      "/proc/self/cgroup names; for a container, ask for the resource hugepages-…; or take hugePages: 'auto'",
  }),
  'iova-reserved': ({ device, overlaps }) => ({
    why: `${overlaps.map((each) => `${extent(each)} meets ${bounds(each.reserved)} (${each.reserved.type})`).join(' and ')} of ${device}`,
    hint: 'attach first and map then: the kernel leaves these addresses out',
  }),
  'maps-not-pinnable': ({ maps }) => ({
    why: `it pins now what was mapped before: ${maps.map(extent).join(' or ')}`,
    hint: 'attach first and map then: each map is refused by itself',
  }),
  'other-container': () => ({
    why: '',
    hint: 'map through device.createIoas(), or open the device with the container whose address space it is',
  }),
  'other-iommufd': ({ device }) => ({
    why: `${device} is bound to another iommufd`,
    hint: 'use device.iommufd and its address spaces, or open the device with this iommufd',
  }),
  'region-unreachable': ({ device, region }) => ({
    why: `${region} of ${device} does not answer: memory decoding is off, or the device sleeps or is closed`,
    hint: 'pci.setMemory(true), pci.setPowerState("D0") or feature.lowPower.exit() first, then map it',
  }),
  'no-sriov': ({ bus, address, physicalFunction }) => ({
    why:
      physicalFunction === null
        ? bus === 'pci'
          ? 'the device has no SR-IOV, or the kernel no CONFIG_PCI_IOV'
          : `only devices of the bus pci have SR-IOV, and it is on the bus ${bus}`
        : `it is a virtual function of ${physicalFunction}`,
    hint:
      physicalFunction === null
        ? `ls -d /sys/bus/pci/devices/*/sriov_totalvfs shows those that have it; some cards want it enabled in their own firmware (lspci -vs ${address})`
        : `name the physical function: ${physicalFunction}`,
  }),
  'vfs-in-use': ({ physicalFunction, devices, unseen }) => ({
    why: [
      ...devices.map(
        ({ address, needs }) => `${address}: ${needs.map(({ text }) => text).join('; ')}`,
      ),
      ...unseen.map((text) => `not to be seen: ${text}`),
    ].join('. '),
    hint:
      devices.length > 0
        ? 'end that use first: all virtual functions are removed before others are made, also those that would be there again'
        : `look as root, on the host itself; whoever knows that nobody has any: echo 0 | sudo tee /sys/bus/pci/devices/${physicalFunction}/sriov_numvfs`,
  }),
  'vfs-refused': (facts) => vfsRefused(facts),
  'needed-by-host': ({ devices }) => ({
    why: devices
      .map(({ address, needs }) => `${address}: ${needs.map(({ text }) => text).join('; ')}`)
      .join('. '),
    hint: devices.some(({ needs }) => needs.some(({ never }) => never))
      ? 'leave the bridge to the host: what is behind it can be taken without it'
      : `${endUse(devices)}; who knows that the host can do without takes it by { force: true }, --force on the command line`,
  }),
  'kernel-waits': (facts) => kernelWaits(facts),
  'driver-not-bound': ({ address, wanted, driver, code }) => {
    const now = `${address} ${driver === null ? 'has no driver' : `has the driver ${driver}`} now`;
    const why = wanted === null ? now : `${now}, and was to have ${wanted}`;
    if (code === 'EROFS')
      return {
        why: `${why}. sysfs is mounted read-only here, as in a container`,
        hint: 'do it on the host, or give the container a sysfs that it may write to (docker run --privileged)',
      };
    if (code === 'EACCES' || code === 'EPERM')
      return {
        why: `${why}. This process may not write to that file of sysfs`,
        hint: 'changing the driver of a device takes root on the host: sudo npx vfio …',
      };
    const log = `the kernel's log may say why: sudo journalctl -k -g ${address}`;
    // As vfio_pci_core_register_device, drivers/vfio/pci/vfio_pci_core.c, answers it.
    const isParent = code === 'EBUSY' && wanted === vfioDrivers['pci'];
    const functions = `vfio-pci takes no device that has virtual functions: sudo npx vfio sriov ${address} --vfs 0 removes them; `;
    return { why, hint: `${isParent ? functions : ''}${log}` };
  },
  'no-such-driver': ({ bus, driver, release }) => ({
    why: `Linux ${release} has no driver ${driver} for the bus ${bus}, and no module of that name was loaded`,
    hint: `ls /sys/bus/${bus}/drivers shows those that are loaded; modinfo ${driver} whether there is a module`,
  }),
  'driver-mismatch': ({ address, driver, module, modalias, unread }) => ({
    why:
      unread === null
        ? `the module ${module} lists the devices that it drives, and ${address} (${modalias ?? ''}) is none of them. driver_override skips that list, and a driver that gets a device of another kind can crash the kernel`
        : `it cannot be said whether ${driver} drives this device: ${unread}. A driver that gets a device of another kind can crash the kernel`,
    hint: `without --driver it goes to VFIO's driver for it, and sudo npx vfio unbind ${address} gives back the one that it had; { force: true }, --force on the command line gives it to ${driver} all the same, at the risk that the kernel crashes`,
  }),
  'no-driver-override': ({ bus, address, driver }) => ({
    why:
      bus === 'mdev'
        ? `${address} is a mediated device, and has its VFIO driver (${driver ?? 'none now'}) from the moment that it is made`
        : `devices of the bus ${bus} have no driver_override`,
    hint:
      bus === 'mdev'
        ? 'open it as it is; its parent keeps the driver of the host'
        : `only a driver of the bus ${bus} itself can give it to VFIO`,
  }),
  'binding-elsewhere': ({ address, pid, holders = [] }) => ({
    why:
      holders.length > 0
        ? `${address} is being taken from its driver, which waits until it is let go, by ${holders.map(named).join(' or ')}`
        : `${pid === null ? 'another program' : `process ${pid}`} binds or unbinds ${address}, or waits in the kernel for whoever has it open`,
    hint:
      holders.length > 0
        ? `${letGo({ holders, hidden: 0, searched: true })}; the kernel goes on by itself then`
        : `wait until it is done: ${pid === null ? 'sudo lsof +D /run/vfio' : `ps -fp ${pid}`}`,
  }),
};

/** What `sriov_numvfs_store` of drivers/pci/iov.c and the drivers' sriov_configure answer. */
function vfsRefused({
  address,
  driver,
  enableSriov,
  count,
  code,
}: VfioFacts['vfs-refused']): Words {
  const log = `sudo journalctl -k -g ${address}`;
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return {
      why: 'this process may not write that file of sysfs',
      hint: 'be root on the host; containers have sysfs read-only as a rule',
    };
  }
  if (code === 'ENOENT' && driver === null) {
    return {
      why: `${address} has no driver, and the kernel makes virtual functions only through one`,
      hint: `bind it to its own driver, to vfio-pci (with enable_sriov=1) or to pci-pf-stub first`,
    };
  }
  if (code === 'ENOENT' && driver === 'vfio-pci') {
    return {
      why:
        enableSriov === false
          ? 'vfio-pci makes virtual functions only where its parameter enable_sriov is Y, and it is N'
          : 'vfio-pci makes virtual functions only where its parameter enable_sriov is Y',
      hint: 'echo Y | sudo tee /sys/module/vfio_pci/parameters/enable_sriov; or bind the physical function to its own driver',
    };
  }
  if (code === 'ENOENT') {
    return {
      why: `the driver ${driver ?? ''} makes no virtual functions by sysfs`,
      hint: `bind the device to another driver, such as pci-pf-stub; some drivers have a parameter instead: modinfo ${driver ?? ''}`,
    };
  }
  if (code === 'EBUSY' || (code === 'EINVAL' && driver === 'vfio-pci')) {
    return {
      why: 'another program changes its virtual functions at the same time',
      hint: `see how many there are now, and try again: vfio sriov ${address}`,
    };
  }
  return {
    why: `${driver === null ? 'the kernel' : `the driver ${driver}`} does not make ${count} of them`,
    hint: `the kernel's log says why, such as a lack of bus numbers or of room for their memory (pci=realloc on the kernel's command line may help): ${log}`,
  };
}

function kernelWaits(facts: VfioFacts['kernel-waits']): Words {
  const { address, driver, openable, timeout, holders } = facts;
  const device = address ?? 'the device';
  const later = 'the kernel goes on by itself then, and no second write helps';
  if (driver === null) {
    const open = holders.length > 0 ? `; ${holders.map(named).join(' and ')} has it open` : '';
    return {
      why: `that is all that is known: sysfs does not show that ${device} is being taken from a driver${open}`,
      hint: `give the kernel more time than ${timeout} ms (--timeout, { timeout }); vfio doctor ${device} shows how it is now, and the kernel's log may say more: sudo journalctl -k -g ${device}`,
    };
  }
  if (!openable) {
    return {
      why: `the driver ${driver} has not let go of ${device} yet`,
      hint: `the kernel's log may say what the driver waits for: sudo journalctl -k -g ${device}. No second write helps: the kernel goes on by itself when the driver is done`,
    };
  }
  return {
    why: `it waits until ${device}${functionsText(facts.functions)} is let go${byWhom(facts)}`,
    hint: `${letGo(facts)}; ${later}`,
  };
}

function functionsText(functions: readonly string[] = []): string {
  return functions.length === 0 ? '' : `, or a virtual function of it (${functions.join(', ')}),`;
}

function endUse(devices: readonly NeededDevice[]): string {
  const needs = devices.flatMap((device) => device.needs);
  const parents = devices.filter((device) => device.needs.some(isFunctions));
  const removal = parents.map(({ address }) => `sudo npx vfio sriov ${address} --vfs 0`);
  const steps = [
    ...(needs.every(isFunctions) ? [] : ['end that use first']),
    ...(removal.length > 0 ? [`remove the virtual functions: ${removal.join('; ')}`] : []),
  ];
  return steps.join(', and ');
}

function isFunctions({ kind }: NeededDevice['needs'][number]): boolean {
  return kind === 'functions';
}

const vgaWindows = '0x3b0-0x3bb, 0x3c0-0x3df and 0xa0000-0xbffff';

function usersOf(
  devices: readonly string[],
  pageTables: readonly number[],
  objects: readonly string[],
): string {
  const attached = devices.length > 0 ? [`${devices.join(' and ')} attached to it`] : [];
  const made = pageTables.length > 0 ? [`page table ${pageTables.join(' and ')} made of it`] : [];
  const others = objects.length > 0 ? [`${objects.join(' and ')} made of it`] : [];
  const all = [...attached, ...made, ...others];
  return all.length > 0 ? all.join(', ') : 'by another thread or process that has the iommufd';
}

const hex = (number: bigint): string => `0x${number.toString(16)}`;

const bounds = ({ start, last }: IovaBounds): string => `${hex(start)}-${hex(last)}`;

const extent = ({ iova, length }: IovaExtent): string =>
  bounds({ start: iova, last: iova + length - 1n });

/** VFIO's driver for a bus whose devices are bound by `driver_override`. */
export const vfioDrivers: Readonly<Record<string, string>> = {
  pci: 'vfio-pci',
  platform: 'vfio-platform',
  'fsl-mc': 'vfio-fsl-mc',
  cdx: 'vfio-cdx',
};

type Unbound = Pick<GroupMember, 'bus' | 'address' | 'driver' | 'uses' | 'unseen' | 'bridge'>;

/**
 * How the host gives devices up; and what it would lose, of which nobody is told to take what it
 * uses.
 */
function giveAway(devices: Unbound[], isGroup = true): string {
  const bridges = devices.filter(({ bridge }) => bridge);
  const used = devices.flatMap(({ uses = [] }) => uses.filter(({ now }) => now !== null));
  if (bridges.length > 0 || used.length > 0) {
    const why = [
      ...bridges.map(({ address }) => `${address} is a bridge, which vfio-pci does not take`),
      ...used.map((use) => `the host uses ${useText(use)}, and would lose it`),
    ];
    const group = isGroup ? ['another slot, or ACS in the firmware, makes smaller groups'] : [];
    const what = [...used.flatMap(endOfUse), ...group].map((text) => `. ${capitalized(text)}`);
    return `do not unbind anything here: ${why.join('; ')}${what.join('')}`;
  }
  const lost = devices.flatMap(({ uses = [] }) => uses.map(useText));
  const loss = lost.length > 0 ? `this takes ${lost.join(', ')} from the host: ` : '';
  const whole = devices.length > 1 ? 'give up all of them: ' : '';
  const unseen = devices.flatMap(unseenText).join('');
  return `${unseen}${loss}${whole}${bindCommands(devices)}`;
}

/** How that ends of which the host may be able to do without; of other uses nobody is told. */
function endOfUse({ kind, name, now }: HostUse): string[] {
  if (kind !== 'block' || now !== 'swapped to') return [];
  return [
    `where the host can do without this swap: sudo swapoff /dev/${name}, take it out of /etc/fstab, and bind the device then`,
  ];
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const kindNames: Record<HostUse['kind'], string> = {
  block: 'the disk',
  net: 'the network interface',
  drm: 'the display',
  files: 'the shared file system',
  console: 'the console',
};

function useText({ kind, name, now }: HostUse): string {
  const unseen = kind === 'block' ? ' (no use of it is to be seen, but ZFS would not show)' : '';
  return `${kindNames[kind]} ${name}${now === null ? unseen : ` (${now})`}`;
}

const seenNone: Record<HostUse['kind'], string> = {
  block: 'disks',
  net: 'network interfaces',
  drm: 'displays',
  files: 'shared file systems',
  console: 'consoles',
};

/** What cannot be seen from a container or another namespace, and may be in use all the same. */
function unseenText({ address, uses = [], unseen = [] }: Unbound): string[] {
  if (unseen.length === 0) return [];
  const kinds = unseen.map((kind) => seenNone[kind]).join(' or ');
  const what = uses.some(({ kind }) => unseen.includes(kind))
    ? `not all use of the ${kinds} of ${address} is`
    : `no ${kinds} of ${address} are`;
  return [`${what} to be seen from here; see on the host that it uses none: `];
}

/** What gives them to VFIO; it refuses by itself what the host needs by then. */
function bindCommands(devices: Unbound[]): string {
  const [taken, other] = [true, false].map((isTaken) =>
    devices.filter(({ bus }) => (vfioDrivers[bus] !== undefined) === isTaken),
  ) as [Unbound[], Unbound[]];
  const addresses = taken.map(({ address }) => address).join(' ');
  return [
    ...(taken.length > 0 ? [`sudo npx vfio bind ${addresses}`] : []),
    ...other.map(({ bus, address }) => `bind ${address} to the VFIO driver of the bus ${bus}`),
  ].join('; ');
}

function rightsOf({ mode, owner, group, uid, gids }: Ownership): string {
  return `has the mode ${mode} of user ${owner} and group ${group}; this process is user ${uid} in the groups ${gids.join(', ')}`;
}

function byWhom({ holders, hidden, searched }: Holding): string {
  if (holders.length > 0) return `, by ${holders.map(named).join(' or ')}`;
  if (!searched) return '';
  return hidden > 0
    ? `, by a process that this user may not look at (${hidden} of them)`
    : ', and no process here has it: it may be one of another pid namespace, or a mapping that was left';
}

function named({ pid, command }: Holding['holders'][number]): string {
  return pid === process.pid ? 'this process' : `process ${pid} (${command})`;
}

function letGo({ holders, searched, hidden }: Holding): string {
  const [holder] = holders;
  if (holder?.pid === process.pid) return 'close it there first';
  if (holder) return `end it, or have it close the device: ps -fp ${holder.pid}`;
  if (!searched) return 'to see who has it open: sudo lsof +D /dev/vfio';
  return hidden > 0 ? 'as root the same error names it' : 'look for containers that were given it';
}

function blockers(members: readonly GroupMember[]): GroupMember[] {
  return members.filter(({ verdict }) => verdict === 'host-driver');
}

function shown({ address, driver }: GroupMember): string {
  return `${address} (${driver ?? 'no driver'})`;
}

/** A part of sysfs that every kernel has, and that this process cannot look at. */
export interface Hidden {
  path: string;
  /**
   * `ENOENT`: it is not there, or empty, as where something else is mounted over it; `EACCES` and
   * others.
   */
  code: string;
}

/** For messages. */
export function hiddenText({ path, code }: Hidden): string {
  const how = code === 'ENOENT' ? 'is not there, or is empty' : `answers ${code}`;
  const where = path.startsWith('/proc/') ? '' : ' of sysfs';
  return `${path}${where} ${how}`;
}
