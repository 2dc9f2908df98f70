import { tracingChannel } from 'node:diagnostics_channel';
import type { OperationChannel, Outcome } from '../core/operations.ts';

/** A reset of a device, as the tracing channel `vfio:reset` tells it. */
export interface ResetMessage extends Outcome<unknown> {
  /** The device's address. */
  device: string;
  /** Of its whole bus or slot. */
  hot: boolean;
}

export const resets: OperationChannel<ResetMessage> = tracingChannel('vfio:reset');
