import { littleEndian } from '../core/structs.ts';

/** A view of a caller's words, as the kernel fills them: in the machine's own byte order. */
export class StructWriter {
  readonly #view: DataView;
  readonly #start: number;

  constructor({ buffer, byteOffset, byteLength }: Uint32Array, start = 0) {
    this.#view = new DataView(buffer, byteOffset, byteLength);
    this.#start = start;
  }

  u16(at: number, value: number): this {
    this.#view.setUint16(this.#start + at, value, littleEndian);
    return this;
  }

  u32(at: number, value: number): this {
    this.#view.setUint32(this.#start + at, value, littleEndian);
    return this;
  }

  u64(at: number, value: bigint): this {
    this.#view.setBigUint64(this.#start + at, value, littleEndian);
    return this;
  }
}
