import {
  checkFdNumber,
  checkInteger,
  elementsOf,
  invalidType,
  invalidValue,
} from '../core/arguments.ts';
import { type Answer, binding } from '../core/binding.ts';
import { check, ioctlOf } from '../core/call.ts';
import { counted } from '../core/counted.ts';
import { EBUSY, ECANCELED, EINVAL, ENOSPC } from '../core/errno.ts';
import { explained, systemError, VfioError } from '../core/errors.ts';
import type { NodeLocation, Roots } from '../core/location.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { call, type Steps } from '../core/steps.ts';
import { intxCause } from '../diagnose/device_causes.ts';
import type { IrqInfo } from '../info/decode.ts';
import { checkWithEventfds, explainEventfds, type VectorEventfd } from './eventfd.ts';

/** VFIO_IRQ_SET_ACTION_* of linux/vfio.h. */
export const action = { mask: 8, unmask: 16, trigger: 32 } as const;

export type Action = (typeof action)[keyof typeof action];

/** Who has an interrupt, of those in this process that have the device. */
export const owner = { nobody: 0, self: 1, another: 2 } as const;

export type Owner = (typeof owner)[keyof typeof owner];

/**
 * VFIO_DEVICE_SET_IRQS on one index of a device. Tying and freeing lines waits for interrupts in
 * flight; the rest is done in no time.
 */
export class IrqLines {
  readonly #device: DeviceNode;
  readonly #index: number;

  constructor(device: DeviceNode, index: number) {
    this.#device = device;
    this.#index = index;
  }

