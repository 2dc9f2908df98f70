export { openCdev, openCdevSync, type VfioCdev } from './device/cdev.ts';
export {
  VfioDevice,
  type BindOptions,
  type OpenDeviceOptions,
  type OpenDeviceSyncOptions,
} from './device/device.ts';
export type {
  DeviceCapability,
  DeviceInfo,
  IrqInfo,
  RegionCapability,
  RegionInfo,
  UnknownCapability,
} from './device/decode.ts';
export { describeDevice, findCdev } from './diagnose/lookup.ts';
export {
  closeDevices,
  openDevices,
  type FleetProgress,
  type OpenDevicesOptions,
} from './device/fleet.ts';
export type { DeviceEvents } from './device/notices.ts';
export type { OpenOptions, OpenSyncOptions } from './device/open_options.ts';
export type { RawCapability } from './device/capabilities.ts';
export type { EnableOptions } from './interrupt/arguments.ts';
export type { Interrupt } from './interrupt/interrupt.ts';
export type { InterruptVector } from './interrupt/vector.ts';
export type { Display, Plane, PlaneSource } from './feature/display.ts';
export type { DirtyPages, DmaLogging, IovaRange } from './feature/dma_logging.ts';
export type { Dmabuf } from './feature/dmabuf.ts';
export type { FeatureInfo, FeatureOperation, Features } from './feature/features.ts';
export type { IoeventfdOptions } from './feature/ioeventfd.ts';
export type { LowPower } from './feature/low_power.ts';
export type { Migration, MigrationState, MigrationSupport } from './feature/migration.ts';
export type { MigrationSink, MigrationSource, PrecopyInfo } from './feature/migration_data.ts';
export type { FeatureName } from './feature/names.ts';
export { VfioError, type VfioErrorCode } from './errors.ts';
export type { Ioas } from './iommu/ioas.ts';
export { Iommufd } from './iommu/iommufd.ts';
export type { DeviceAddress, DeviceSpec } from './locate/address.ts';
export type { DeviceFacts } from './locate/facts.ts';
export type { CdevLocation, SysfsDevice } from './locate/find_cdev.ts';
export { identify, type FdIdentity } from './locate/identify.ts';
export { listDevices, listDevicesSync, type ListedCdev, type ListedDevice } from './locate/list.ts';
export type { AffectedDevice, HotResetPlan } from './reset/hot_reset.ts';
export type { HotResetOwnership } from './reset/hot_reset_info.ts';
export type { RootOptions } from './locate/roots.ts';
export type {
  Certainty,
  GroupMember,
  Holder,
  Holding,
  Ownership,
  VfioFacts,
  VfioReason,
} from './reasons.ts';
export type { PciRegionName, RegionSpec } from './region/find.ts';
export type { MapOptions } from './region/map.ts';
export type { Block, MappedRegion, PollOptions, PollSyncOptions } from './region/mapped_region.ts';
export type { Region } from './region/region.ts';
export type { PciFunction, PciPowerState } from './device/pci_function.ts';
export { decodePciConfig, type PciConfig } from './pci/config.ts';
export type { BarPlace, CapabilityPlace, PciCapability } from './pci/capabilities.ts';
export type { PciExtendedCapability } from './pci/extended.ts';
export type { PciBar, PciCommand, PciHeader, PciRom, PciStatus } from './pci/header.ts';
export type {
  ReadableRegister,
  Register,
  RegisterAccess,
  RegisterMap,
  Registers,
  RegisterSpec,
  UpdatableRegister,
  WritableRegister,
} from './region/registers.ts';
