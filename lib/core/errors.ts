import type { constants } from 'node:os';
import { util } from './builtins.ts';
import { escapeControls } from './controls.ts';
import { wordsOf } from './messages.ts';
import type { Cause, Certainty, VfioFacts, VfioReason } from './reasons.ts';
import { shown } from './shown.ts';

/** Codes of our own, for what no errno says. */
export type VfioErrorCode =
  /** The object was closed. */
  | 'ERR_VFIO_CLOSED'
  /** The cdev was bound: its descriptor belongs to a VfioDevice now. */
  | 'ERR_VFIO_ALREADY_BOUND'
  /** The cdev that another program passed is not bound to an iommufd. */
  | 'ERR_VFIO_NOT_BOUND'
  /** The device was bound by another program, which did not tell its id in the iommufd. */
  | 'ERR_VFIO_NO_DEV_ID'
  /** A message was longer, or had more descriptors, than the receiver takes. */
  | 'ERR_VFIO_MESSAGE_TRUNCATED'
  /** A message is not what was expected of its sender. */
  | 'ERR_VFIO_BAD_MESSAGE'
  /** No such device in sysfs. */
  | 'ERR_VFIO_NO_DEVICE'
  /** The device has no VFIO driver. */
  | 'ERR_VFIO_NOT_BOUND_TO_VFIO'
  /** The kernel makes no device cdevs (CONFIG_VFIO_DEVICE_CDEV). */
  | 'ERR_VFIO_NO_CDEV'
  /** The kernel makes no group for the device (CONFIG_VFIO_GROUP). */
  | 'ERR_VFIO_NO_GROUP'
  /** A device of the IOMMU group belongs to a host driver. */
  | 'ERR_VFIO_GROUP_NOT_VIABLE'
  /** The way in which the device was, or is to be, opened does not have this. */
  | 'ERR_VFIO_WRONG_BACKEND'
  /** The node is not the device that sysfs names. */
  | 'ERR_VFIO_NODE_MISMATCH'
  /** The descriptor is neither a VFIO device nor an iommufd. */
  | 'ERR_VFIO_NOT_VFIO'
  /** The kernel's answer contradicts its own interface. */
  | 'ERR_VFIO_BAD_ANSWER'
  /** The kernel gives fewer interrupt vectors than asked for; `available` says how many. */
  | 'ERR_VFIO_TOO_FEW_VECTORS'
  /** The device reported an uncorrectable error. */
  | 'ERR_VFIO_DEVICE_ERROR'
  /** The kernel, or the device's driver, lacks a feature. */
  | 'ERR_VFIO_UNSUPPORTED'
  /** A hot reset would hit devices that are not this program's. */
  | 'ERR_VFIO_HOT_RESET'
  /** The device has no such interrupt. */
  | 'ERR_VFIO_NO_IRQ'
  /** The interrupt is enabled already. */
  | 'ERR_VFIO_IRQ_ENABLED'
  /** The interrupt is not enabled. */
  | 'ERR_VFIO_IRQ_DISABLED'
  /** Another thread, or another object, listens to the vector: one at a time can. */
  | 'ERR_VFIO_VECTOR_BUSY'
  /** The process may have no more threads, and a promise's call needs one. */
  | 'ERR_VFIO_NO_THREAD'
  /** A blocking call in the middle of a promise's work. */
  | 'ERR_VFIO_BUSY'
  /** The device has no such region, or does not implement it. */
  | 'ERR_VFIO_NO_REGION'
  /** The kernel transferred fewer bytes than were asked for. */
  | 'ERR_VFIO_SHORT_TRANSFER'
  /** Nothing of the region, or not this part, may be mapped. */
  | 'ERR_VFIO_NOT_MAPPABLE'
  /** The device has no such PCI capability. */
  | 'ERR_VFIO_NO_CAPABILITY'
  /** The device ignored what was written. */
  | 'ERR_VFIO_NOT_TAKEN'
  /** The register map says that the register is only to be read, or only to be written. */
  | 'ERR_VFIO_READ_ONLY'
  | 'ERR_VFIO_WRITE_ONLY'
  /**
   * A register did not get the value that was waited for, no interrupt came, or the kernel did not
   * answer in time.
   */
  | 'ERR_VFIO_TIMEOUT'
  /** The device cannot be taken from its driver: the host, or a program, needs it. */
  | 'ERR_VFIO_IN_USE'
  /** The device is not with the driver that it was to have. */
  | 'ERR_VFIO_DRIVER_NOT_BOUND'
  /** The process that makes a call which can wait for ever did not start, or ended. */
  | 'ERR_VFIO_NO_HELPER'
  /** Not Linux. */
  | 'ERR_VFIO_UNSUPPORTED_PLATFORM'
  /** Not Node: Bun, Deno. */
  | 'ERR_VFIO_UNSUPPORTED_RUNTIME'
  /** The package has no addon for this machine, and none was built from source. */
  | 'ERR_VFIO_ADDON_NOT_FOUND'
  /** There is an addon, and Node does not load it; `cause` is Node's error. */
  | 'ERR_VFIO_ADDON_NOT_LOADED';

