import { checkId, invalidType } from '../core/arguments.ts';
import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { EBUSY } from '../core/errno.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { littleEndian } from '../core/structs.ts';
import { EventQueue, type FaultOptions } from './event_queue.ts';

/** A page that a device asked for (struct iommu_hwpt_pgfault). */
export interface IoPageFault {
  /** The device's id in the iommufd. */
  devId: number;
  /** The process address space id, where the request has one. */
  pasid: number | undefined;
  /** The page request group it belongs to. */
  group: number;
  /** Whether it is the last of its group. */
  last: boolean;
  /** Whether the device wants to read. */
  read: boolean;
  /** Whether the device wants to write. */
  write: boolean;
  /** Whether the device wants to execute. */
  execute: boolean;
  /** Whether it asks in privileged mode. */
  privileged: boolean;
  /** The address that is not mapped. */
  iova: bigint;
  /** A hint, in bytes: how much the device will need. */
  length: number;
  /** What the answer names it by. */
  cookie: number;
}

const faultBytes = 40;
const responseBytes = 8;
/** How many faults one read takes, unless a group has more. */
const most = 64;

/**
 * Where page faults of devices go that can wait for a page (IOMMU_FAULT_QUEUE_ALLOC), for
 * `ioas.createHwpt(device, { faultQueue })`. Proven on the kernel's mock IOMMU, not on hardware: no
 * device of the lab asks. The kernel answers `false` for the program where a device is detached, or
 * the queue closed, with faults in it.
 */
export class FaultQueue extends EventQueue<IoPageFault> {
  readonly #id: number;

  static {
    defineInspect(this, 'FaultQueue', (queue) => ({ id: queue.#id, ...queue.shown }));
  }

  private constructor(iommufd: OwnedFd, fd: NativeFd, id: number) {
    super(iommufd, fd, id, 'the fault queue');
    this.#id = id;
  }

  /** @internal */
  static create(iommufd: OwnedFd): FaultQueue {
    const out = new Uint32Array(1);
    const call = { syscall: 'ioctl', request: 'IOMMU_FAULT_QUEUE_ALLOC', path: iommufd.path };
    const fd = check(binding().faultQueueAlloc(iommufd.native, out), call) as NativeFd;
    return new FaultQueue(iommufd, fd, out[0] ?? 0);
  }

  /** Whether it is one, and not only called so. @internal */
  static isFaultQueue(value: unknown): value is FaultQueue {
    return typeof value === 'object' && value !== null && #id in value;
  }

  /**
   * The faults that wait, whole groups of them, about 64 at once; does not wait for any. Each group
   * has to be answered, or the device waits for ever.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  override read(): IoPageFault[] {
    return decodeFaults(this.readBytes(most * faultBytes));
  }

  /**
   * The faults, for `for await`: each time all that `read()` answers. The loop is over when the
   * queue is closed; aborting throws the signal's reason into it. Of several loops each fault is in
   * one.
   *
   * @throws TypeError; into the loop what {@link read} throws, and the signal's reason
   */
  faults(options: FaultOptions = {}): AsyncIterableIterator<IoPageFault[]> {
    return this.iterate(options);
  }

  /**
   * Answers a group of faults by the cookie of its last: `true` once the pages are mapped, `false`
   * where there are none.
   *
   * @param cookie - of the last fault of the group
   * @param mapped - whether the pages are mapped now
   * @throws TypeError, RangeError
   * @throws VfioError `ERR_VFIO_CLOSED`
   * @throws Error of `node:fs`, with the kernel's answer, such as `EINVAL` for no group that waits
   */
  respond(cookie: number, mapped: boolean): void {
    this.writeBytes(encodeResponse(cookie, mapped));
  }

  /** It lives on while a page table uses it, and goes with the iommufd. @internal */
  protected override destroyed(answer: Answer): void {
    if (answer !== EBUSY) check(answer, { syscall: 'ioctl', request: 'IOMMU_DESTROY' });
  }
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` for what is there and no FaultQueue */
export function checkFaultQueue(value: unknown): void {
  if (value === undefined || FaultQueue.isFaultQueue(value)) return;
  throw invalidType('faultQueue', 'a FaultQueue', value);
}

/** Structs iommu_hwpt_pgfault, one after the other. */
export function decodeFaults(bytes: Uint8Array): IoPageFault[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const faults: IoPageFault[] = [];
  for (let at = 0; at + faultBytes <= bytes.byteLength; at += faultBytes) {
    faults.push(decodeFault(view, at));
  }
  return faults;
}

function decodeFault(view: DataView, at: number): IoPageFault {
  const word = (offset: number): number => view.getUint32(at + offset, littleEndian);
  const flags = word(0);
  const permissions = word(16);
  return {
    devId: word(4),
    pasid: flags & 1 ? word(8) : undefined,
    group: word(12),
    last: (flags & 2) !== 0,
    read: (permissions & 1) !== 0,
    write: (permissions & 2) !== 0,
    execute: (permissions & 4) !== 0,
    privileged: (permissions & 8) !== 0,
    iova: view.getBigUint64(at + 24, littleEndian),
    length: word(32),
    cookie: word(36),
  };
}

/** A struct iommu_hwpt_page_response. */
function encodeResponse(cookie: number, mapped: boolean): Uint8Array {
  if (typeof mapped !== 'boolean') throw invalidType('mapped', 'a boolean', mapped);
  checkId('cookie', cookie);
  const bytes = new Uint8Array(responseBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, cookie, littleEndian);
  view.setUint32(4, mapped ? 0 : 1, littleEndian);
  return bytes;
}
