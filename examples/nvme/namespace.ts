import type { NamespaceInfo } from './identify.ts';
import type { DataArea, IoQueue } from './io_queue.ts';
import { maxBytes, pageSize } from './prp.ts';

/** A namespace through one queue: transfers of any length, cut into what one command may move. */
export class Namespace {
  readonly info: NamespaceInfo;
  readonly #queue: IoQueue;
  readonly #step: number;

  constructor(info: NamespaceInfo, queue: IoQueue, maxTransfer: number) {
    this.info = info;
    this.#queue = queue;
    // Less a page: memory that begins within a page touches one more.
    this.#step = Math.min(maxTransfer, maxBytes) - pageSize;
  }

  /** Fills `data` with blocks from `block` on. */
  async read(block: number, data: DataArea): Promise<void> {
    await this.#each(block, data, (at, part) => this.#queue.read(this.info, at, part));
  }

  /** Writes `data` to the blocks from `block` on. */
  async write(block: number, data: DataArea): Promise<void> {
    await this.#each(block, data, (at, part) => this.#queue.write(this.info, at, part));
  }

  async flush(): Promise<void> {
    await this.#queue.flush(this.info);
  }

  /**
   * All parts at once; they may be done in any order. Waits for each of them, also where one fails:
   * until then the memory is the device's.
   */
  async #each(
    block: number,
    { bytes, iova }: DataArea,
    run: (block: number, part: DataArea) => Promise<void>,
  ): Promise<void> {
    const { blockSize } = this.info;
    const parts: Promise<void>[] = [];
    for (let at = 0; at < bytes.length; at += this.#step) {
      const part = { bytes: bytes.subarray(at, at + this.#step), iova: iova + BigInt(at) };
      parts.push(run(block + at / blockSize, part));
    }
    const results = await Promise.allSettled(parts);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }
}
