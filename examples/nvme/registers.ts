import type { MappedRegion, Registers } from 'vfio';

/** Of CSTS. */
const ready = 0x01;
export const fatal = 0x02;

/**
 * The controller's properties, at the start of BAR 0 (NVM Express Base Specification 2.0, section
 * 3.1.3). Those of 64 bits go by halves: no controller has to take another width than 32 bits.
 */
const map = {
  capabilities: {
    offset: 0x00,
    width: 64,
    split: true,
    access: 'r',
    fields: {
      /** How many entries an I/O queue may have, less one. */
      maxQueueEntries: 0xffff,
      /** How long CSTS.RDY may take to follow CC.EN, in units of 500 ms. */
      timeout: 0xff00_0000,
      /** Doorbells are 4 << this bytes apart. */
      doorbellStride: 0xf_0000_0000,
      /** The smallest page is 4096 << this bytes. */
      minPageSize: 0xf_0000_0000_0000,
    },
  },
  version: { offset: 0x08, access: 'r' },
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
  adminSubmissions: { offset: 0x28, width: 64, split: true },
  adminCompletions: { offset: 0x30, width: 64, split: true },
} as const;

export type ControllerRegisters = Registers<typeof map>;

export function controllerRegisters(bar: MappedRegion): ControllerRegisters {
  return bar.registers(map);
}

/** CSTS where nothing answers any more: a bus reads as ones where no device is. */
export const gone = 0xffff_ffff;

/** Why commands cannot end, where CSTS tells of it (base specification, section 3.1.3.6). */
export function statusProblem(
  registers: ControllerRegisters,
): { code: 'removed' | 'reset'; text: string } | undefined {
  const value = readStatus(registers);
  if (value === gone) return { code: 'removed', text: 'the device does not answer' };
  if ((value & fatal) > 0) return { code: 'reset', text: 'the controller has failed (CSTS.CFS)' };
  if ((value & ready) > 0) return undefined;
  return { code: 'reset', text: 'the controller is off (CSTS.RDY): it was reset' };
}

/** CSTS; all ones also where reading it fails: EIO is no answer, and what is closed is not ours. */
export function readStatus(registers: ControllerRegisters): number {
  try {
    return registers.status.read();
  } catch {
    return gone;
  }
}

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