  /** Whether nobody else has the interrupt; from then on this device has it. */
  claim(): boolean {
    const answer = binding().irqsClaim(this.#device.fd.native, this.#index);
    return check(answer, { syscall: 'irqsClaim' }) === 1;
  }

  /** Undoes {@link claim} where the interrupt is not enabled. */
  unclaim(): void {
    const { fd } = this.#device;
    if (fd.closed) return;
    check(binding().irqsUnclaim(fd.native, this.#index), { syscall: 'irqsUnclaim' });
  }

  /** Who has it. Throws `ERR_VFIO_CLOSED`. */
  get owner(): Owner {
    const answer = binding().irqsOwner(this.#device.fd.native, this.#index);
    return check(answer, { syscall: 'irqsOwner' }) as Owner;
  }

  /** Disables the interrupt, whoever has it, who is told. */
  *release(): Steps<void> {
    this.check(yield* call('irqsRelease', this.#device.fd.native, this.#index));
  }

  /** Ties eventfds to the vectors from `start` on: 0, -errno or how many vectors there would be. */
  *setEventfds(act: Action, start: number, lines: readonly VectorEventfd[]): Steps<number> {
    const { native } = this.#device.fd;
    const handles = handlesOf(lines);
    return known(yield* call('setIrqsEventfd', native, act, this.#index, start, handles));
  }

  /**
   * Frees every line, and keeps the interrupt; none is signalled when this is done. EINVAL says that
   * none is tied, as where tying them again after a reset failed.
   */
  *disable(): Steps<void> {
    const { native } = this.#device.fd;
    const answer = yield* call('setIrqs', native, action.trigger, this.#index, 0, 0);
    if (answer !== EINVAL) this.check(answer);
  }

  /**
   * The most vectors that can be enabled where so many cannot: by trying, since nothing says it.
   */
  *findAvailable(lines: readonly VectorEventfd[]): Steps<number> {
    let [enough, tooMany] = [0, lines.length];
    while (tooMany - enough > 1) {
      const middle = Math.floor((enough + tooMany) / 2);
      const answer = yield* this.setEventfds(action.trigger, 0, lines.slice(0, middle));
      if (answer === 0) yield* this.disable();
      if (answer === 0) enough = middle;
      else if (isTooFew(answer)) tooMany = middle;
      else this.check(answer);
    }
    return enough;
  }

  /** Masks, unmasks or triggers one vector. */
  act(act: Action, vector: number): Answer {
    return binding().setIrqsSync(this.#device.fd.native, act, this.#index, vector, 1);
  }

  /** The same for those from vector 0 on that are true. */
  actOn(act: Action, which: readonly boolean[]): Answer {
    const bytes = Uint8Array.from(which, Number);
    return binding().setIrqsBoolSync(this.#device.fd.native, act, this.#index, 0, bytes);
  }

  /** Throws what the kernel answered, to a call with these. */
  check(answer: Answer, eventfds: readonly VectorEventfd[] = []): void {
    if (answer === ECANCELED) throw this.taken();
    checkWithEventfds(answer, ioctlOf(this.#device.location, 'VFIO_DEVICE_SET_IRQS'), eventfds);
  }

  /** The error of what only the owner of an interrupt may do, and is not any more. */
  taken(): VfioError {
    const { address } = this.#device.location.device;
    return new VfioError({
      code: 'ERR_VFIO_IRQ_DISABLED',
      message: `another owner of ${address} in this process disabled the interrupt meanwhile`,
      device: address,
    });
  }
}

function handlesOf(lines: readonly VectorEventfd[]): Uint32Array {
  return Uint32Array.from(lines, (line) => line?.native ?? 0);
}

/** The addon refuses nothing that we give it; where a worker ends it takes no call any more. */
function known(answer: Answer): number {
  if (answer !== undefined) return answer;
  return check(undefined, { syscall: 'ioctl', request: 'VFIO_DEVICE_SET_IRQS' });
}

const request = 'VFIO_DEVICE_SET_IRQS';

/** Which interrupt could not be enabled, and what stands beside it. */
export interface Attempt {
  name: string;
  vectors: number;
  /** Another of the device's intx, msi and msix that is enabled. */
  rival: string | undefined;
  location: NodeLocation;
  roots: Roots;
}

/** Whether the kernel had too few vectors: -ENOSPC, or the number that there would be. */
export function isTooFew(answer: number): boolean {
  return answer === ENOSPC || answer > 0;
}

/**
 * The error of an attempt to enable, where `available` vectors would have been had. The kernel tells
 * whatever goes wrong with the vectors of MSI and MSI-X so, a lack of memory, too
 * (`msi_handle_pci_fail` of kernel/irq/msi.c).
 */
export function tooFew(
  { name, vectors, location }: Attempt,
  answer: number,
  available: number,
): Error {
  const { address } = location.device;
  return new VfioError({
    ...ioctlOf(location, request),
    code: answer > 0 ? 'ERR_VFIO_TOO_FEW_VECTORS' : 'ENOSPC',
    errno: answer > 0 ? undefined : answer,
    message: `the kernel gives ${available} of the ${counted(vectors, 'vector')} asked for ${name} of ${address}: it lacks vectors, or memory; none was enabled`,
    available,
  });
}

/** The error of any other refusal. */
export function refused(
  attempt: Attempt,
  answer: number,
  eventfds: readonly VectorEventfd[],
): Error {
  const { name, rival, location, roots } = attempt;
  const call = ioctlOf(location, request);
  if (answer === EINVAL && rival !== undefined) {
    return new VfioError({
      ...call,
      code: 'EINVAL',
      errno: answer,
      message: `EINVAL: ${name} of ${location.device.address} cannot be enabled while ${rival} is: a PCI function has one of intx, msi and msix at a time; disable ${rival} first`,
    });
  }
  const error = explainEventfds(systemError({ ...call, errno: answer }), eventfds);
  if (answer !== EBUSY || name !== 'intx') return error;
  return explained(error, intxCause(location.device, roots.sysfsRoot));
}

/** The error of what only an enabled interrupt takes. */
export function disabledError(location: NodeLocation, interrupt: string): VfioError {
  const { address } = location.device;
  const error = systemError({ ...ioctlOf(location, request), errno: EINVAL });
  const facts = { address, interrupt };
  return explained(error, { reason: 'irq-disabled', certainty: 'certain', facts });
}

/** What to enable: so many vectors from 0 on, or the caller's own eventfds. */
export interface EnableOptions {
  /**
   * Numbers of the caller's own eventfds, one for each vector from 0 on, as KVM's irqfds are; null
   * leaves a vector without. They may be closed afterwards: the package keeps duplicates.
   */
  eventfds: readonly (number | null)[];
}

/** @throws TypeError, RangeError for a number of vectors that the device does not have */
export function checkVectors(vectors: unknown, { name, count }: IrqInfo): number {
  const expected = `an integer from 1 to ${count}, the vectors of ${name}`;
  return checkInteger('vectors', vectors, 1, count, expected);
}

/** @throws TypeError, RangeError */
export function checkVector(vector: unknown, { name, count }: IrqInfo): number {
  const expected = `an integer from 0 to ${count - 1}, a vector of ${name}`;
  return checkInteger('vector', vector, 0, count - 1, expected);
}

/** @throws TypeError, RangeError */
export function checkEventfds(eventfds: unknown, irq: IrqInfo): readonly (number | null)[] {
  const expected = 'an array of descriptor numbers and nulls';
  if (!Array.isArray(eventfds)) throw invalidType('eventfds', expected, eventfds);
  checkVectors(eventfds.length, irq);
  return elementsOf(eventfds).map((eventfd) => {
    return eventfd === null ? null : checkFdNumber('eventfd', eventfd);
  });
}

/** @throws TypeError, RangeError */
export function checkWhich(which: unknown, irq: IrqInfo): number | readonly boolean[] {
  if (!Array.isArray(which)) return checkVector(which, irq);
  checkVectors(which.length, irq);
  return elementsOf(which).map((one) => {
    if (typeof one === 'boolean') return one;
    throw invalidValue('which', 'a vector or an array of booleans', which);
  });
}
