import { requirePlatform } from '../addon.ts';
import {
  checkSignal,
  elementsOf,
  invalidType,
  outOfRange,
  requireBytes,
  requireObject,
} from '../core/arguments.ts';
import { binding, type NativeFd } from '../core/binding.ts';
import { check, checkSteps } from '../core/call.ts';
import { type CallerPlace, callerPlace } from '../core/caller.ts';
import { Closable } from '../core/closable.ts';
import { counted } from '../core/counted.ts';
import { EPROTOTYPE } from '../core/errno.ts';
import { VfioError } from '../core/errors.ts';
import { type FileDescriptor, numberOfFd, takeFd } from '../core/file_descriptor.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { readable, Readiness, throwIfAborted, untilAborted, writable } from '../core/readiness.ts';
import { allDone, closing, closingAll, Mutex, run, runSync, undoAndThrow } from '../core/steps.ts';
import {
  type ChannelOptions,
  checkPath,
  discard,
  duplicateToSend,
  FdMessage,
  type Limits,
  limitsOf,
  mostFds,
  type PeerCredentials,
  peerOf,
  receiveFrom,
  sendTo,
} from './socket.ts';

/** How to wait for a peer. */
export interface WaitOptions {
  /** Aborting rejects with the signal's reason; no message is lost by it. */
  signal?: AbortSignal | undefined;
}

const what = 'the channel';

/**
 * One end of a unix socket (SOCK_SEQPACKET) whose messages carry descriptors: a message arrives as
 * a whole, with its descriptors, or not at all. Node's own sockets cannot do this.
 *
 * A peer may be hostile: what is too long, or has too many descriptors, is closed and thrown away,
 * and what a message says is the receiver's to check. Waiting keeps the event loop alive.
 */
export class FdChannel extends Closable implements AsyncIterable<FdMessage> {
  readonly #socket: OwnedFd;
  readonly #readiness: Readiness;
  readonly #limits: Limits;
  readonly #sending = new Mutex();
  #room: Uint8Array | undefined;
  #peer: PeerCredentials | undefined;

  static {
    defineInspect(this, 'FdChannel', (channel) => {
      const { path, closed } = channel.#socket;
      return { path, state: closed ? 'closed' : 'open' };
    });
  }

  private constructor(socket: OwnedFd, limits: Limits) {
    super();
    this.#socket = socket;
    this.#readiness = new Readiness(socket);
    this.#limits = limits;
  }

  /** Becomes the owner of a socket that the addon has. @internal */
  static adopt(fd: NativeFd, path: string, limits: Limits, place?: CallerPlace): FdChannel {
    return new FdChannel(OwnedFd.adopt(fd, what, path).openedAt(place), limits);
  }

  /**
   * Two ends that are connected to each other: one to keep, one for a program that is started,
   * which gets its `fd` by `stdio` and takes it with {@link fromFd}.
   *
   * @throws TypeError, RangeError
   * @throws VfioError `EMFILE`
   */
  static pair(options: ChannelOptions = {}): [FdChannel, FdChannel] {
    const place = callerPlace();
    requireObject('options', options);
    const limits = limitsOf(options);
    requirePlatform();
    const handles = new Uint32Array(2);
    check(binding().socketPair(handles), { syscall: 'socketpair' });
    const end = (at: 0 | 1): FdChannel =>
      FdChannel.adopt(handles[at] as NativeFd, 'socketpair', limits, place);
    return [end(0), end(1)];
  }

  /**
   * Connects to an {@link FdListener}. Does not wait until it accepts.
   *
   * @param path - of the listener's socket: an absolute one of 107 bytes at most
   * @throws TypeError, RangeError
   * @throws VfioError `ENOENT`, `EACCES`, `ECONNREFUSED` (nobody listens any more), `EAGAIN` (too
   *   many wait to be accepted), `EPROTOTYPE` (a socket of another kind), `EMFILE`
   */
  static connect(path: string, options: ChannelOptions = {}): FdChannel {
    const place = callerPlace();
    checkPath(path);
    requireObject('options', options);
    const limits = limitsOf(options);
    requirePlatform();
    const fd = checkSteps(binding().socketConnect(path), 'socketConnect', { path });
    return FdChannel.adopt(fd as NativeFd, path, limits, place);
  }

  /**
   * Takes a socket that another program made, such as one that this one was started with.
   *
   * @param fd - is duplicated: a FileDescriptor is closed then, a number stays the caller's to
   *   close
   * @throws TypeError, RangeError
   * @throws VfioError `EBADF`; `ENOTSOCK`; `EPROTOTYPE` for another kind of socket; `EMFILE`;
   *   `ERR_VFIO_CLOSED` for a FileDescriptor that is closed
   */
  static fromFd(fd: number | FileDescriptor, options: ChannelOptions = {}): FdChannel {
    const place = callerPlace();
    const number = numberOfFd('fd', fd);
    requireObject('options', options);
    const limits = limitsOf(options);
    requirePlatform();
    return takeFd(fd, { what, path: `descriptor ${number}` }, (own) => {
      try {
        checkKind(own);
        return new FdChannel(own.openedAt(place), limits);
      } catch (error) {
        return runSync(undoAndThrow(error, closing(own)));
      }
    });
  }

