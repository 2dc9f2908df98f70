import { counted } from '../core/counted.ts';
import type { ConfigSpace } from './config_space.ts';
import { command } from './config_space.ts';
import { type IoSpace, mapFlags } from './io_space.ts';

/** Why a transfer did not reach memory. */
export type DmaFaultReason =
  /** Bus mastering is off in the Command register, or the device sleeps. */
  | 'bus-master-off'
  /** No address space is attached. */
  | 'not-attached'
  /** A part of it is mapped nowhere. */
  | 'not-mapped'
  /** It is mapped, and not for reading, or not for writing. */
  | 'not-allowed'
  /** The device is unplugged. */
  | 'unplugged';

/** What an IOMMU reports of a transfer that it refused. */
export class DmaFault extends Error {
  /** Why it was refused. */
  readonly reason: DmaFaultReason;
  /** Whether the device wanted to write. */
  readonly write: boolean;
  /** Where the transfer began. */
  readonly iova: bigint;
  /** Bytes. */
  readonly length: number;

  /** @internal */
  constructor(reason: DmaFaultReason, write: boolean, iova: bigint, length: number) {
    const what = write ? 'write' : 'read';
    super(
      `the DMA ${what} of ${counted(length, 'byte')} at 0x${iova.toString(16)} was refused: ${reason}`,
    );
    this.name = 'DmaFault';
    this.reason = reason;
    this.write = write;
    this.iova = iova;
    this.length = length;
  }
}

/** What of a device decides where its DMA goes. */
export interface DmaOwner {
  readonly config: ConfigSpace;
  readonly space: IoSpace | undefined;
  readonly isPlugged: boolean;
  readonly dmaFaults: DmaFault[];
  readonly dirty: ((iova: bigint, length: bigint) => void) | undefined;
}

/** Reads memory through the address space that is attached. @throws DmaFault */
export function readDma(owner: DmaOwner, iova: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (const part of partsOf(owner, false, iova, length)) {
    part.mapped.pages.read(part.offset, bytes.subarray(part.at, part.at + part.length));
  }
  return bytes;
}

/** Writes memory, all of it or nothing. @throws DmaFault */
export function writeDma(owner: DmaOwner, iova: bigint, bytes: Uint8Array): void {
  for (const part of partsOf(owner, true, iova, bytes.length)) {
    part.mapped.pages.write(part.offset, bytes.subarray(part.at, part.at + part.length));
  }
  owner.dirty?.(iova, BigInt(bytes.length));
}

/** A part of a transfer that is in one map. */
interface Part {
  mapped: NonNullable<ReturnType<IoSpace['find']>>[number];
  /** Where in the transfer. */
  at: number;
  /** Where in the map. */
  offset: number;
  length: number;
}

function partsOf(owner: DmaOwner, write: boolean, iova: bigint, length: number): Part[] {
  const refuse = (reason: DmaFaultReason): DmaFault => {
    const fault = new DmaFault(reason, write, iova, length);
    owner.dmaFaults.push(fault);
    return fault;
  };
  if (!owner.isPlugged) throw refuse('unplugged');
  const { config, space } = owner;
  const isMaster = (config.command & command.busMaster) !== 0 && config.powerState === 0;
  if (!isMaster) throw refuse('bus-master-off');
  if (space === undefined) throw refuse('not-attached');
  const found = space.find(iova, BigInt(length));
  if (found === undefined) throw refuse('not-mapped');
  const needed = write ? mapFlags.writeable : mapFlags.readable;
  if (found.some(({ flags }) => (flags & needed) === 0)) throw refuse('not-allowed');
  return found.map((mapped) => {
    const start = mapped.iova > iova ? mapped.iova : iova;
    const mapEnd = mapped.iova + mapped.length;
    const end = iova + BigInt(length);
    const last = mapEnd < end ? mapEnd : end;
    const offset = Number(start - mapped.iova);
    return { mapped, at: Number(start - iova), offset, length: Number(last - start) };
  });
}
