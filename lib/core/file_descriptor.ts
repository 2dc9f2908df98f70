import { invalidType, checkFdNumber } from './arguments.ts';
import type { NativeFd } from './binding.ts';
import type { CallerPlace } from './caller.ts';
import { Closable } from './closable.ts';
import { defineInspect } from './inspect_handle.ts';
import { OwnedFd } from './owned_fd.ts';
import { closing, runSync, undoAndThrow } from './steps.ts';

/**
 * A descriptor and its owner: a duplicate that `dup()` made, or one that came in a message. What it
 * refers to stays open as long as it does: a bound device stays bound, and nobody else can have it.
 * Programs that are started do not inherit it, unless it is named in their `stdio`.
 */
export class FileDescriptor extends Closable {
  readonly #fd: OwnedFd;

  static {
    defineInspect(this, 'FileDescriptor', (descriptor) => {
      const { path, closed } = descriptor.#fd;
      return { path, state: closed ? 'closed' : 'open' };
    });
  }

  private constructor(fd: OwnedFd) {
    super();
    this.#fd = fd;
  }

  /** Becomes the owner of one that the addon has. @internal */
  static adopt(fd: NativeFd, what: string, path: string): FileDescriptor {
    return new FileDescriptor(OwnedFd.adopt(fd, what, path));
  }

  /** Another one for the same open file. @internal */
  static duplicate(number: number, what: string, path: string): FileDescriptor {
    return new FileDescriptor(OwnedFd.duplicate(number, what, path));
  }

  /** Whether it is one, and not only called so. @internal */
  static isFileDescriptor(value: unknown): value is FileDescriptor {
    return typeof value === 'object' && value !== null && #fd in value;
  }

  /** Where the program asked for it. @internal */
  openedAt(place: CallerPlace | undefined): this {
    this.#fd.openedAt(place);
    return this;
  }

  /**
   * The descriptor's number. The FileDescriptor stays its owner.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get fd(): number {
    return this.#fd.number;
  }

  /**
   * Closes it. The last descriptor of a bound device resets it: 100 ms and more. Closing twice is
   * harmless.
   *
   * @throws VfioError what the kernel answers; it is closed all the same
   */
  close(): Promise<void> {
    return this.#fd.close();
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    this.#fd.closeSync();
  }
}

/**
 * The number of a descriptor, however it was given.
 *
 * @throws TypeError, RangeError for what is neither a FileDescriptor nor a number of one
 * @throws VfioError `ERR_VFIO_CLOSED`
 */
export function numberOfFd(name: string, fd: unknown): number {
  if (FileDescriptor.isFileDescriptor(fd)) return fd.fd;
  if (typeof fd !== 'number') {
    throw invalidType(name, 'the number of an open descriptor, or a FileDescriptor', fd);
  }
  checkFdNumber(name, fd);
  return fd;
}

/**
 * Has `make` take over a duplicate of a descriptor. A FileDescriptor is closed then; a number stays
 * its owner's.
 */
export function takeFd<T>(
  fd: number | FileDescriptor,
  { what, path }: { what: string; path: string },
  make: (own: OwnedFd) => T,
): T {
  const own = OwnedFd.duplicate(numberOfFd('fd', fd), what, path);
  const made = make(own);
  if (!FileDescriptor.isFileDescriptor(fd)) return made;
  try {
    // Not the last of its file, so nothing waits for a device.
    fd.closeSync();
    return made;
  } catch (error) {
    return runSync(undoAndThrow(error, closing(own)));
  }
}