/** The name of an errno, such as `EBUSY`; `E133` where Node has none for it. */
export type ErrnoName = keyof typeof constants.errno | 'EBADFD' | `E${number}`;

/** What a {@link VfioError} carries. */
export interface VfioErrorDetails {
  /** See {@link VfioError.code}. */
  code: VfioErrorCode | ErrnoName;
  /** One sentence; control characters in it are escaped. */
  message: string;
  /** See {@link VfioError.errno}. */
  errno?: number | undefined;
  /** See {@link VfioError.syscall}. */
  syscall?: string | undefined;
  /** See {@link VfioError.request}. */
  request?: string | undefined;
  /** See {@link VfioError.path}. */
  path?: string | undefined;
  /** See {@link VfioError.device}. */
  device?: string | undefined;
  /** See {@link VfioError.reason}. */
  reason?: VfioReason | undefined;
  /** See {@link VfioError.facts}. */
  facts?: VfioFacts[VfioReason] | undefined;
  /** See {@link VfioError.certainty}. */
  certainty?: Certainty | undefined;
  /** See {@link VfioError.hint}; control characters in it are escaped. */
  hint?: string | undefined;
  /** See {@link VfioError.available}. */
  available?: number | undefined;
  /** See {@link VfioError.region}. */
  region?: string | undefined;
  /** See {@link VfioError.field}. */
  field?: string | undefined;
  /** The error's `cause`. */
  cause?: unknown;
}

/** What tasks within tasks of ours put between a failure and the program's call. */
const ownFrames = 20;

/**
 * The limit is the whole program's, but nobody else runs until it is put back. Where it is frozen,
 * stacks are as long as they are.
 */
function setStackLimit(limit: number): void {
  Reflect.set(Error, 'stackTraceLimit', limit);
}

/**
 * Every failure of this package that is not a mistake in an argument (those are `TypeError` and
 * `RangeError` with Node's own codes).
 */
export class VfioError extends Error {
  static {
    this.prototype.name = 'VfioError';
  }

  /** The errno's name, such as `EBUSY`, or a {@link VfioErrorCode}. */
  readonly code: VfioErrorCode | ErrnoName;
  /** Negative, as in Node's own errors; absent where no system call failed. */
  declare readonly errno?: number;
  /** The system call that failed, such as `open` or `ioctl`. */
  declare readonly syscall?: string;
  /** The ioctl's request, such as `VFIO_DEVICE_BIND_IOMMUFD`. */
  declare readonly request?: string;
  /** The file or device node. */
  declare readonly path?: string;
  /** The device's address on its bus, such as `0000:3b:00.0`. */
  declare readonly device?: string;
  /** Why, where that was found out: an identifier with an entry in docs/errors.md. */
  declare readonly reason?: VfioReason;
  /** What was found out; {@link VfioFacts} has the shape for each reason. */
  declare readonly facts?: VfioFacts[VfioReason];
  /** Whether the facts prove the reason, or only make it likely. */
  declare readonly certainty?: Certainty;
  /** What mends it: a command, where there is one. */
  declare readonly hint?: string;
  /** How many vectors could have been had, where there were too few. */
  declare readonly available?: number;
  /** The region and the offset in it, such as `bar0+0x10`. */
  declare readonly region?: string;
  /** What of a message is wrong: `devId`, `ioasIds[0]`; `fds[0]` is its first descriptor. */
  declare readonly field?: string;

  constructor(details: VfioErrorDetails) {
    const { code, message, hint, cause, ...rest } = details;
    // Names of processes, drivers and files are others' text, and may hold what a terminal obeys.
    const text = escapeControls(message);
    const limit = Error.stackTraceLimit;
    setStackLimit(limit > 0 ? limit + ownFrames : limit);
    super(text, cause === undefined ? undefined : { cause });
    setStackLimit(limit);
    this.code = code;
    const said = { ...rest, hint: hint === undefined ? undefined : escapeControls(hint) };
    for (const [key, value] of Object.entries(said)) {
      if (value !== undefined) Object.defineProperty(this, key, { value, enumerable: true });
    }
  }

