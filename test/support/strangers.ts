import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { DmaBuffer } from '../../lib/index.ts';
import { reached } from './reach.ts';

const secret = 0x5e;

/** Memory is given back in a later turn than the one in which its ArrayBuffer was detached. */
export async function memoryToGo(): Promise<void> {
  for (let at = 0; at < 20; at++) await turn();
}

/** Memory of others, wherever there is room for it: also where there was some of ours. */
export class Strangers implements AsyncDisposable {
  readonly #buffers: DmaBuffer[] = [];

  /** In place of what has gone by now. */
  static async settle(): Promise<Strangers> {
    await memoryToGo();
    const strangers = new Strangers();
    for (let at = 0; at < 64; at++) {
      const buffer = await DmaBuffer.allocate(reached.size);
      new Uint8Array(buffer.buffer).fill(secret);
      strangers.#buffers.push(buffer);
    }
    return strangers;
  }

  /** Nothing was written to them. */
  check(): void {
    const whole = Buffer.alloc(reached.size, secret);
    for (const { buffer } of this.#buffers) {
      assert.ok(
        whole.equals(new Uint8Array(buffer)),
        'a device wrote to memory that was never mapped for it',
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const buffer of this.#buffers) await buffer.dispose();
  }
}
