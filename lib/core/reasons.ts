/**
 * Why a device does not open: stable identifiers, each with what was found out. `docs/errors.md`
 * has an entry for every one.
 */
export interface VfioFacts {
  /**
   * A part of sysfs that every kernel has is not to be seen here, so that nothing can be said of
   * the device. `code`: `ENOENT` where it is not there or is empty, otherwise the kernel's answer.
   */
  'sysfs-absent': { path: string; code: string };
  /**
   * The bus has no such device. `elsewhere`: devices at the same place of other PCI domains, if
   * any.
   */
  'no-device': { bus: string; address: string; elsewhere?: string[] };
  /** The device is there, and its driver is no VFIO driver. */
  'not-bound': {
    bus: string;
    address: string;
    driver: string | null;
    driverOverride: string | null;
    /** What the host has by that driver, if anything. */
    uses?: HostUse[];
    /**
     * Kinds of which the host may use something that is not to be seen from here; absent where all
     * is.
     */
    unseen?: HostUse['kind'][];
  };
  /** A bridge or a port, which vfio-pci does not take. `behind`: the devices behind it. */
  bridge: { bus: string; address: string; driver: string | null; behind: string[] };
  /**
   * The device has no IOMMU group, so no VFIO driver takes it. `iommus`: those in /sys/class/iommu;
   * null where that is not to be seen.
   */
  'no-iommu-group': { driver: string | null; iommus: number | null };
  /** The kernel makes no cdev for the device. `noiommu`: it is there without an IOMMU. */
  'no-cdev': { release: string; noiommu: boolean };
  /** The module iommufd is there and not loaded. */
  'iommufd-not-loaded': { release: string };
  /**
   * The kernel has no iommufd. `unread`: the list of its modules, where that is not here to be
   * read.
   */
  'iommufd-absent': { release: string; unread?: string };
  /** The kernel has the device, and this mount namespace has no node for it. */
  'node-absent': { path: string; numbers: string };
  /** The kernel has no legacy containers, or the module vfio is not loaded. */
  'container-absent': { path: string; release: string };
  /**
   * The mode of a node, or of a folder on the way to it, shuts this process out. `isFolder`: there
   * where it is a folder's.
   */
  'no-permission': Ownership & { path: string; isFolder?: true };
  /** The mode lets this process in, and something else does not. */
  'denied-by-policy': Ownership & { path: string };
  /** A device cgroup refuses the node. */
  'device-cgroup': { path: string; numbers: string };
  /**
   * The node is not the device of sysfs. Numbers are null where nothing has any that is to be seen.
   */
  'stale-node': { path: string; expected: string | null; found: string | null };
  /** Another descriptor of the device's cdev is bound already. */
  'held-by-cdev': Holding;
  /** The device's legacy group is open. */
  'held-by-group': Holding & { group: number };
  /** A device of the same IOMMU group has a host driver. */
  'group-not-viable': { group: number; members: GroupMember[] };
  /** The platform does not isolate interrupts, and iommufd does not accept that. */
  'unsafe-interrupts': { group: number; parameter: string };
  /** Another iommufd owns the device's IOMMU group. */
  'group-owned': Holding & { group: number; members: GroupMember[] };
  /** The virtual function, or its physical function, is opened with a VF token only. */
  'vf-token-required': { physicalFunction: string };
  /** Devices without an IOMMU are for those with CAP_SYS_RAWIO. */
  'no-rawio': { path: string };
  /** The device has no IOMMU, and nobody said that this is known. */
  'no-iommu': { name: string };
  /** The object was bound before: its descriptor belongs to a VfioDevice. */
  'already-bound': { path: string };
  /** The device is being unbound or unplugged, which waits until it is closed. */
  'being-removed': { bus: string; address: string; driver: string };
  /** The kernel has no cdev of this name. */
  'no-such-cdev': { path: string };
  /** The device was there and is gone. */
  gone: { bus: string; address: string };
  /**
   * The device was asked for by whoever removes it, nobody listened to `request`, and it closed
   * itself.
   */
  'asked-back': { bus: string; address: string };
  /** Another owner of the device in this process disabled the interrupt. */
  'disabled-elsewhere': { address: string; interrupt: string };
  /**
   * An address space or page table is in use. `devices` are attached to it, `pageTables` made of
   * it, as far as this thread did that.
   */
  'still-attached': {
    what: string;
    devices: string[];
    pageTables: number[];
    /** What else was made of it, as the kernel calls it: `vIOMMU 7`. */
    objects: string[];
  };
  /** The kernel stopped at an entry of a list: `handled` of all `entries` were done before. */
  'invalidated-in-part': { handled: number; entries: number };
  /** The runtime makes no ArrayBuffer over memory that is not its own. */
  'no-external-buffers': { runtime: string };
  /** The device has a ROM that does not begin as one: the kernel does not show it. */
  'rom-unreadable': { address: string };
  /** The region `vga` answers within its windows only. */
  'vga-window': { offset: number; length: number };
  /** The interrupt is off, and what was asked for needs it enabled. */
  'irq-disabled': { address: string; interrupt: string };
  /** No MSI can come: the device's bus mastering is off. */
  'bus-master-off': { address: string; interrupt: string };
  /** What is to be signalled is no eventfd. `fd`: its number; `found`: what it is. */
  'not-an-eventfd': { fd: number; found: string };
  /** The device has no reset of its own. */
  'no-reset': { address: string };
  /**
   * The line of the device's INTx cannot be shared with those who have it. `line`: as in
   * /proc/interrupts. `others`: its handlers. `nointxmask`: whether vfio-pci was told to share no
   * line; null where that is not to be seen.
   */
  'intx-line-taken': {
    address: string;
    line: number;
    others: string[];
    nointxmask: boolean | null;
  };
  /** The descriptor is no KVM VM's. */
  'not-a-vm': Record<string, never>;
  /** Another process made the VM, or KVM has given it up; only its maker may change it. */
  'vm-of-other-process': Record<string, never>;
  /** The kernel's KVM knows nothing of VFIO. */
  'kvm-without-vfio': { release: string };
  /** The VM has a VFIO device already, and has one at most. */
  'vm-has-vfio': Record<string, never>;
  /** KVM was told of this device or group before. */
  'vm-has-device': Record<string, never>;
  /** KVM was not told of this device or group, by whatever descriptor of it. */
  'vm-lacks-device': Record<string, never>;
  /** The descriptor is neither a VFIO device's nor a group's. */
  'not-for-kvm': Record<string, never>;
  /** Something is mapped there already. `mapped`: what this program mapped and overlaps. */
  'iova-mapped': IovaExtent & { mapped: IovaExtent[] };
  /** Address, length or offset is no multiple of `alignment`. */
  'iova-misaligned': IovaExtent & { alignment: bigint };
  /** A device of the address space cannot use these addresses, or has them for itself. */
  'iova-not-allowed': IovaExtent & { ranges: IovaBounds[] };
  /** No room of that length is left in `ranges`. */
  'iova-exhausted': { length: bigint; ranges: IovaBounds[] };
  /** A container takes no more maps: `parameter` has the limit. */
  'too-many-maps': { parameter: string };
  /** No device is open in the container, which has an address space only while one is. */
  'container-empty': { path: string };
  /** Nothing lies wholly within; `cut`: what this program mapped and the range would cut. */
  'not-mapped': IovaExtent & { cut: IovaExtent[] };
  /** The kernel cannot pin this memory. `what`: `file`, `address` or `buffer`. */
  'memory-not-pinnable': { what: string; length: bigint };
  /**
   * So much may not be pinned. Bytes; `pinned` is this process's part. An iommufd counts all
   * processes of the user, a container each by itself.
   */
  'memlock-limit': { needed: bigint; limit: bigint; pinned: bigint; counted: 'user' | 'process' };
  /**
   * So many huge pages are neither in use nor promised to others. `parameter`: where to ask for
   * more. Sizes in bytes.
   */
  'too-few-huge-pages': {
    pageSize: number;
    needed: number;
    free: number;
    total: number;
    parameter: string;
  };
  /** The kernel promised the huge pages, and does not give them: a limit of the cgroup. Bytes. */
  'hugetlb-limit': { size: number; pageSize: number };
  /** A map made earlier is where the device has a reserved region. */
  'iova-reserved': { device: string; overlaps: ReservedOverlap[] };
  /**
   * Memory that was mapped while no device was attached cannot be pinned. `maps`: which may be it.
   */
  'maps-not-pinnable': { maps: IovaExtent[] };
  /** The device is in one container, the address space is of another, or of an iommufd. */
  'other-container': { device: string };
  /** The device is bound to one iommufd; the address space is of another, or another was asked. */
  'other-iommufd': { device: string };
  /** A region's memory does not answer, so the kernel lets no device reach it. */
  'region-unreachable': { device: string; region: string };
  /** The device has no virtual functions. `physicalFunction`: the one whose it is one, if any. */
  'no-sriov': { bus: string; address: string; physicalFunction: string | null };
  /**
   * Virtual functions were to be removed that the host or a program has, or whose physical function
   * a program has. `unseen`: what could not be looked at, in sentences.
   */
  'vfs-in-use': { physicalFunction: string; devices: NeededDevice[]; unseen: string[] };
  /**
   * The kernel does not give a physical function another number of virtual ones. `enableSriov`:
   * vfio-pci's parameter; null where that is not to be seen. `count`: how many it was to have.
   */
  'vfs-refused': {
    address: string;
    driver: string | null;
    enableSriov: boolean | null;
    count: number;
    code: string;
  };
  /** The host, or a program, needs devices that were to be taken from their drivers. */
  'needed-by-host': { devices: NeededDevice[] };
  /**
   * The kernel still waits in a write to sysfs. `address`: the device whose driver it is about.
   * `timeout`: in milliseconds. The holders: who has the device open, or one of its virtual
   * functions. `functions`: these, by address; absent where it had none. `driver`: the one that it is
   * being taken from; null where sysfs does not show that it is, as where the time was too short.
   * `openable`: whether it had nodes of VFIO, whose holders are waited for.
   */
  'kernel-waits': Holding & {
    path: string;
    address: string | null;
    timeout: number;
    functions?: string[];
    driver: string | null;
    openable: boolean;
  };
  /** The driver that was asked for is not the device's. `code`: the kernel's answer to the write. */
  'driver-not-bound': {
    address: string;
    wanted: string | null;
    driver: string | null;
    code: string | null;
  };
  /** The kernel has no such driver, nor a module of its name. */
  'no-such-driver': { bus: string; driver: string; release: string };
  /**
   * The driver that was asked for is not made for the device. `modalias`: the device, as the aliases
   * of the driver's module describe those that it drives. `unread`: what kept from looking at them,
   * null where none matches.
   */
  'driver-mismatch': {
    bus: string;
    address: string;
    driver: string;
    module: string;
    modalias: string | null;
    unread: string | null;
  };
  /** Devices of this bus are not bound by `driver_override`. */
  'no-driver-override': { bus: string; address: string; driver: string | null };
  /**
   * Another program binds or unbinds the device now. `pid`: as it says itself; null where it is not
   * known, or that process is gone and what it began still waits in the kernel. The holders, who are
   * waited for, are there while the device is being taken from its driver.
   */
  'binding-elsewhere': Partial<Holding> & { address: string; path: string; pid: number | null };
}

