import { readSync, writeSync } from 'node:fs';
import { endianness } from 'node:os';
import { invalidType, outOfRange } from '../arguments.ts';
import { binding, type NativeFd } from '../binding.ts';
import { check } from '../call.ts';
import { OwnedFd } from '../owned_fd.ts';

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
  read: boolean;
  write: boolean;
  execute: boolean;
  privileged: boolean;
  iova: bigint;
  /** A hint, in bytes: how much the device will need. */
  length: number;
  /** What the answer names it by. */
  cookie: number;
}

/** The kernel's structs have the machine's order of bytes. */
const littleEndian = endianness() === 'LE';

const faultBytes = 40;
const responseBytes = 8;
/** As many as one read takes. */
const most = 64;

/**
 * Where page faults of devices go that can wait for a page (IOMMU_FAULT_QUEUE_ALLOC), for
 * `ioas.createHwpt(device, { faultQueue })`. Not proven on hardware: no device of the lab asks.
 */
export class FaultQueue {
  readonly #fd: OwnedFd;
  readonly #id: number;

  private constructor(fd: OwnedFd, id: number) {
    this.#fd = fd;
    this.#id = id;
  }

  /** @internal */
  static create(iommufd: OwnedFd): FaultQueue {
    const out = new Uint32Array(1);
    const call = { syscall: 'ioctl', request: 'IOMMU_FAULT_QUEUE_ALLOC', path: iommufd.path };
    const fd = check(binding().faultQueueAlloc(iommufd.native, out), call) as NativeFd;
    return new FaultQueue(OwnedFd.adopt(fd, 'the fault queue', iommufd.path), out[0] ?? 0);
  }

  /** Whether it is one, and not only called so. @internal */
  static isFaultQueue(value: unknown): value is FaultQueue {
    return typeof value === 'object' && value !== null && #fd in value;
  }

  /** Its id in the iommufd. */
  get id(): number {
    return this.#id;
  }

  /**
   * The descriptor's number, readable when there are faults. The FaultQueue stays its owner.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get fd(): number {
    return this.#fd.number;
  }

  /**
   * The faults that wait, 64 at most; does not wait for any. Each has to be answered, or the device
   * waits for ever.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  read(): IoPageFault[] {
    const bytes = new Uint8Array(most * faultBytes);
    return decodeFaults(bytes.subarray(0, readSync(this.#fd.number, bytes)));
  }

  /**
   * Answers a group of faults by the cookie of its last: `true` once the pages are mapped, `false`
   * where there are none.
   *
   * @throws TypeError, RangeError
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  respond(cookie: number, mapped: boolean): void {
    const response = encodeResponse(cookie, mapped);
    writeSync(this.#fd.number, response);
  }

  /** Closes the queue; it lives on while a page table uses it. Closing twice is harmless. */
  close(): Promise<void> {
    return this.#fd.close();
  }

  /** As {@link close}, blocking. */
  closeSync(): void {
    this.#fd.closeSync();
  }

  [Symbol.dispose](): void {
    this.closeSync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
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
export function encodeResponse(cookie: number, mapped: boolean): Uint8Array {
  if (typeof mapped !== 'boolean') throw invalidType('mapped', 'a boolean', mapped);
  if (typeof cookie !== 'number') throw invalidType('cookie', 'a number', cookie);
  if (!(Number.isInteger(cookie) && cookie >= 0 && cookie < 2 ** 32)) {
    throw outOfRange('cookie', 'one of a fault', cookie);
  }
  const bytes = new Uint8Array(responseBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, cookie, littleEndian);
  view.setUint32(4, mapped ? 0 : 1, littleEndian);
  return bytes;
}
