import { Transform, type TransformCallback } from 'node:stream';

/**
 * Passes a stream on up to a mark, which says that the guest has written everything. A VM that
 * stops looks like the end of the stream too, so the end alone would hide lost bytes. Bytes are
 * held back only as long as they may be the beginning of the mark.
 */
export class EndMark extends Transform {
  readonly #mark: Buffer;
  #held: Buffer = Buffer.alloc(0);
  #complete = false;

  constructor(mark: Buffer) {
    super();
    this.#mark = mark;
  }

  /** Whether the mark has been seen. */
  get complete(): boolean {
    return this.#complete;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (this.#complete) {
      done();
      return;
    }
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const at = bytes.indexOf(this.#mark);
    const end = at >= 0 ? at : bytes.length - heldBack(bytes, this.#mark);
    this.#held = bytes.subarray(end);
    if (end > 0) this.push(bytes.subarray(0, end));
    if (at >= 0) {
      this.#complete = true;
      this.push(null);
    }
    done();
  }

  override _flush(done: TransformCallback): void {
    // The stream broke off: what looked like the mark's beginning was data.
    if (!this.#complete) this.push(this.#held);
    done();
  }
}

/** The length of the longest end of `bytes` that is a beginning of `mark`. */
function heldBack(bytes: Buffer, mark: Buffer): number {
  for (let length = Math.min(mark.length - 1, bytes.length); length > 0; length--) {
    if (bytes.subarray(-length).equals(mark.subarray(0, length))) return length;
  }
  return 0;
}
