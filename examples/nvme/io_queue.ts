import type { CommandQueue } from './command_queue.ts';
import { io } from './commands.ts';
import type { NamespaceInfo } from './identify.ts';
import { maxBytes, type PrpTable } from './prp.ts';

/** Memory for a transfer: where the program sees it, and where the device does. */
export interface DataArea {
  bytes: Uint8Array;
  iova: bigint;
}

/** Reads, writes and flushes of one queue pair, a command each. */
export class IoQueue {
  readonly commands: CommandQueue;
  readonly prps: PrpTable;

  constructor(commands: CommandQueue, prps: PrpTable) {
    this.commands = commands;
    this.prps = prps;
  }

  get id(): number {
    return this.commands.pair.id;
  }

  /** Reads as many blocks as `data` has room for, from `block` on. */
  async read(namespace: NamespaceInfo, block: number, data: DataArea): Promise<void> {
    await this.#transfer('read', namespace, block, data);
  }

  async write(namespace: NamespaceInfo, block: number, data: DataArea): Promise<void> {
    await this.#transfer('write', namespace, block, data);
  }

  /** Everything that was written, to where it stays without power (base specification, 7.1). */
  async flush(namespace: NamespaceInfo): Promise<void> {
    await this.commands.run('flush', () => ({ opcode: io.flush, namespace: namespace.id }));
  }

  async #transfer(
    kind: 'read' | 'write',
    namespace: NamespaceInfo,
    block: number,
    { bytes, iova }: DataArea,
  ): Promise<void> {
    const blocks = bytes.length / namespace.blockSize;
    if (!Number.isInteger(blocks) || blocks < 1 || bytes.length > maxBytes) {
      throw new RangeError(
        `${bytes.length} bytes are no blocks of ${namespace.blockSize}, or too many`,
      );
    }
    await this.commands.run(`${kind} of ${blocks} blocks at ${block}`, (id) => {
      this.prps.set(id, iova, bytes.length);
      return {
        opcode: io[kind],
        namespace: namespace.id,
        ...this.prps.get(id),
        cdw10: block >>> 0,
        cdw11: Math.floor(block / 0x1_0000_0000),
        cdw12: blocks - 1,
      };
    });
  }
}
