import { binding, type NativeFd } from './binding.ts';
import { fs } from './builtins.ts';
import { check, closeErrnos } from './call.ts';
import type { CallerPlace } from './caller.ts';
import { closedError } from './errors.ts';
import type { NodeLocation, Roots } from './location.ts';
import type { Cause } from './reasons.ts';
import { closing, doAll, inOrder, run } from './steps.ts';
import { processWarning, warnIfFailed } from './warnings.ts';

/** What stands in a node's place may be a FIFO or a terminal, whose open could wait for ever. */
const openFlags = fs.constants.O_RDWR | fs.constants.O_NONBLOCK;

/**
 * A descriptor and its one owner. Closing waits for the calls that are in the kernel with it, and
 * happens once; what comes later is refused with `ERR_VFIO_CLOSED`.
 */
export class OwnedFd {
  #fd: NativeFd | undefined;
  /** Settles when the descriptor is closed. */
  #closed: Promise<void> | undefined;
  #closing: Cause | undefined;
  readonly #what: string;
  readonly path: string;
  /** What is told and done when the owner is dropped. */
  readonly #ifDropped: Dropped;

  private constructor(fd: NativeFd, what: string, path: string) {
    this.#fd = fd;
    this.#what = what;
    this.path = path;
    this.#ifDropped = { fd, what, path, place: undefined, isPart: false };
    dropped.register(this, this.#ifDropped, this);
  }

  /** Opens a node for reading and writing. `what` names the owner in errors: 'the iommufd'. */
  static open(path: string, what: string, device?: string): OwnedFd {
    const fd = check(binding().open(path, openFlags), { syscall: 'open', path, device });
    return new OwnedFd(fd as NativeFd, what, path);
  }

  /** Becomes the owner of a descriptor that the addon opened. */
  static adopt(fd: NativeFd, what: string, path: string): OwnedFd {
    return new OwnedFd(fd, what, path);
  }

  /** Another descriptor for the open file that a number of the caller's stands for. */
  static duplicate(number: number, what: string, path: string): OwnedFd {
    const fd = check(binding().take(number), { syscall: 'fcntl', path });
    return new OwnedFd(fd as NativeFd, what, path);
  }

  /**
   * Where the program opened it, as `callerPlace` says: to find the owner who forgot to close it.
   */
  openedAt(place: CallerPlace | undefined): this {
    this.#ifDropped.place = place;
    return this;
  }

  /** Belongs to another owner, who is dropped with it: one warning is enough for both. */
  asPart(): this {
    this.#ifDropped.isPart = true;
    return this;
  }

  /** For the addon's functions. Throws `ERR_VFIO_CLOSED`. */
  get native(): NativeFd {
    if (this.#fd === undefined) throw closedError(this.#what, this.#closing);
    return this.#fd;
  }

  /** The descriptor's number. Throws `ERR_VFIO_CLOSED`. */
  get number(): number {
    return check(binding().fdNumber(this.native), { syscall: 'fdNumber' });
  }

  /** It is going to be closed by somebody else than the program, who hears why. */
  closesBecause(cause: Cause): void {
    this.#closing = cause;
  }

  /** Why it was closed, or is being closed, where that was not the program. */
  get closing(): Cause | undefined {
    return this.#closing;
  }

  /** @throws VfioError `ERR_VFIO_CLOSED` */
  requireOpen(): void {
    if (this.#fd === undefined) throw closedError(this.#what, this.#closing);
  }

  /** Offers it to the other threads; answers the offer's number. Throws `ERR_VFIO_CLOSED`. */
  offer(): number {
    return check(binding().fdOffer(this.native), { syscall: 'fdOffer' });
  }

  /** The kernel keeps `other` open as long as this. Throws `ERR_VFIO_CLOSED`. */
  holds(other: OwnedFd): void {
    check(binding().hold(this.native, other.native), { syscall: 'hold' });
  }

  get closed(): boolean {
    return this.#fd === undefined;
  }

  /** Resolves when the descriptor is closed, also when another call closes it. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Closes this, then `next`: with one change of threads for both, where neither is closed yet. */
  async closeBefore(next: OwnedFd): Promise<void> {
    if (this.#closed ?? next.#closed) {
      await run(inOrder(closing(this), closing(next)));
    } else {
      this.#closed = next.#closed = this.#close(next);
      await this.#closed;
    }
  }

  /** Closes here and now, unless it is closed or `close()` is doing so already. */
  closeSync(): void {
    const fd = this.#take();
    if (fd === undefined) return;
    this.#closed = Promise.resolve();
    check(binding().closeSync(fd), { syscall: 'close', path: this.path });
  }

  async #close(next?: OwnedFd): Promise<void> {
    const fd = this.#take();
    if (fd === undefined) return;
    const answer = await binding().close(fd, next === undefined ? undefined : next.#take());
    const [first, second] = closeErrnos(answer ?? 0);
    doAll([
      () => check(answer && first, { syscall: 'close', path: this.path }),
      () => check(second, { syscall: 'close', path: next?.path }),
    ]);
  }

  #take(): NativeFd | undefined {
    const fd = this.#fd;
    this.#fd = undefined;
    dropped.unregister(this);
    return fd;
  }
}

/** Lives longer than the owner, and so refers to nothing that could keep it. */
interface Dropped {
  readonly fd: NativeFd;
  readonly what: string;
  readonly path: string;
  place: CallerPlace | undefined;
  isPart: boolean;
}

/** Closes what its owner forgot to close, and says so. */
const dropped = new FinalizationRegistry<Dropped>(({ fd, what, path, place, isPart }) => {
  if (!isPart) {
    const at = place?.text;
    const from = at === undefined ? '' : `, opened at ${at},`;
    const message = `${what} (${path})${from} was dropped without being closed; closing it now`;
    processWarning(message, 'VFIO_NOT_CLOSED');
  }
  const closed = binding().close(fd);
  warnIfFailed(closed, { syscall: 'close', path });
});

/** A device node, open and proved by fstat to be the one that sysfs names. */
export interface DeviceNode<Location extends NodeLocation = NodeLocation> {
  /** Its `path` is that of the node that was opened. */
  location: Location;
  fd: OwnedFd;
  /** Where the device and its node were looked for. */
  roots: Roots;
}
