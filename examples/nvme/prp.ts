import { high, low } from './commands.ts';

/**
 * Where a command's data is (base specification 2.0, section 4.1.1): PRP 1 is where it begins; PRP 2
 * is its second page, or, where it touches more than two, a list of all pages but the first.
 */
export const pageSize = 4096;
const entryBytes = 8;
const listEntries = pageSize / entryBytes;

/** What a transfer may touch with a list of one page: longer ones would chain lists. */
export const maxBytes: number = listEntries * pageSize;

/**
 * The PRPs of each command of a queue: its four words, and a page for its list. A command has one
 * transfer at a time, so the page of its identifier is its own until it is completed.
 */
export class PrpTable {
  /** The four words of the command `id` are at `id * 4`: see encodeTransfer. */
  readonly words: Uint32Array;
  readonly #lists: Uint32Array;
  readonly #iova: bigint;

  /** @param offset - where in `memory`, which devices see at `iova`, the lists are: a page each */
  constructor(memory: ArrayBuffer, offset: number, iova: bigint, commands: number) {
    this.words = new Uint32Array(commands * 4);
    this.#lists = new Uint32Array(memory, offset, (commands * pageSize) / 4);
    this.#iova = iova + BigInt(offset);
  }

  /** Bytes that the lists of so many commands take. */
  static bytes(commands: number): number {
    return commands * pageSize;
  }

  /**
   * Sets where the data of a command is. A program whose commands always use the same memory does
   * this once for each of them.
   *
   * @param iova - a multiple of 4
   */
  set(id: number, iova: bigint, bytes: number): void {
    const start = Number(iova % BigInt(pageSize));
    const pages = Math.ceil((start + bytes) / pageSize);
    if (pages - 1 > listEntries) throw new RangeError(`a transfer of ${bytes} bytes is too long`);
    const second = iova - BigInt(start) + BigInt(pageSize);
    this.#write(id * 4, iova);
    if (pages === 1) this.#write(id * 4 + 2, 0n);
    else if (pages === 2) this.#write(id * 4 + 2, second);
    else this.#write(id * 4 + 2, this.#list(id, second, pages - 1));
  }

  /** Both PRPs of a command. */
  get(id: number): { prp1: bigint; prp2: bigint } {
    const word = (at: number): bigint => BigInt(this.words[id * 4 + at] ?? 0);
    return { prp1: (word(1) << 32n) | word(0), prp2: (word(3) << 32n) | word(2) };
  }

  /** One mapping is contiguous for the device: its pages follow one another, whatever memory is. */
  #list(id: number, first: bigint, pages: number): bigint {
    const at = (id * pageSize) / 4;
    for (let each = 0; each < pages; each++) {
      const address = first + BigInt(each * pageSize);
      this.#lists[at + each * 2] = low(address);
      this.#lists[at + each * 2 + 1] = high(address);
    }
    return this.#iova + BigInt(id * pageSize);
  }

  #write(at: number, address: bigint): void {
    this.words[at] = low(address);
    this.words[at + 1] = high(address);
  }
}
