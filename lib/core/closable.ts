import { makeUncloneable } from './uncloneable.ts';

/**
 * What is closed once, in the one form or the other, also at the end of a block: `using`,
 * `await using`.
 */
export abstract class Closable {
  /** @internal */
  constructor() {
    makeUncloneable(this);
  }

  /**
   * Closes it; where it is closed already, nothing happens.
   *
   * @throws VfioError what the kernel answers
   */
  abstract close(): Promise<void>;

  /** The blocking form of {@link close}. */
  abstract closeSync(): void;

  /** At the end of a block with `using`: {@link closeSync}. */
  [Symbol.dispose](): void {
    this.closeSync();
  }

  /** At the end of a block with `await using`: {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
