import type { ErrnoName } from '../core/errors.ts';
import { checkInteger, invalidType, invalidValue, requireObject } from '../core/arguments.ts';
import { errnoOf } from './errno.ts';

/** What the fake kernel can be told to refuse: a system call, or an ioctl by its name. */
export type FakeCall =
  | 'open'
  | 'close'
  | 'mmap'
  | 'pread'
  | 'pwrite'
  /** An access of mapped memory: EIO is what the package makes of a SIGBUS. */
  | 'load'
  | 'store'
  | 'VFIO_DEVICE_BIND_IOMMUFD'
  | 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'
  | 'VFIO_DEVICE_DETACH_IOMMUFD_PT'
  | 'VFIO_DEVICE_GET_INFO'
  | 'VFIO_DEVICE_GET_REGION_INFO'
  | 'VFIO_DEVICE_GET_IRQ_INFO'
  | 'VFIO_DEVICE_SET_IRQS'
  | 'VFIO_DEVICE_RESET'
  | 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO'
  | 'VFIO_DEVICE_PCI_HOT_RESET'
  | 'VFIO_DEVICE_FEATURE'
  | 'IOMMU_IOAS_ALLOC'
  | 'IOMMU_IOAS_ALLOW_IOVAS'
  | 'IOMMU_IOAS_COPY'
  | 'IOMMU_IOAS_IOVA_RANGES'
  | 'IOMMU_IOAS_MAP'
  | 'IOMMU_IOAS_MAP_FILE'
  | 'IOMMU_IOAS_UNMAP'
  | 'IOMMU_DESTROY'
  | 'IOMMU_HWPT_ALLOC'
  | 'IOMMU_OPTION';

/** What a call is to answer instead. */
export interface InjectOptions {
  /** Which call: a system call, an access or an ioctl's request. */
  call: FakeCall;
  /** The error, by its name: `EBUSY`. */
  errno?: ErrnoName | undefined;
  /** A number that the call is to answer: VFIO_DEVICE_SET_IRQS with how many vectors there would be. */
  answer?: number | undefined;
  /**
   * The call waits for this before it does anything else, and then does what it always does unless
   * `errno` or `answer` says otherwise. That is for the calls of which the package has a promise:
   * `close`, `pwrite` (of `setPowerState`), `VFIO_DEVICE_BIND_IOMMUFD`, `…_ATTACH_IOMMUFD_PT`, `…_DETACH_IOMMUFD_PT`,
   * `…_SET_IRQS`, `…_RESET`, `…_GET_PCI_HOT_RESET_INFO`, `…_PCI_HOT_RESET` and `…_FEATURE`,
   * `IOMMU_IOAS_MAP`, `…_MAP_FILE`, `…_UNMAP` and `…_COPY`, `IOMMU_DESTROY`, `IOMMU_HWPT_ALLOC`. Their
   * `Sync` forms block, and do not wait. An open of a device takes as long as its
   * `VFIO_DEVICE_BIND_IOMMUFD`; its other calls never block for long, and have no promise.
   */
  until?: Promise<unknown> | undefined;
  /** How many calls; 1 by default, Infinity for all. */
  times?: number | undefined;
  /** How many calls are let pass before. */
  skip?: number | undefined;
  /** Only those on this device, by its address. */
  device?: string | undefined;
}

/** Of each call, whether the package has a promise of it, which can wait. */
const canWait: Readonly<Record<FakeCall, boolean>> = {
  open: false,
  close: true,
  mmap: false,
  pread: false,
  pwrite: true,
  load: false,
  store: false,
  VFIO_DEVICE_BIND_IOMMUFD: true,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT: true,
  VFIO_DEVICE_DETACH_IOMMUFD_PT: true,
  VFIO_DEVICE_GET_INFO: false,
  VFIO_DEVICE_GET_REGION_INFO: false,
  VFIO_DEVICE_GET_IRQ_INFO: false,
  VFIO_DEVICE_SET_IRQS: true,
  VFIO_DEVICE_RESET: true,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: true,
  VFIO_DEVICE_PCI_HOT_RESET: true,
  VFIO_DEVICE_FEATURE: true,
  IOMMU_IOAS_ALLOC: false,
  IOMMU_IOAS_ALLOW_IOVAS: false,
  IOMMU_IOAS_COPY: true,
  IOMMU_IOAS_IOVA_RANGES: false,
  IOMMU_IOAS_MAP: true,
  IOMMU_IOAS_MAP_FILE: true,
  IOMMU_IOAS_UNMAP: true,
  IOMMU_DESTROY: true,
  IOMMU_HWPT_ALLOC: true,
  IOMMU_OPTION: false,
};

