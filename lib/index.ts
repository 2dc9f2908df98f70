export { openCdev, openCdevSync, type VfioCdev } from './device/cdev.ts';
export { VfioDevice, type OpenDeviceOptions, type OpenDeviceSyncOptions } from './device/device.ts';
export type {
  DeviceCapability,
  DeviceInfo,
  IrqInfo,
  RegionCapability,
  RegionInfo,
  UnknownCapability,
} from './device/decode.ts';
export { describeDevice, findCdev } from './diagnose/lookup.ts';
export type { OpenOptions, OpenSyncOptions } from './device/open_options.ts';
export type { RawCapability } from './device/capabilities.ts';
export { VfioError, type VfioErrorCode } from './errors.ts';
export type { DirtyPages } from './iommu/dirty_pages.ts';
export { DmaBuffer, type DmaBufferOptions } from './iommu/dma_buffer.ts';
export { DmaPool, type DmaBlock, type DmaPoolOptions } from './iommu/dma_pool.ts';
export type { FaultQueue, IoPageFault } from './iommu/fault_queue.ts';
export type { HardwareInfo } from './iommu/hardware_info.ts';
export type { BoundDevice, DirtyRange, Hwpt, HwptOptions } from './iommu/hwpt.ts';
export type { CopyOptions, Ioas, MapOptions } from './iommu/ioas.ts';
export { Iommufd, type RlimitMode } from './iommu/iommufd.ts';
export type { IovaRange } from './iommu/iova.ts';
export { IovaAllocator, type IovaAllocateOptions } from './iommu/iova_allocator.ts';
export type { DmaMapping } from './iommu/mapping.ts';
export { scatterList, type DmaSegment, type ScatterOptions } from './iommu/scatter_list.ts';
export type { DmaFile } from './iommu/source.ts';
export type { DeviceAddress, DeviceSpec } from './locate/address.ts';
export type { DeviceFacts } from './locate/facts.ts';
export type { CdevLocation, SysfsDevice } from './locate/find_cdev.ts';
export { fromShared, type SharedObjects } from './from_shared.ts';
export type { SharedToken, SharedTokens } from './shared_token.ts';
export { identify, type FdIdentity } from './locate/identify.ts';
export { listDevices, listDevicesSync, type ListedCdev, type ListedDevice } from './locate/list.ts';
export type { RootOptions } from './locate/roots.ts';
export type {
  Certainty,
  GroupMember,
  Holder,
  Holding,
  IovaBounds,
  IovaExtent,
  Ownership,
  ReservedOverlap,
  VfioFacts,
  VfioReason,
} from './reasons.ts';
