import { VfioError } from '../core/errors.ts';
import type { Interrupts } from '../interrupt/interrupts.ts';
import { notice } from '../region/notices.ts';

/** What a device tells of itself. */
export interface DeviceEvents {
  /** Somebody wants the device back; told again every ten seconds until it is closed. */
  request: [count: number];
  /** The device reported an uncorrectable error, or could not be closed when that was asked for. */
  error: [error: Error];
  /** The device is closed. */
  close: [];
}

/** Who hears the notices. */
export interface Notified {
  requested(count: number): void;
  failed(error: Error): void;
}

/**
 * Arms the request interrupt and the error interrupt, where the device has them. The callbacks hold
 * the device weakly: one that is dropped is still closed by its finalizer.
 */
export function armNotices(interrupts: Interrupts, device: Notified): void {
  const reference = new WeakRef(device);
  const { address } = interrupts;
  interrupts.arm('req', notice.request, (count) => reference.deref()?.requested(count));
  interrupts.arm('err', notice.error, () => reference.deref()?.failed(deviceError(address)));
}

function deviceError(address: string): VfioError {
  return new VfioError({
    code: 'ERR_VFIO_DEVICE_ERROR',
    message: `${address} reported an uncorrectable error: reset it or close it`,
    device: address,
  });
}
