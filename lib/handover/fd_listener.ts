import { requirePlatform } from '../addon.ts';
import { checkInteger, requireObject } from '../core/arguments.ts';
import { binding, type NativeFd } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { check, checkSteps } from '../core/call.ts';
import { callerPlace } from '../core/caller.ts';
import { Closable } from '../core/closable.ts';
import { EAGAIN } from '../core/errno.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { readable, Readiness, throwIfAborted } from '../core/readiness.ts';
import { allDone, doAll } from '../core/steps.ts';
import { undefinedIfMissing } from '../locate/sysfs.ts';
import { FdChannel, signalOf, type WaitOptions } from './fd_channel.ts';
import { type ChannelOptions, checkPath, type Limits, limitsOf } from './socket.ts';

/** How to listen. */
export interface ListenOptions extends ChannelOptions {
  /** Who may connect, as chmod has it: 0o600, only this user, by default; 0o666 lets everybody. */
  mode?: number | undefined;
  /** How many may wait to be accepted; 128 by default. */
  backlog?: number | undefined;
}

const what = 'the listener';

/** A unix socket to which peers connect: each becomes an {@link FdChannel}. */
export class FdListener extends Closable implements AsyncIterable<FdChannel> {
  readonly #socket: OwnedFd;
  readonly #readiness: Readiness;
  readonly #limits: Limits;
  /** The file that it made: another may stand in its place later. */
  readonly #file: bigint | undefined;

  static {
    defineInspect(this, 'FdListener', (listener) => {
      const { path, closed } = listener.#socket;
      return { path, state: closed ? 'closed' : 'open' };
    });
  }

  private constructor(socket: OwnedFd, limits: Limits) {
    super();
    this.#socket = socket;
    this.#readiness = new Readiness(socket);
    this.#limits = limits;
    this.#file = fileAt(socket.path);
  }

  /**
   * Makes a socket and listens. Its file must not be there: one that a killed program left is the
   * caller's to remove. Nobody but this user may connect before `mode` allows it.
   *
   * @param path - an absolute one of 107 bytes at most
   * @throws TypeError, RangeError
   * @throws VfioError `EADDRINUSE` (the file is there), `EACCES`, `ENOENT`; `EMFILE`
   */
  static listen(path: string, options: ListenOptions = {}): FdListener {
    const place = callerPlace();
    checkPath(path);
    requireObject('options', options);
    const limits = limitsOf(options);
    const { mode = 0o600, backlog = 128 } = options;
    checkInteger('mode', mode, 0, 0o777);
    checkInteger('backlog', backlog, 1, 65_535);
    requirePlatform();
    const answer = binding().socketListen(path, mode, backlog);
    const fd = checkSteps(answer, 'socketListen', { path });
    const socket = OwnedFd.adopt(fd as NativeFd, what, path).openedAt(place);
    return new FdListener(socket, limits);
  }

  /** The socket's file. */
  get path(): string {
    return this.#socket.path;
  }

  /**
   * Waits for a peer that connects.
   *
   * @throws TypeError
   * @throws VfioError `EMFILE`: the peer waits, and the next call tries again; `ERR_VFIO_CLOSED`
   * @throws the signal's reason
   */
  async accept(options: WaitOptions = {}): Promise<FdChannel> {
    const signal = signalOf(options);
    const place = callerPlace();
    throwIfAborted(signal);
    for (;;) {
      const answer = binding().socketAccept(this.#socket.native);
      if (answer !== EAGAIN) {
        const fd = check(answer, { syscall: 'accept4', path: this.path });
        return FdChannel.adopt(fd as NativeFd, this.path, this.#limits, place);
      }
      await this.#readiness.wait(readable, signal);
    }
  }

  /**
   * The peers that connect, until the listener is closed.
   *
   * @throws what {@link accept} throws, into the loop
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<FdChannel, undefined> {
    while (!this.#socket.closed) {
      const channel = await this.accept().catch(this.#ifClosed);
      if (channel === undefined) return;
      yield channel;
    }
  }

  /**
   * Closes the socket and removes its file; who waits is rejected, and who was not accepted sees
   * the end. Channels that were accepted stay. Closing twice is harmless.
   *
   * @throws VfioError of unlink, such as `EACCES`: the file is left, and the socket closed all the
   *   same
   */
  async close(): Promise<void> {
    const socket = this.#socket;
    const ended = new Promise<void>((done) => {
      this.#end();
      done();
    });
    await allDone([ended, socket.close()]);
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    const socket = this.#socket;
    const end = (): void => {
      this.#end();
    };
    const close = (): void => {
      socket.closeSync();
    };
    doAll([end, close]);
  }

  /** Closed from here while it waited: that is an end, and no failure. */
  readonly #ifClosed = (error: unknown): undefined => {
    if (!this.#socket.closed) throw error;
  };

  #end(): void {
    if (this.#socket.closed) return;
    this.#readiness.end(what);
    if (this.#file !== undefined && fileAt(this.path) === this.#file) removeFile(this.path);
  }
}

/** Whoever gave up rights since it was made may not. */
function removeFile(path: string): void {
  undefinedIfMissing('unlink', path, () => {
    fs.unlinkSync(path);
  });
}

/** Which file stands there now. */
function fileAt(path: string): bigint | undefined {
  return undefinedIfMissing('lstat', path, () => fs.lstatSync(path, { bigint: true }).ino);
}
