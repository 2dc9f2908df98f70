import { tracingChannel } from 'node:diagnostics_channel';
import type { DeviceSpec } from '../core/location.ts';
import type { OperationChannel, Outcome } from '../core/operations.ts';
import type { DriverReport } from './driver_report.ts';

/** Devices that are given to a driver, as the tracing channel `vfio:bind` tells it. */
export interface BindMessage extends Outcome<DriverReport> {
  /** As `bindDriver` or `restoreDriver` was given them. */
  devices: DeviceSpec | readonly DeviceSpec[];
  /** They are given back to the drivers that they had. */
  restore: boolean;
}

export const binds: OperationChannel<BindMessage> = tracingChannel('vfio:bind');
