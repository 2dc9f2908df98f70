/** A feature of VFIO_DEVICE_FEATURE, as linux/vfio.h numbers and names it. */
export interface FeatureName {
  index: number;
  /** The kernel's name without `VFIO_DEVICE_FEATURE_`, in lower case: `mig-data-size`. */
  name: string;
  /** The first kernel that has it, in drivers that can do it. */
  since: string;
}

/** Every feature of linux/vfio.h up to Linux 7.3, by index. */
export const featureNames: readonly FeatureName[] = [
  ['pci-vf-token', '5.7'],
  ['migration', '5.18'],
  ['mig-device-state', '5.18'],
  ['low-power-entry', '6.1'],
  ['low-power-entry-with-wakeup', '6.1'],
  ['low-power-exit', '6.1'],
  ['dma-logging-start', '6.1'],
  ['dma-logging-stop', '6.1'],
  ['dma-logging-report', '6.1'],
  ['mig-data-size', '6.2'],
  ['bus-master', '6.7'],
  ['dma-buf', '6.19'],
  ['mig-precopy-info-v2', '7.1'],
  ['zpci-error', '7.3'],
].map(([name = '', since = ''], index) => ({ index, name, since }));

/** Indexes of VFIO_DEVICE_FEATURE_*. */
export const feature = {
  vfToken: 0,
  migration: 1,
  migrationState: 2,
  lowPowerEntry: 3,
  lowPowerEntryWithWakeup: 4,
  lowPowerExit: 5,
  dmaLoggingStart: 6,
  dmaLoggingStop: 7,
  dmaLoggingReport: 8,
  migrationDataSize: 9,
  busMaster: 10,
  dmaBuf: 11,
  precopyInfoV2: 12,
  zpciError: 13,
} as const;