  /** For `JSON.stringify`: all of it, the message too; 64 bits of `facts` are hex strings. */
  toJSON(): Record<string, unknown> {
    // Other classes refuse by their private fields; an error has none.
    if (!util.types.isNativeError(this))
      throw new TypeError('toJSON is called on what is no error');
    const { name, message, facts } = this;
    const own = Object.fromEntries(Object.entries(this));
    return { name, message, ...own, ...(facts && { facts: plain(facts) }) };
  }
}

/** The same without bigints, which JSON does not know. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

/** A system call that failed, as native code reports it. */
export interface FailedCall {
  errno: number;
  syscall: string;
  request?: string | undefined;
  path?: string | undefined;
  device?: string | undefined;
  region?: string | undefined;
}

/**
 * What the addon answers of a call that was not made, since no thread was to be had for it: this
 * and the -errno of making a thread. The kernel's own are far above it.
 */
export const noThread = -65536;

/** What the addon's `bind` adds to KVM's -errno, below those of binding. */
export const ofKvm = -8192;

/** The error of a failed system call; `hint` says what a person may look for. */
export function systemError(call: FailedCall, hint?: string): VfioError {
  if (call.errno <= noThread) return noThreadError(call);
  const [code, text] = describeErrno(call.errno);
  const said = `${code}: ${text}, ${nameOf(call)}`;
  return new VfioError({ code, message: hint === undefined ? said : `${said}: ${hint}`, ...call });
}

/** What somebody threw, in a message about several errors. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : shown(error);
}

function nameOf({ syscall, request, device, region, path }: FailedCall): string {
  const parts = [syscall, request, device, region, path && `'${path}'`];
  return parts.filter((part) => part !== undefined).join(' ');
}

/** Without the call's own names, which are those of what failed. */
function noThreadError(call: FailedCall): VfioError {
  const [code, text] = describeErrno(call.errno - noThread);
  return new VfioError({
    code: 'ERR_VFIO_NO_THREAD',
    message: `there is no thread for ${nameOf(call)}, which was not called: ${code}: ${text}, pthread_create`,
    hint:
      'more threads have to be allowed: RLIMIT_NPROC (ulimit -u), pids.max of the cgroup, ' +
      '/proc/sys/kernel/threads-max; the blocking forms need none',
  });
}

/** Linux has these, and libuv, whose table Node shows, does not, or speaks of sockets. */
const ownWords = new Map<number, [ErrnoName, string]>([
  [-95, ['ENOTSUP', 'operation not supported']],
  [-35, ['EDEADLK', 'resource deadlock would occur']],
  [-77, ['EBADFD', 'file descriptor in bad state']],
]);

/** The name of a -errno, and what it means. */
export function describeErrno(errno: number): [ErrnoName, string] {
  const known = ownWords.get(errno) ?? util.getSystemErrorMap().get(errno);
  return (known as [ErrnoName, string] | undefined) ?? [`E${-errno}`, 'unknown error'];
}

/** What is looked at, or undefined where that fails by an error of this package. */
export function orUndefined<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof VfioError) return undefined;
    throw error;
  }
}

/** What an error says, to make another of it that says more. */
function detailsOf(error: VfioError): VfioErrorDetails {
  const { code, message, cause } = error;
  const own: Partial<VfioErrorDetails> = Object.assign({}, error);
  return { ...own, code, message, cause };
}

/** The same error with its reason. */
export function explained(error: VfioError, cause: Cause): VfioError {
  const { why, hint } = wordsOf(cause);
  const { reason, facts, certainty } = cause;
  const doubt = certainty === 'likely' ? 'likely ' : '';
  // Where the lookup itself knew it, it has said so.
  const isSaid = error.message.endsWith(why);
  const message = isSaid ? error.message : `${error.message}: ${doubt}${why}`;
  return new VfioError({
    ...detailsOf(error),
    ...{ reason, facts, certainty },
    message,
    hint: `${hint} (docs/errors.md#${reason})`,
  });
}

/** The same error, of a message's part that has this name. */
export function ofField(error: VfioError, field: string): VfioError {
  const message = `${error.message} (${field} of the message)`;
  return new VfioError({ ...detailsOf(error), message, field });
}

/**
 * The error of using `what` after it was closed; `cause` where the program did not close it itself.
 */
export function closedError(what: string, cause?: Cause): VfioError {
  const error = new VfioError({ code: 'ERR_VFIO_CLOSED', message: `${what} is closed` });
  return cause === undefined ? error : explained(error, cause);
}
