import type { Answer } from '../binding.ts';
import { check, type CallName } from '../call.ts';
import { ioctlOf } from '../device/opened.ts';
import { explained } from '../diagnose/explained.ts';
import { messageOf, systemError, VfioError } from '../errors.ts';
import { call, run, runSync, type Steps } from '../steps.ts';
import type { Resettable } from './resettable.ts';
import { isHeld, withRetries } from './retry.ts';

const EINVAL = -22;

/** VFIO_DEVICE_RESET, and what the device had before it. */
export function resetDevice(device: Resettable): Promise<void> {
  return device.interrupts.turns.run(() => run(reset(device)));
}

/** As {@link resetDevice}, blocking. */
export function resetDeviceSync(device: Resettable): void {
  device.interrupts.requireNoTurn();
  runSync(reset(device));
}

function* reset(device: Resettable): Steps<void> {
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
export function* restorePeersAfter(error: unknown, devices: readonly Resettable[]): Steps<never> {
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

function checkReset(device: Resettable, answer: Answer): void {
  const named = ioctlOf(device.bound.location, 'VFIO_DEVICE_RESET');
  const { address } = device.bound.location.device;
  if (answer === EINVAL) {
    const message = `EINVAL: ${address} has no reset of its own; planHotReset() tells what else is possible`;
    throw new VfioError({ ...named, code: 'EINVAL', errno: EINVAL, message });
  }
  checkHeld(device, answer, named);
  check(answer, named);
}

/** Throws where a reset of whatever kind did not get the device's lock. */
export function checkHeld(device: Resettable, answer: Answer, named: CallName): void {
  if (answer === undefined || !isHeld(answer)) return;
  const { removal } = device;
  const call = { ...named, errno: answer };
  if (removal === undefined) throw systemError(call, 'its lock is held');
  throw explained(systemError(call), removal);
}
