import type { Answer } from '../core/binding.ts';
import { type CallName, check, ioctlOf } from '../core/call.ts';
import { EAGAIN, EBUSY, EINVAL } from '../core/errno.ts';
import { explained, messageOf, systemError, VfioError } from '../core/errors.ts';
import { call, pause, type Steps } from '../core/steps.ts';
import type { DeviceState } from './device_state.ts';

/** VFIO_DEVICE_RESET, and what the device had before it. */
export function resetDevice(device: DeviceState): Steps<void> {
  return device.interrupts.inTurn(() => reset(device));
}

function* reset(device: DeviceState): Steps<void> {
  const restore = device.remember();
  const answer = yield* withRetries(
    () => call('reset', device.bound.fd.native),
    () => device.removal !== undefined,
  );
  try {
    checkReset(device, answer);
  } catch (error) {
    // One that has no reset was not touched.
    return yield* restorePeersAfter(error, answer === EINVAL ? [] : [device]);
  }
  yield* restore();
}

/** Throws the error of a reset, and with it what failed in making good what it did. */
export function* restorePeersAfter(error: unknown, devices: readonly DeviceState[]): Steps<never> {
  const errors = [error];
  for (const device of devices) {
    try {
      yield* device.restorePeers();
    } catch (other) {
      errors.push(other);
    }
  }
  if (errors.length === 1) throw error;
  const each = errors.map(messageOf).join('; ');
  const message = `a reset failed, and so did mapping regions again for other devices: ${each}`;
  throw new AggregateError(errors, message, { cause: error });
}

function checkReset(device: DeviceState, answer: Answer): void {
  const named = ioctlOf(device.bound.location, 'VFIO_DEVICE_RESET');
  const { address } = device.bound.location.device;
  if (answer === EINVAL) {
    const message = `EINVAL: ${address} has no reset of its own; planHotReset() tells what else is possible`;
    const error = new VfioError({ ...named, code: 'EINVAL', errno: EINVAL, message });
    throw explained(error, { reason: 'no-reset', certainty: 'certain', facts: { address } });
  }
  checkHeld(device, answer, named);
  check(answer, named);
}

/** Throws where a reset of whatever kind did not get the device's lock. */
export function checkHeld(device: DeviceState, answer: Answer, named: CallName): void {
  if (answer === undefined || !isHeld(answer)) return;
  const { removal } = device;
  const call = { ...named, errno: answer };
  if (removal === undefined) throw systemError(call, 'its lock is held');
  throw explained(systemError(call), removal);
}

/** A lock that another task holds for a moment: tried again so often, so far apart. */
const attempts = 20;
const milliseconds = 10;

/**
 * Makes a call again while a lock of the kernel's is held by somebody else (EAGAIN, EBUSY), until
 * it is clear that it will not be free, or the time is up.
 */
export function* withRetries<T>(call: () => Steps<T>, isHopeless: () => boolean): Steps<T> {
  for (let left = attempts; ; left--) {
    const answer = yield* call();
    if (!isHeld(answer) || left === 1 || isHopeless()) return answer;
    yield* pause(milliseconds);
  }
}

function isHeld(answer: unknown): boolean {
  return answer === EAGAIN || answer === EBUSY;
}