/** A device that the host or a program needs. */
export interface NeededDevice {
  /** The bus: `pci`, `mdev`, … */
  bus: string;
  /** Its address on the bus. */
  address: string;
  /** What it is needed for. */
  needs: HostNeed[];
}

/** What a device is needed for. */
export interface HostNeed {
  /**
   * `disk`: it is mounted, swapped to or a part of another; `files`: the hypervisor shares a file
   * system by it; `console`: it is the kernel's, or a program has a channel of it open; `network`: the way to the network or to
   * this terminal, or a part of a bridge or a bond; `display`: where the machine shows its start;
   * `bridge`: others are behind it; `functions`: virtual functions that go with its driver; `user`:
   * a program has it open.
   */
  kind: 'disk' | 'files' | 'console' | 'network' | 'display' | 'bridge' | 'functions' | 'user';
  /** What it is called: `nvme0n1p1`, `eth0`; the device's address where it is the device itself. */
  name: string;
  /** In words: `nvme0n1p1 is mounted at /`. */
  text: string;
  /** Whether nobody can insist on taking it nevertheless. */
  never?: true;
}

/** A range of I/O virtual addresses. */
export interface IovaExtent {
  /** Where it begins. */
  iova: bigint;
  /** In bytes. */
  length: bigint;
}