  /**
   * The socket's number, to hand to a program that is started. The FdChannel stays its owner: close
   * it when the program has its own, or the end of that program will not be seen.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get fd(): number {
    return this.#socket.number;
  }

  /**
   * Who is at the other end: the process that connected, or that listens, or that made the pair.
   * Its pid may be another process's by now; its uid and gid are what it had then.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get peer(): PeerCredentials {
    this.#peer ??= peerOf(this.#socket);
    return this.#peer;
  }

  /**
   * Sends a message with descriptors. They stay the caller's, who may close them when this
   * resolves; the message has its own. Resolves when the message is in the peer's queue, which the
   * peer may never read; waits while that queue is full.
   *
   * @param data - one byte at least
   * @param fds - numbers or FileDescriptors, 253 at most
   * @throws TypeError, RangeError
   * @throws VfioError `EPIPE` or `ECONNRESET` (the peer is gone), `EMSGSIZE`, `ETOOMANYREFS` (too
   *   many descriptors are in messages that nobody read), `EBADF`; `ERR_VFIO_CLOSED`
   * @throws the signal's reason
   */
  async send(
    data: Uint8Array,
    fds: readonly (number | FileDescriptor)[] = [],
    options: WaitOptions = {},
  ): Promise<void> {
    requireBytes('data', data);
    if (data.length === 0) throw outOfRange('data', 'of one byte at least', data);
    const numbers = numbersOf(fds);
    const signal = signalOf(options);
    throwIfAborted(signal);
    if (!this.#sending.busy && sendTo(this.#socket, data, numbers)) return;
    await this.#sendLater(data, numbers, signal);
  }

  /**
   * Waits for a message. Undefined at the end: the peer is closed, or gone.
   *
   * @throws TypeError
   * @throws VfioError `ERR_VFIO_MESSAGE_TRUNCATED`: a message was longer, or had more descriptors,
   *   than this end takes; it is lost, and the next can be received. `ERR_VFIO_CLOSED`
   * @throws the signal's reason
   */
  async receive(options: WaitOptions = {}): Promise<FdMessage | undefined> {
    const signal = signalOf(options);
    throwIfAborted(signal);
    for (;;) {
      const received = this.#receive();
      if (received !== 'none') return received;
      await this.#readiness.wait(readable, signal);
    }
  }

  /**
   * The messages, until the peer ends or this end is closed.
   *
   * @throws what {@link receive} throws, into the loop
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<FdMessage, undefined> {
    while (!this.#socket.closed) {
      const message = await this.receive().catch(this.#ifClosed);
      if (message === undefined) return;
      yield message;
    }
  }

  /**
   * Closes this end; who waits is rejected. Closing twice is harmless.
   *
   * @throws VfioError what the kernel answers; the descriptor is closed all the same
   */
  close(): Promise<void> {
    this.#readiness.end(what);
    return this.#socket.close();
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    this.#readiness.end(what);
    this.#socket.closeSync();
  }

  /** Closed from here while it waited: that is an end, and no failure. */
  readonly #ifClosed = (error: unknown): undefined => {
    if (!this.#socket.closed) throw error;
  };

  #receive(): FdMessage | undefined | 'none' {
    const { maxBytes, maxFds } = this.#limits;
    this.#room ??= new Uint8Array(maxBytes);
    const received = receiveFrom(this.#socket, this.#room, maxFds);
    switch (received.kind) {
      case 'message':
        return FdMessage.of(received.data, received.fds, `by ${this.#socket.path}`);
      case 'truncated':
        discard(received.fds);
        throw new VfioError({
          code: 'ERR_VFIO_MESSAGE_TRUNCATED',
          message: `a message was thrown away: this end takes 1 to ${counted(maxBytes, 'byte')} and ${counted(maxFds, 'descriptor')}`,
          path: this.#socket.path,
        });
      case 'end':
        return undefined;
      case 'none':
        return 'none';
    }
  }

  /** In turns, so that messages stay in their order; with duplicates, since the caller goes on. */
  async #sendLater(
    data: Uint8Array,
    numbers: Int32Array,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const copies: OwnedFd[] = [];
    const send = async (): Promise<void> => {
      for (const number of numbers) copies.push(duplicateToSend(number, what));
      const bytes = data.slice();
      const own = Int32Array.from(copies, ({ number }) => number);
      const sent = this.#sending.run(async () => {
        throwIfAborted(signal);
        while (!sendTo(this.#socket, bytes, own)) await this.#readiness.wait(writable, signal);
      });
      await untilAborted(sent, signal);
    };
    const sending = send();
    const close = (): Promise<void> => run(closingAll(copies));
    await allDone([sending, sending.then(close, close)]);
  }
}

function checkKind(socket: OwnedFd): void {
  const { native, path } = socket;
  const answer = check(binding().socketKind(native), { syscall: 'getsockopt', path });
  if (answer === 1) return;
  check(EPROTOTYPE, { syscall: 'getsockopt', path });
}

/** @throws TypeError */
export function signalOf(options: WaitOptions): AbortSignal | undefined {
  requireObject('options', options);
  const { signal } = options;
  checkSignal(signal);
  return signal;
}

function numbersOf(fds: unknown): Int32Array {
  if (!Array.isArray(fds)) throw invalidType('fds', 'an array of descriptors', fds);
  if (fds.length > mostFds) throw outOfRange('fds.length', `<= ${mostFds}`, fds.length);
  return Int32Array.from(elementsOf(fds), (fd) => numberOfFd('fds', fd));
}
