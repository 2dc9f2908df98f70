import { type AddressSpace, DmaBuffer } from 'vfio';
import { PrpTable } from './prp.ts';
import { ringLayout } from './queue.ts';

/**
 * The memory of a queue pair: submissions, completions, and a page for the PRP list of each command.
 * One buffer, so that one token shares all of it with a worker.
 */
export class QueueMemory {
  readonly buffer: DmaBuffer;
  /** Where the device sees it. */
  readonly iova: bigint;
  readonly entries: number;
  readonly prps: PrpTable;

  constructor(buffer: DmaBuffer, iova: bigint, entries: number) {
    this.buffer = buffer;
    this.iova = iova;
    this.entries = entries;
    this.prps = new PrpTable(buffer.buffer, ringLayout(entries).bytes, iova, entries);
  }

  /** @throws VfioError what allocating and mapping throw */
  static async allocate(space: AddressSpace, entries: number): Promise<QueueMemory> {
    const bytes = ringLayout(entries).bytes + PrpTable.bytes(entries);
    const buffer = await DmaBuffer.allocate(bytes);
    const { iova } = await space.map(buffer);
    return new QueueMemory(buffer, iova, entries);
  }

  get submissions(): bigint {
    return this.iova;
  }

  get completions(): bigint {
    return this.iova + BigInt(ringLayout(this.entries).completionsAt);
  }
}