/** The same with both ends included, as the kernel has them. */
export interface IovaBounds {
  /** The first address. */
  start: bigint;
  /** The last address, which is in it. */
  last: bigint;
}

/** A map, and the line of the IOMMU group's `reserved_regions` that it meets. */
export interface ReservedOverlap extends IovaExtent {
  /** The range that nothing may be mapped in. */
  reserved: IovaBounds & { type: string };
}

/** Why something failed, by an identifier: each has an entry in docs/errors.md. */
export type VfioReason = keyof VfioFacts;

/** `certain`: shown by what was read. `likely`: what the kernel's answer means most often. */
export type Certainty = 'certain' | 'likely';

/** A process that has the device open. */
export interface Holder {
  /** The process's id. */
  pid: number;
  /**
   * The text of /proc/<pid>/comm, which may hold anything. {@link printable} makes it fit to be
   * shown.
   */
  command: string;
}

/** Who holds a device. */
export interface Holding {
  /** Processes that have a descriptor of it: of several, one holds it. */
  holders: Holder[];
  /** Processes whose descriptors this user may not see. */
  hidden: number;
  /**
   * Whether all processes of the namespace were looked at: blocking calls look at none, time may
   * have run out, /proc may not show them all (hidepid), or not be there, and sysfs may not show
   * the numbers of what they have open.
   */
  searched: boolean;
}

