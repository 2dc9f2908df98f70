import type { MappedRegion, Registers } from 'vfio';

/**
 * The controller's properties, at the start of BAR 0 (NVM Express Base Specification 2.0, section
 * 3.1.3). CAP has 64 bits and is named by its halves: a field of a register map has 32 at most.
 */
const map = {
  capLow: {
    offset: 0x00,
    access: 'r',
    fields: {
      /** How many entries an I/O queue may have, less one. */
      maxQueueEntries: 0x0000_ffff,
      /** How long CSTS.RDY may take to follow CC.EN, in units of 500 ms. */
      timeout: 0xff00_0000,
    },
  },
  capHigh: {
    offset: 0x04,
    access: 'r',
    fields: {
      /** Doorbells are 4 << this bytes apart. */
      doorbellStride: 0x0000_000f,
      /** The smallest page is 4096 << this bytes. */
      minPageSize: 0x000f_0000,
    },
  },
  version: { offset: 0x08, access: 'r' },
  /** Interrupts that are masked and unmasked, of pin-based and MSI ones only. */
  configuration: {
    offset: 0x14,
    fields: {
      enable: 0x0000_0001,
      commandSet: 0x0000_0070,
      pageSize: 0x0000_0780,
      shutdown: 0x0000_c000,
      submissionEntrySize: 0x000f_0000,
      completionEntrySize: 0x00f0_0000,
    },
  },
  status: {
    offset: 0x1c,
    access: 'r',
    fields: { ready: 0x01, fatal: 0x02, shutdown: 0x0c },
  },
  adminQueueSizes: {
    offset: 0x24,
    fields: { submission: 0x0000_0fff, completion: 0x0fff_0000 },
  },
  // Written by halves: the specification lets a controller take no other width than 32 bits.
  adminSubmissionLow: { offset: 0x28 },
  adminSubmissionHigh: { offset: 0x2c },
  adminCompletionLow: { offset: 0x30 },
  adminCompletionHigh: { offset: 0x34 },
} as const;

export type ControllerRegisters = Registers<typeof map>;

export function controllerRegisters(bar: MappedRegion): ControllerRegisters {
  return bar.registers(map);
}

/** CSTS where nothing answers any more: a bus reads as ones where no device is. */
export const gone = 0xffff_ffff;

/**
 * The two doorbells of a queue pair (NVMe over PCIe Transport Specification 1.0, section 3.1.2):
 * where the submission queue's tail is told, and where the completion queue's head is.
 */
export function doorbellOffsets(
  queue: number,
  stride: number,
): { submission: number; completion: number } {
  const apart = 4 << stride;
  const submission = 0x1000 + 2 * queue * apart;
  return { submission, completion: submission + apart };
}