/** @throws TypeError, RangeError */
function checkOptions(options: InjectOptions): void {
  requireObject('options', options);
  const { call, errno, answer, until, times = 1, skip = 0, device } = options;
  if (typeof call !== 'string') throw invalidType('options.call', 'a string', call);
  if (!Object.hasOwn(canWait, call)) {
    throw invalidValue('options.call', 'the name of a call of VFIO or iommufd', call);
  }
  if (errno === undefined && answer === undefined && until === undefined) {
    throw invalidValue('options', 'with an errno, an answer, or something to wait for', options);
  }
  if (errno !== undefined) errnoOf(errno);
  if (answer !== undefined) checkInteger('options.answer', answer, -4095, 2 ** 32 - 1);
  if (until !== undefined) checkUntil(call, until);
  if (times !== Infinity) checkInteger('options.times', times, 0, Number.MAX_SAFE_INTEGER);
  checkInteger('options.skip', skip, 0, Number.MAX_SAFE_INTEGER);
  if (device === undefined || typeof device === 'string') return;
  throw invalidType('options.device', 'the address of a device', device);
}

function checkUntil(call: FakeCall, until: unknown): void {
  const isPromise = typeof until === 'object' && until !== null && 'then' in until;
  if (!isPromise) throw invalidType('options.until', 'a promise', until);
  if (canWait[call]) return;
  const which = call === 'open' ? ' (an open waits by its VFIO_DEVICE_BIND_IOMMUFD)' : '';
  throw invalidValue('options.until', `undefined: ${call} has no promise to wait${which}`, until);
}

/** Something that was injected. */
export class Injection {
  readonly #options: InjectOptions;
  #skip: number;
  #left: number;
  #hits = 0;

  /** @internal */
  constructor(options: InjectOptions) {
    checkOptions(options);
    const { times = 1, skip = 0 } = options;
    this.#options = { ...options };
    this.#skip = skip;
    this.#left = times;
  }

  /** How many calls it has hit. */
  get hits(): number {
    return this.#hits;
  }

  /** Ends it: calls do what they always do. */
  remove(): void {
    this.#left = 0;
  }

  /** What the call answers; undefined: nothing else than always. @internal */
  get answer(): number | undefined {
    const { errno, answer } = this.#options;
    return errno === undefined ? answer : errnoOf(errno);
  }

  /** @internal */
  get until(): Promise<unknown> | undefined {
    return this.#options.until;
  }

  /** Whether it is for this call; counts it. @internal */
  take(call: FakeCall, device: string | undefined): boolean {
    const { call: wanted, device: only } = this.#options;
    if (this.#left <= 0 || call !== wanted) return false;
    if (only !== undefined && only !== device) return false;
    if (this.#skip > 0) {
      this.#skip--;
      return false;
    }
    this.#left--;
    this.#hits++;
    return true;
  }
}

/** All that was injected: of several for one call, the oldest is taken. */
export class Injections {
  readonly #all: Injection[] = [];

  add(options: InjectOptions): Injection {
    const injection = new Injection(options);
    this.#all.push(injection);
    return injection;
  }

  take(call: FakeCall, device: string | undefined): Injection | undefined {
    return this.#all.find((each) => each.take(call, device));
  }

  clear(): void {
    for (const each of this.#all.splice(0)) each.remove();
  }
}
