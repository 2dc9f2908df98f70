import { binding, type NativeFd } from '../core/binding.ts';
import { Closable } from '../core/closable.ts';
import { FileDescriptor } from '../core/file_descriptor.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { closingAll, run, runSync } from '../core/steps.ts';

/** A message that was received: its bytes, and the descriptors that came with it. */
export class FdMessage extends Closable {
  /** Never empty. */
  readonly data: Uint8Array;
  /** In the order of the sender. Nothing is known of them but that they are open: see `identify`. */
  readonly fds: readonly FileDescriptor[];

  static {
    defineInspect(this, 'FdMessage', ({ data, fds }) => ({ bytes: data.length, fds: fds.length }));
  }

  private constructor(data: Uint8Array, fds: readonly FileDescriptor[]) {
    super();
    this.data = data;
    this.fds = fds;
  }

  /** @internal */
  static of(data: Uint8Array, fds: readonly NativeFd[], from: string): FdMessage {
    const adopt = (fd: NativeFd): FileDescriptor =>
      FileDescriptor.adopt(fd, 'a received descriptor', from);
    return new FdMessage(data, fds.map(adopt));
  }

  /** Closes the descriptors that nobody took over. Closing twice is harmless. */
  close(): Promise<void> {
    return run(closingAll(this.fds));
  }

  /** As {@link close}, blocking. A stranger's descriptor may block as long as it likes. */
  closeSync(): void {
    runSync(closingAll(this.fds));
  }
}

/** Closes what came with a message that nobody gets. */
export function discard(fds: readonly NativeFd[]): void {
  // What a stranger's file says to its closing is nobody's business, and may take as long as it likes.
  for (const fd of fds) void binding().close(fd);
}