/** The rights of a file, and those of this process. */
export interface Ownership {
  /** Octal, such as `0600`. */
  mode: string;
  /** The user id of its owner. */
  owner: number;
  /** Its group id. */
  group: number;
  /** This process's effective ids. */
  uid: number;
  /** This process's supplementary groups. */
  gids: number[];
}

/** A device of an IOMMU group, which is the smallest unit that can be given away. */
export interface GroupMember {
  /** The bus: `pci`, `mdev`, … */
  bus: string;
  /** Its address on the bus. */
  address: string;
  /** Its driver; null without one. */
  driver: string | null;
  /** `host-driver`: its driver does DMA for the host, so nobody else may have the group. */
  verdict: 'ok' | 'host-driver';
  /** What the host has by that driver, if anything: it loses this with the device. */
  uses?: HostUse[];
  /**
   * Kinds of which the host may use something that is not to be seen from here; absent where all
   * is.
   */
  unseen?: HostUse['kind'][];
  /** Whether it is a bridge or a port, which vfio-pci does not take; absent where it is none. */
  bridge?: true;
}

/**
 * What the host has of a device: a disk or a partition, a network interface, a display; `files`: a
 * file system that the hypervisor shares by 9p or virtiofs; `console`: a terminal that is the
 * kernel's console, or a channel to the hypervisor.
 */
export interface HostUse {
  /** What the host does with it. */
  kind: 'block' | 'net' | 'drm' | 'files' | 'console';
  /** The kernel's name: `sda1`, `eth0`, `card0`, `hvc0`; of files their tag. */
  name: string;
  /**
   * How the host uses it now: `mounted at /`, `up`; null where no use was seen. What ZFS, another
   * mount namespace or a program has of a disk is not.
   */
  now: string | null;
}

/** A reason and what was found out: the shape in which one is looked for. */
export type Cause<Reason extends VfioReason = VfioReason> = {
  [Each in Reason]: { reason: Each; certainty: Certainty; facts: VfioFacts[Each] };
}[Reason];
