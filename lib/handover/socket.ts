import { checkInteger, invalidType, invalidValue } from '../core/arguments.ts';
import { binding, type NativeFd } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { check } from '../core/call.ts';
import { Closable } from '../core/closable.ts';
import { EAGAIN, EBADF, ECONNRESET } from '../core/errno.ts';
import { systemError, VfioError } from '../core/errors.ts';
import { FileDescriptor } from '../core/file_descriptor.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { closingAll, run, runSync } from '../core/steps.ts';

/** Who is at the other end of a socket, as the kernel says. */
export interface PeerCredentials {
  /** 0 where it is in a pid namespace that this process does not see. */
  pid: number;
  /** Its effective user, when it connected or listened. */
  uid: number;
  /** Its effective group, likewise. */
  gid: number;
}

/** What a receiver takes: a message that has more is thrown away. */
export interface ChannelOptions {
  /** Bytes of a message; 65,536 by default. */
  maxBytes?: number | undefined;
  /** Descriptors of a message, 0 to 253; 16 by default. */
  maxFds?: number | undefined;
}

/** {@link ChannelOptions} with every default filled in. */
export interface Limits {
  maxBytes: number;
  maxFds: number;
}

/** SCM_MAX_FD of the kernel. */
export const mostFds = 253;
const mostBytes = 1 << 20;

/** @throws TypeError, RangeError */
export function limitsOf({ maxBytes = 65_536, maxFds = 16 }: ChannelOptions): Limits {
  checkInteger('maxBytes', maxBytes, 1, mostBytes);
  checkInteger('maxFds', maxFds, 0, mostFds);
  return { maxBytes, maxFds };
}

export function peerOf(socket: OwnedFd): PeerCredentials {
  const out = new Int32Array(3);
  check(binding().socketPeer(socket.native, out), { syscall: 'getsockopt', path: socket.path });
  const [pid = 0, uid = 0, gid = 0] = out;
  // The kernel's are unsigned.
  return { pid, uid: uid >>> 0, gid: gid >>> 0 };
}

/** A message as it was received, or what there is instead. */
export type Received =
  | { kind: 'message'; data: Uint8Array; fds: NativeFd[] }
  | { kind: 'truncated'; fds: NativeFd[] }
  | { kind: 'end' }
  | { kind: 'none' };

/** A part of the data, or of the descriptors, did not fit. */
const MSG_TRUNC = 0x20;
const MSG_CTRUNC = 0x08;

/** Takes a message, where there is one. */
export function receiveFrom(socket: OwnedFd, room: Uint8Array, maxFds: number): Received {
  // Not only for as many as are wanted: whatever came has to be closed by somebody.
  const handles = new Uint32Array(mostFds);
  const out = new Int32Array(2);
  const receive = (): number | undefined =>
    binding().socketReceive(socket.native, room, maxFds, handles, out);
  let answer = receive();
  // The peer went without reading all: told once, and what it had sent is still there.
  if (answer === ECONNRESET) answer = receive();
  if (answer === EAGAIN) return { kind: 'none' };
  const length = check(answer, { syscall: 'recvmsg', path: socket.path });
  const [flags = 0, count = 0] = out;
  const fds = [...handles.subarray(0, count)] as NativeFd[];
  const isCut = (flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0;
  if (isCut || count > maxFds) return { kind: 'truncated', fds };
  if (length > 0) return { kind: 'message', data: room.slice(0, length), fds };
  // An empty message cannot be told from the end, unless it has descriptors.
  return count > 0 ? { kind: 'truncated', fds } : { kind: 'end' };
}

/** Sends a message as a whole; false where the peer's queue is full. */
export function sendTo(socket: OwnedFd, data: Uint8Array, numbers: Int32Array): boolean {
  const answer = binding().socketSend(socket.native, data, numbers);
  if (answer === EAGAIN) return false;
  const closed = answer === EBADF ? numbers.find(isClosed) : undefined;
  if (closed !== undefined) throw closedNumber('sendmsg', closed);
  check(answer, { syscall: 'sendmsg', path: socket.path });
  return true;
}

/** Another descriptor for one that is to be sent. @throws VfioError `EBADF`, which names it */
export function duplicateToSend(number: number, what: string): OwnedFd {
  try {
    return OwnedFd.duplicate(number, what, 'to be sent');
  } catch (error) {
    throw error instanceof VfioError && error.errno === EBADF
      ? closedNumber('fcntl', number)
      : error;
  }
}

function isClosed(number: number): boolean {
  try {
    fs.fstatSync(number);
    return false;
  } catch (error) {
    return error instanceof Error && 'errno' in error && error.errno === EBADF;
  }
}

function closedNumber(syscall: string, number: number): VfioError {
  return systemError({ errno: EBADF, syscall }, `the descriptor ${number} is not open`);
}

/** What sun_path holds, without its NUL. */
const mostPathBytes = 107;

/** @throws TypeError */
export function checkPath(path: unknown): asserts path is string {
  const expected = `an absolute path of ${mostPathBytes} bytes at most`;
  if (typeof path !== 'string') throw invalidType('path', expected, path);
  const fits =
    path.startsWith('/') && !path.includes('\0') && Buffer.byteLength(path) <= mostPathBytes;
  if (!fits) throw invalidValue('path', expected, path);
}

/** A message that was received: its bytes, and the descriptors that came with it. */
export class FdMessage extends Closable {
  /** Never empty. */
  readonly data: Uint8Array;
  /**
   * In the order of the sender. Nothing is known of them but that they are open: see `identify`.
   */
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

  /**
   * Closes the descriptors that nobody took over. Closing twice is harmless.
   *
   * @throws VfioError what the kernel answers; AggregateError where it does so more than once. All
   *   are closed all the same
   */
  close(): Promise<void> {
    return run(closingAll(this.fds));
  }

  /** The blocking form of {@link close}. A stranger's descriptor may block as long as it likes. */
  closeSync(): void {
    runSync(closingAll(this.fds));
  }
}

/** Closes what came with a message that nobody gets. */
export function discard(fds: readonly NativeFd[]): void {
  // What a stranger's file says to its closing is nobody's business, and may take as long as it
  // likes.
  for (const fd of fds) void binding().close(fd);
}
