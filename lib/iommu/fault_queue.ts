import { checkId, checkSignal, invalidType, requireObject } from '../core/arguments.ts';
import { binding, type NativeFd } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { check } from '../core/call.ts';
import { Closable } from '../core/closable.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { readable, Readiness } from '../core/readiness.ts';
import { littleEndian } from '../core/structs.ts';

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

/** How to wait for faults. */
export interface FaultOptions {
  /** Aborting throws the signal's reason. */
  signal?: AbortSignal | undefined;
}

const faultBytes = 40;
const responseBytes = 8;
/** How many faults one read takes. */
const most = 64;

/**
 * Where page faults of devices go that can wait for a page (IOMMU_FAULT_QUEUE_ALLOC), for
 * `ioas.createHwpt(device, { faultQueue })`. Not proven on hardware: no device of the lab asks.
 */
export class FaultQueue extends Closable {
  readonly #fd: OwnedFd;
  readonly #id: number;
  readonly #readiness: Readiness;

  static {
    defineInspect(this, 'FaultQueue', (queue) => ({
      id: queue.#id,
      state: queue.#fd.closed ? 'closed' : 'open',
    }));
  }

  private constructor(fd: OwnedFd, id: number) {
    super();
    this.#fd = fd;
    this.#id = id;
    this.#readiness = new Readiness(fd);
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
    return decodeFaults(bytes.subarray(0, fs.readSync(this.#fd.number, bytes)));
  }

  /**
   * Resolves when `read()` has something; the event loop polls the queue, and is kept alive
   * meanwhile.
   *
   * @throws TypeError; VfioError `ERR_VFIO_CLOSED`, also where it is closed meanwhile
   * @throws the signal's reason
   */
  async wait(options: FaultOptions = {}): Promise<void> {
    await this.#readiness.wait(readable, signalOf(options));
  }

  /**
   * The faults, for `for await`: each time all that `read()` answers. The loop is over when the
   * queue is closed; aborting throws the signal's reason into it. Of several loops each fault is in
   * one.
   *
   * @throws TypeError
   */
  faults(options: FaultOptions = {}): AsyncIterableIterator<IoPageFault[]> {
    return this.#faults(signalOf(options));
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<IoPageFault[]> {
    return this.faults();
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
    fs.writeSync(this.#fd.number, response);
  }

  /** Closes the queue; it lives on while a page table uses it. Closing twice is harmless. */
  close(): Promise<void> {
    this.#readiness.end('the fault queue');
    return this.#fd.close();
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    this.#readiness.end('the fault queue');
    this.#fd.closeSync();
  }

  async *#faults(signal: AbortSignal | undefined): AsyncGenerator<IoPageFault[], undefined> {
    const isOpen = (): boolean => !this.#fd.closed;
    while (isOpen()) {
      try {
        await this.#readiness.wait(readable, signal);
      } catch (error) {
        if (isOpen()) throw error;
        return;
      }
      // Another thread may have been faster.
      const faults = this.read();
      if (faults.length > 0) yield faults;
    }
  }
}

function signalOf(options: FaultOptions): AbortSignal | undefined {
  requireObject('options', options);
  const { signal } = options;
  checkSignal(signal);
  return signal;
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
