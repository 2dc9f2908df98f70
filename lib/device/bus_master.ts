import { invalidType } from '../arguments.ts';
import { closeAndThrow, closeSyncAndThrow } from '../undo.ts';
import type { PciFunction } from './pci_function.ts';

/** What to do with bus mastering once the device is open. */
export interface BusMasterOption {
  /**
   * Switch bus mastering on: the device may make DMA and send MSI at once. A PCI device has it off
   * after it was opened, and then does neither, without a word.
   */
  busMaster?: boolean | undefined;
}

/** What is needed of an open device. */
interface Opened {
  readonly pci: PciFunction;
  close(): Promise<void>;
  closeSync(): void;
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` */
export function checkBusMaster({ busMaster }: { busMaster?: unknown }): void {
  if (busMaster === undefined || typeof busMaster === 'boolean') return;
  throw invalidType('busMaster', 'a boolean', busMaster);
}

/** Does to a device that was just opened what the option says; closes it where that fails. */
export async function applyBusMaster<Device extends Opened>(
  device: Device,
  { busMaster }: BusMasterOption,
): Promise<Device> {
  try {
    if (busMaster !== undefined) device.pci.setBusMaster(busMaster);
    return device;
  } catch (error) {
    return await closeAndThrow(error, () => device.close());
  }
}

/** As {@link applyBusMaster}, blocking. */
export function applyBusMasterSync<Device extends Opened>(
  device: Device,
  { busMaster }: BusMasterOption,
): Device {
  try {
    if (busMaster !== undefined) device.pci.setBusMaster(busMaster);
    return device;
  } catch (error) {
    return closeSyncAndThrow(error, () => {
      device.closeSync();
    });
  }
}
