import type { ErrnoName } from '../core/errors.ts';
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
   * `errno` or `answer` says otherwise. The forms that block cannot wait.
   */
  until?: Promise<unknown> | undefined;
  /** How many calls; 1 by default, Infinity for all. */
  times?: number | undefined;
  /** How many calls are let pass before. */
  skip?: number | undefined;
  /** Only those on this device, by its address. */
  device?: string | undefined;
}

/** Something that was injected. */
export class Injection {
  readonly #options: InjectOptions;
  #skip: number;
  #left: number;
  #hits = 0;

  /** @internal */
  constructor(options: InjectOptions) {
    const { errno, answer, until, times = 1, skip = 0 } = options;
    if (errno === undefined && answer === undefined && until === undefined) {
      throw new TypeError('an injection has an errno, an answer, or something to wait for');
    }
    if (errno !== undefined) errnoOf(errno);
    this.#options = options;
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
