import type { Answer, NativeFd } from '../core/binding.ts';
import { type CallName, check, ioctlOf } from '../core/call.ts';
import { EINVAL, ENOTTY, EOPNOTSUPP } from '../core/errno.ts';
import { VfioError } from '../core/errors.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { call, type Steps } from '../core/steps.ts';

/** VFIO_DEVICE_FEATURE_GET and so on. */
export const operation = { get: 0x10000, set: 0x20000, probe: 0x40000 } as const;

/** Nothing: the data of features that are switched. */
export const noData: Uint8Array = new Uint8Array(0);

/**
 * VFIO_DEVICE_FEATURE on one device: errors that say what is lacking, and since when it is there.
 */
export class FeatureCalls {
  readonly #bound: Pick<DeviceNode, 'fd' | 'location'>;

  constructor(bound: Pick<DeviceNode, 'fd' | 'location'>) {
    this.#bound = bound;
  }

  /** @throws VfioError `ERR_VFIO_CLOSED` */
  get native(): NativeFd {
    return this.#bound.fd.native;
  }

  get address(): string {
    return this.#bound.location.device.address;
  }

  /** What `inspect` shows of a part. */
  get shown(): object {
    return { address: this.address, state: this.#bound.fd.closed ? 'closed' : 'open' };
  }

  /** How a call is named in errors. */
  named(request = 'VFIO_DEVICE_FEATURE'): CallName {
    return ioctlOf(this.#bound.location, request);
  }

  /** Features whose data are bytes; answers them as the kernel left them. */
  *bytesOf(flags: number, bytes: Uint8Array): Steps<Uint8Array> {
    return this.bytes(yield* call('feature', this.native, flags, bytes), flags);
  }

  /** The array that a native function answered. */
  bytes<T extends object>(answer: T | Answer, flags: number): T {
    if (typeof answer === 'object') return answer;
    this.check(answer, flags);
    throw new Error('vfio: the addon answered a number for bytes; please report this bug');
  }

  /** The number that a native function answered. */
  check(answer: Answer, flags: number): number {
    if (answer === ENOTTY || answer === EOPNOTSUPP) throw this.#unsupported(answer, flags);
    return check(answer, this.named());
  }

  /** What a probe answered: EINVAL says that the feature is there and the operation is not. */
  isThere(answer: object | Answer): boolean {
    if (typeof answer === 'object') return true;
    if (answer === EINVAL || answer === ENOTTY || answer === EOPNOTSUPP) return false;
    check(answer, this.named());
    return true;
  }

  #unsupported(errno: number, flags: number): VfioError {
    const index = flags & 0xffff;
    const { name = `feature ${index}`, since } = featureNames[index] ?? {};
    const kernel = since === undefined ? '' : ` or the kernel is older than ${since}, which has it`;
    return new VfioError({
      ...this.named(),
      code: 'ERR_VFIO_UNSUPPORTED',
      errno,
      message: `${this.address} has no ${name}: its driver cannot do it${kernel}`,
    });
  }
}

/** A feature of VFIO_DEVICE_FEATURE, as linux/vfio.h numbers and names it. */
export interface FeatureName {
  /** Its number in linux/vfio.h. */
  index: number;
  /** The kernel's name without `VFIO_DEVICE_FEATURE_`, in lower case: `mig-data-size`. */
  name: string;
  /** The first kernel that has it, in drivers that can do it. */
  since: string;
}

/**
 * VFIO_DEVICE_FEATURE_* of linux/vfio.h up to Linux 7.3, in the order of their numbers: name, first
 * kernel.
 */
const table = {
  vfToken: ['pci-vf-token', '5.7'],
  migration: ['migration', '5.18'],
  migrationState: ['mig-device-state', '5.18'],
  lowPowerEntry: ['low-power-entry', '6.1'],
  lowPowerEntryWithWakeup: ['low-power-entry-with-wakeup', '6.1'],
  lowPowerExit: ['low-power-exit', '6.1'],
  dmaLoggingStart: ['dma-logging-start', '6.1'],
  dmaLoggingStop: ['dma-logging-stop', '6.1'],
  dmaLoggingReport: ['dma-logging-report', '6.1'],
  migrationDataSize: ['mig-data-size', '6.2'],
  busMaster: ['bus-master', '6.7'],
  dmaBuf: ['dma-buf', '6.19'],
  precopyInfoV2: ['mig-precopy-info-v2', '7.1'],
  zpciError: ['zpci-error', '7.3'],
} as const;

/** By their numbers. */
export const featureNames: readonly FeatureName[] = Object.values(table).map(
  ([name, since], index) => ({ index, name, since }),
);

/** Their numbers. */
export const feature = Object.fromEntries(
  Object.keys(table).map((key, index) => [key, index]),
) as Readonly<Record<keyof typeof table, number>>;
