/**
 * Commands: what the 64 bytes of a submission queue entry say (NVM Express Base Specification 2.0,
 * section 3.3.3.1), as 16 words of 32 bits.
 */

/** Opcodes of the admin queue (base specification, section 5). */
export const admin = {
  deleteSubmissionQueue: 0x00,
  createSubmissionQueue: 0x01,
  getLogPage: 0x02,
  deleteCompletionQueue: 0x04,
  createCompletionQueue: 0x05,
  identify: 0x06,
  abort: 0x08,
  setFeatures: 0x09,
  getFeatures: 0x0a,
  asyncEventRequest: 0x0c,
} as const;

/** Opcodes of I/O queues (NVM Command Set Specification 1.0, section 3; Flush is in the base). */
export const io = { flush: 0x00, write: 0x01, read: 0x02 } as const;

/** Features of Set and Get Features (base specification, section 5.27.1). */
export const feature = {
  temperatureThreshold: 0x04,
  numberOfQueues: 0x07,
  asyncEvents: 0x0b,
} as const;

/** A command without its identifier, which the queue gives it. What is left out is 0. */
export interface Command {
  opcode: number;
  namespace?: number;
  /** Where its data is: see prp.ts. */
  prp1?: bigint;
  prp2?: bigint;
  cdw10?: number;
  cdw11?: number;
  cdw12?: number;
}

/** Where in an entry each of these is, in words. */
export const word = { head: 0, namespace: 1, prp1: 6, prp2: 8, cdw10: 10 } as const;

/** What makes the high word of a number: a power of two, so exact, and faster than a division. */
const highWord = 2 ** -32;

/** Words of an entry. */
export const commandWords = 16;

/** Writes a command into the entry that starts at the word `at`: all of it, so nothing old stays. */
export function encode(entries: Uint32Array, at: number, id: number, command: Command): void {
  const { opcode, namespace = 0, prp1 = 0n, prp2 = 0n } = command;
  entries.fill(0, at, at + commandWords);
  entries[at + word.head] = opcode | (id << 16);
  entries[at + word.namespace] = namespace;
  entries[at + word.prp1] = low(prp1);
  entries[at + word.prp1 + 1] = high(prp1);
  entries[at + word.prp2] = low(prp2);
  entries[at + word.prp2 + 1] = high(prp2);
  entries[at + word.cdw10] = command.cdw10 ?? 0;
  entries[at + word.cdw10 + 1] = command.cdw11 ?? 0;
  entries[at + word.cdw10 + 2] = command.cdw12 ?? 0;
}

/**
 * Writes a read or a write for {@link QueuePair.next}, and nothing that is the same in each of them:
 * the words that are left out are 0 in a queue which only had such commands. This makes no object
 * and no bigint, which is what a million commands a second can afford. `prps` has the four words of
 * both PRPs at `prpAt`.
 */
export function encodeTransfer(
  entries: Uint32Array,
  at: number,
  id: number,
  opcode: number,
  namespace: number,
  block: number,
  blocks: number,
  prps: Uint32Array,
  prpAt: number,
): void {
  entries[at] = opcode | (id << 16);
  entries[at + 1] = namespace;
  entries[at + 6] = prps[prpAt] ?? 0;
  entries[at + 7] = prps[prpAt + 1] ?? 0;
  entries[at + 8] = prps[prpAt + 2] ?? 0;
  entries[at + 9] = prps[prpAt + 3] ?? 0;
  // A number's low 32 bits, and what is above them: blocks are counted in up to 53 bits here. That
  // takes floating point, which most blocks can do without.
  entries[at + 10] = block;
  entries[at + 11] = block < 0x8000_0000 ? 0 : block * highWord;
  entries[at + 12] = blocks - 1;
}

/** Identify (base specification, section 5.17): 4,096 bytes about the controller or a namespace. */
export function identify(structure: number, namespace: number, data: bigint): Command {
  return { opcode: admin.identify, namespace, prp1: data, cdw10: structure };
}

/** Which structure Identify answers (CNS). */
export const identifyStructure = { namespace: 0, controller: 1, activeNamespaces: 2 } as const;

/** Create I/O Completion Queue (5.4). Without a vector it raises no interrupts: it is polled. */
export function createCompletionQueue(
  id: number,
  entries: number,
  at: bigint,
  vector: number | undefined,
): Command {
  const interrupt = vector === undefined ? 0 : (vector << 16) | 0b10;
  const contiguous = 1;
  return {
    opcode: admin.createCompletionQueue,
    prp1: at,
    cdw10: queueWord(id, entries),
    cdw11: (interrupt | contiguous) >>> 0,
  };
}

/** Create I/O Submission Queue (5.5), whose completions go to the queue of the same number. */
export function createSubmissionQueue(id: number, entries: number, at: bigint): Command {
  const contiguous = 1;
  return {
    opcode: admin.createSubmissionQueue,
    prp1: at,
    cdw10: queueWord(id, entries),
    cdw11: ((id << 16) | contiguous) >>> 0,
  };
}

/** Delete I/O Submission Queue and Delete I/O Completion Queue (5.6, 5.7), in this order. */
export function deleteQueues(id: number): [submission: Command, completion: Command] {
  return [
    { opcode: admin.deleteSubmissionQueue, cdw10: id },
    { opcode: admin.deleteCompletionQueue, cdw10: id },
  ];
}

/** Abort (5.1): a wish. The answer's bit 0 says that the command was not aborted. */
export function abort(queue: number, id: number): Command {
  return { opcode: admin.abort, cdw10: ((id << 16) | queue) >>> 0 };
}

/** Set Features (5.27). */
export function setFeature(which: number, value: number): Command {
  return { opcode: admin.setFeatures, cdw10: which, cdw11: value };
}

/** Get Log Page (5.16), its first `bytes`; reading the page of an event lets the next one come. */
export function getLogPage(page: number, data: bigint, bytes: number): Command {
  const words = bytes / 4 - 1;
  return {
    opcode: admin.getLogPage,
    namespace: 0xffff_ffff,
    prp1: data,
    cdw10: ((words << 16) | page) >>> 0,
  };
}

/** The low half of an address. */
export function low(address: bigint): number {
  return Number(address & 0xffff_ffffn);
}

/** The high half of an address. */
export function high(address: bigint): number {
  return Number(address >> 32n);
}

function queueWord(id: number, entries: number): number {
  return (((entries - 1) << 16) | id) >>> 0;
}
