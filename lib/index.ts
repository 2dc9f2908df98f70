/**
 * Opens and drives VFIO devices, by their cdevs and iommufd or by their legacy groups.
 *
 * What each method throws stands with it; not repeated there is what the first call that needs the
 * addon throws where it cannot be had (`ERR_VFIO_UNSUPPORTED_PLATFORM`,
 * `ERR_VFIO_UNSUPPORTED_RUNTIME`, `ERR_VFIO_ADDON_NOT_FOUND`, `ERR_VFIO_ADDON_NOT_LOADED`), what any
 * promise rejects with where the process may have no more threads (`ERR_VFIO_NO_THREAD`), and
 * `ENOMEM`. An errno that is not named is one that the kernel's driver answered. What returns a
 * promise rejects, for arguments too: it throws nothing itself, unless that is said. A method whose
 * name ends in `Sync` blocks the event loop until the kernel answers.
 *
 * @module vfio
 */
// The types extend those of Node, which TypeScript 6 and later load for no program that does not
// ask.
/// <reference types="node" preserve="true" />
import { atLoad } from './core/binding.ts';
import { tracedIfAsked } from './trace/debuglog.ts';

export { openCdev, openCdevSync, VfioCdev } from './device/cdev.ts';
export { VfioDevice } from './device/device.ts';
export {
  type BindOptions,
  type DeviceOptions,
  type OpenDeviceOptions,
  type OpenDeviceSyncOptions,
} from './device/options.ts';
export type {
  DeviceCapability,
  DeviceInfo,
  IrqInfo,
  RegionCapability,
  RegionInfo,
  UnknownCapability,
} from './info/decode.ts';
export type { BeforeBindOption, UnboundNode } from './device/options.ts';
export type { BusMasterOption } from './device/options.ts';
export type { DeviceFromFdOptions, FromFdOptions } from './backend/from_fd.ts';
export type { FileDescriptor } from './core/file_descriptor.ts';
export { describeDevice, findCdev } from './diagnose/explain.ts';
export {
  closeDevices,
  openDevices,
  type FleetProgress,
  type OpenDevicesOptions,
} from './device/fleet.ts';
export type { DeviceEvents } from './device/events.ts';
export type { OpenOptions, OpenSyncOptions } from './backend/kinds.ts';
export type { OpenStep } from './core/open_steps.ts';
export type { RawCapability } from './core/structs.ts';
export type { EnableOptions } from './interrupt/set_irqs.ts';
export type { Interrupt } from './interrupt/interrupt.ts';
export type { SharedVector } from './interrupt/shared_vector.ts';
export type { InterruptVector, VectorEvents } from './interrupt/vector.ts';
export type { VectorWaitOptions } from './interrupt/waits.ts';
export type { Display, Plane, PlaneSource } from './feature/display.ts';
export type { DmaLogging, LoggedRange } from './feature/dma_logging.ts';
export type { Dmabuf } from './feature/dmabuf.ts';
export type { FeatureInfo, FeatureOperation, Features } from './feature/features.ts';
export type { IoeventfdOptions } from './feature/ioeventfd.ts';
export type { LowPower, LowPowerEvents } from './feature/low_power.ts';
export type { Migration, MigrationState, MigrationSupport } from './feature/migration.ts';
export type { MigrationSink, MigrationSource, PrecopyInfo } from './feature/migration_data.ts';
export type { FeatureName } from './feature/call.ts';
export {
  type ErrnoName,
  VfioError,
  type VfioErrorCode,
  type VfioErrorDetails,
} from './core/errors.ts';
export type { DirtyPages } from './feature/dirty_pages.ts';
export { DmaBuffer, type DmaBufferOptions } from './iommu/dma_buffer.ts';
export type { DmaBlock } from './iommu/dma_block.ts';
export { DmaPool, type DmaPoolOptions } from './iommu/dma_pool.ts';
export type {
  CounterPollOptions,
  DmaPoll,
  DmaPollOptions,
  EntryPollOptions,
} from './iommu/dma_poll.ts';
export type { DmaSpan } from './iommu/dma_span.ts';
export type { EventQueue, FaultOptions } from './iommu/event_queue.ts';
export type { FaultQueue, IoPageFault } from './iommu/fault_queue.ts';
export type { HardwareInfo, HardwareType } from './iommu/hardware_info.ts';
export type {
  AmdInfo,
  ArmSmmuv3Info,
  Tegra241CmdqvInfo,
  VtdInfo,
} from './iommu/hardware_registers.ts';
export type { AmdGuestData, ArmSmmuv3Data, HwptData, VtdS1Data } from './iommu/hwpt_data.ts';
export type { HwQueue, HwQueueOptions } from './iommu/hw_queue.ts';
export type { Invalidation, VtdS1Invalidation } from './iommu/invalidation.ts';
export type { IommufdObject } from './iommu/iommufd_object.ts';
export type { NestedHwpt, NestedHwptOptions } from './iommu/nested_hwpt.ts';
export type { Vdevice } from './iommu/vdevice.ts';
export type { OtherData } from './iommu/vendor_data.ts';
export type { Vevent, VeventQueue, VeventQueueOptions } from './iommu/vevent_queue.ts';
export type { Viommu, ViommuMap, ViommuOptions } from './iommu/viommu.ts';
export type { ContainerRange, UnmappedDirty } from './backend/container_dirty.ts';
export type { PasidOptions } from './backend/pasid.ts';
export type { BoundDevice } from './iommu/bound_device.ts';
export type { DirtyRange, Hwpt, HwptOptions } from './iommu/hwpt.ts';
export type { CopyOptions, Ioas, PhysicalExtent } from './iommu/ioas.ts';
export type { MapOptions } from './iommu/address_space.ts';
export type { AddressSpace } from './iommu/address_space.ts';
export type { ContainerSpace } from './backend/container_space.ts';
export { Container } from './backend/container.ts';
export { type KvmFile, KvmVfio } from './backend/kvm_vfio.ts';
export type { Backend, BackendKind } from './core/location.ts';
export { Iommufd, type RlimitMode } from './iommu/iommufd.ts';
export type { IovaRange } from './core/iova.ts';
export { IovaAllocator, type IovaAllocateOptions } from './iommu/iova_allocator.ts';
export type { DmaMapping } from './iommu/mapping.ts';
export type { PeerMapping, PeerMappingEvents } from './iommu/peer_mapping.ts';
export { scatterList, type DmaSegment, type ScatterOptions } from './iommu/scatter_list.ts';
export type { DmaFile } from './iommu/source.ts';
export type { DeviceAddress, DeviceSpec } from './core/location.ts';
export type { DeviceFacts, UnreadEntry } from './locate/facts.ts';
export type { CdevLocation, NodeLocation, SysfsDevice } from './core/location.ts';
export { FdChannel, type WaitOptions } from './handover/fd_channel.ts';
export { FdListener, type ListenOptions } from './handover/fd_listener.ts';
export type { FdMessage } from './handover/socket.ts';
export {
  packDevice,
  unpackDevice,
  type DeviceDescription,
  type PackedDevice,
  type UnpackedDevice,
  type UnpackOptions,
} from './handover/pack_device.ts';
export {
  cloudHypervisorArguments,
  qemuArguments,
  type QemuOptions,
  type QemuProperties,
  type VmmArguments,
  type VmmDevices,
  type VmmOptions,
} from './handover/vmm_arguments.ts';
export type { ChannelOptions, PeerCredentials } from './handover/socket.ts';
export { fromShared, type SharedObjects } from './handover/from_shared.ts';
export type { SharedToken, SharedTokens } from './core/shared_token.ts';
export {
  cdiSpec,
  type CdiDevice,
  type CdiDeviceNode,
  type CdiOptions,
  type CdiSpec,
} from './host/cdi.ts';
export { udevRules, type UdevRulesOptions } from './host/udev_rules.ts';
export { diagnose, diagnoseSync, type Diagnosis } from './host/doctor.ts';
export type { Finding, FindingId, FindingStatus } from './host/finding.ts';
export {
  readUsage,
  readUsageSync,
  type DeviceUsage,
  type InterruptUsage,
  type ProcessUsage,
  type Usage,
} from './host/usage.ts';
export { identify, type FdIdentity } from './locate/identify.ts';
export { listDevices, listDevicesSync, type ListedCdev, type ListedDevice } from './locate/list.ts';
export {
  describeSriov,
  describeSriovSync,
  type PhysicalFunction,
  type VirtualFunction,
} from './host/sriov.ts';
export {
  planVfs,
  planVfsSync,
  setVfs,
  setVfsSync,
  type SetVfsOptions,
  type VfsChange,
  type VfsPlan,
  type VfsStep,
} from './host/set_vfs.ts';
export {
  bindDriver,
  bindDriverSync,
  restoreDriver,
  restoreDriverSync,
} from './host/bind_driver.ts';
export type { BindDriverOptions, RestoreDriverOptions } from './host/bind_options.ts';
export type { DriverChange, DriverReport, DriverState, DriverStep } from './host/driver_report.ts';
export type { HostRootOptions } from './host/host_roots.ts';
export type { AffectedDevice, HotResetPlan } from './reset/hot_reset.ts';
export {
  listGroups,
  listGroupsSync,
  type ListedGroup,
  type ListedGroupDevice,
} from './host/groups.ts';
export {
  watchDevices,
  type ChangedNode,
  type ChangesLost,
  type DeviceChange,
  type DeviceEvent,
  type DeviceWatch,
  type WatchDevicesOptions,
} from './host/watch_devices.ts';
export type { UeventAction } from './host/uevent.ts';
export type { HotResetOwnership } from './reset/hot_reset.ts';
export type { GroupLocation } from './core/location.ts';
export type { RootOptions } from './locate/roots.ts';
export type {
  Certainty,
  GroupMember,
  Holder,
  Holding,
  HostNeed,
  HostUse,
  IovaBounds,
  IovaExtent,
  NeededDevice,
  Ownership,
  ReservedOverlap,
  VfioFacts,
  VfioReason,
} from './core/reasons.ts';
export type { Closable } from './core/closable.ts';
export { printable } from './core/printable.ts';
export type { PciRegionName, RegionSpec } from './region/find.ts';
export type { RegionMapOptions } from './region/map.ts';
export type { Block, MappedRegion, PollOptions, PollSyncOptions } from './region/mapped_region.ts';
export type { PreparedAccess, PreparedAccesses } from './region/prepared.ts';
export type { Region } from './region/region.ts';
export type { PciFunction, PciPowerState } from './device/pci_function.ts';
export { decodePciConfig, type PciConfig } from './pci/config.ts';
export type { BarPlace, CapabilityPlace, PciCapability } from './pci/capabilities.ts';
export type { PciExtendedCapability } from './pci/extended.ts';
export type { PciExpressRegisters } from './pci/express.ts';
export type { PciBar, PciHeader, PciRom } from './pci/header.ts';
export * from './pci/register_values.ts';
export type {
  ReadableRegister,
  Register,
  RegisterAccess,
  RegisterArray,
  RegisterMap,
  RegisterFields,
  Registers,
  RegisterSpec,
  RegisterValue,
  UpdatableRegister,
  WritableRegister,
} from './region/registers.ts';

export { countFigures, type FigureCounter, type Figures } from './trace/figures.ts';
export type { Outcome } from './core/operations.ts';
export type { CloseMessage, OpenMessage } from './device/device.ts';
export type { BindMessage } from './host/channels.ts';
export type { InterruptMessage } from './interrupt/interrupt.ts';
export type { MapMessage, UnmapMessage } from './iommu/channels.ts';
export type { ResetMessage } from './reset/channels.ts';

atLoad(tracedIfAsked);
