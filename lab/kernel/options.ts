/** What the whole kernel has on top of `make tinyconfig`. */

/** Enough of a system to run the host's programs. */
const SYSTEM = `
  64BIT SMP MODULES MODULE_UNLOAD PRINTK PRINTK_TIME KALLSYMS BUG BLK_DEV_INITRD BINFMT_ELF BINFMT_SCRIPT
  MULTIUSER PROC_FS PROC_PAGE_MONITOR SYSCTL SYSFS TMPFS TMPFS_XATTR TMPFS_POSIX_ACL SHMEM DEVTMPFS
  EVENTFD EPOLL SIGNALFD TIMERFD FUTEX AIO IO_URING INOTIFY_USER FILE_LOCKING FHANDLE POSIX_TIMERS
  HIGH_RES_TIMERS NO_HZ_IDLE ADVISE_SYSCALLS MEMBARRIER RSEQ SECCOMP CROSS_MEMORY_ATTACH USERFAULTFD
  COREDUMP ELF_CORE MEMFD_CREATE SYSVIPC POSIX_MQUEUE CGROUPS NAMESPACES UNIX NET INET PACKET
  TTY UNIX98_PTYS HUGETLBFS TRANSPARENT_HUGEPAGE COMPACTION MIGRATION DEBUG_FS FUSE_FS PM
`;

/** The emulated machine, and the host's files in it. */
const MACHINE = `
  HYPERVISOR_GUEST PVH ACPI X86_X2APIC RTC_CLASS RTC_HCTOSYS RTC_DRV_CMOS SERIAL_8250
  SERIAL_8250_CONSOLE VIRTIO_MENU VIRTIO_PCI HVC_DRIVER VIRTIO_CONSOLE NETWORK_FILESYSTEMS
  NET_9P NET_9P_VIRTIO 9P_FS BLOCK OVERLAY_FS NETDEVICES ETHERNET NET_VENDOR_INTEL
  PCI PCI_QUIRKS PCI_MSI PCI_IOV PCI_ATS PCI_PASID PCI_PRI PCIEPORTBUS PCIEAER
  HOTPLUG_PCI HOTPLUG_PCI_PCIE HOTPLUG_PCI_ACPI
`;

/** What the lab is for. PCI_P2PDMA, and what it stands on, is what DMA-BUFs of a BAR need. */
const DEVICES = `
  IOMMU_SUPPORT IRQ_REMAP INTEL_IOMMU INTEL_IOMMU_DEFAULT_ON INTEL_IOMMU_SVM
  IOMMUFD IOMMUFD_NOIOMMU VFIO VFIO_GROUP VFIO_CONTAINER VFIO_IOMMU_TYPE1 VFIO_DEVICE_CDEV
  VFIO_NOIOMMU VFIO_DEBUGFS VFIO_PCI VFIO_PCI_DMABUF SAMPLES VIRTUALIZATION
  MEMORY_HOTPLUG MEMORY_HOTREMOVE SPARSEMEM_VMEMMAP ZONE_DEVICE PCI_P2PDMA DMA_SHARED_BUFFER UDMABUF
`;

/**
 * iommufd's own mock IOMMU, and allocations that fail where a test says so: who allocates is known
 * by the stack, which ORC alone tells without guessing.
 */
const FAULTS = `
  DEBUG_KERNEL RUNTIME_TESTING_MENU FAULT_INJECTION FAULT_INJECTION_DEBUG_FS FAILSLAB
  FAULT_INJECTION_STACKTRACE_FILTER UNWINDER_ORC IOMMUFD_TEST
`;

/** As modules, so that a device has no driver until somebody loads one: as in Debian's kernel. */
const MODULES = `
  BLK_DEV_NVME E1000E VFIO_MDEV SAMPLE_VFIO_MDEV_MTTY SAMPLE_VFIO_MDEV_MDPY SAMPLE_VFIO_MDEV_MBOCHS
  KVM KVM_AMD
`;

/** The lines of a configuration fragment. */
export function configurationLines(): string[] {
  const lines = (names: string, value: string): string[] =>
    names
      .trim()
      .split(/\s+/)
      .map((name) => `CONFIG_${name}=${value}`);
  return [...lines(SYSTEM + MACHINE + DEVICES + FAULTS, 'y'), ...lines(MODULES, 'm')];
}

/** The lines wanted that a finished configuration has not. */
export function missingLines(configuration: string): string[] {
  const present = new Set(configuration.split('\n'));
  return configurationLines().filter((line) => !present.has(line));
}
