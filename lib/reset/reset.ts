import { binding, type Answer } from '../binding.ts';
import { check } from '../call.ts';
import { ioctlOf } from '../device/bind.ts';
import { VfioError } from '../errors.ts';
import type { Resettable } from './resettable.ts';
import { isHeld, withRetries, withRetriesSync } from './retry.ts';

const EINVAL = -22;

/** VFIO_DEVICE_RESET, and what the device had before it. */
export function resetDevice(device: Resettable): Promise<void> {
  const { native } = device.bound.fd;
  return device.interrupts.turns.run(async () => {
    const restore = device.remember();
    const isWanted = (): boolean => device.wanted;
    checkReset(device, await withRetries(() => binding().reset(native), isWanted));
    await restore();
  });
}

/** As {@link resetDevice}, blocking. */
export function resetDeviceSync(device: Resettable): void {
  const { native } = device.bound.fd;
  device.interrupts.requireNoTurn();
  const restore = device.rememberSync();
  const isWanted = (): boolean => device.wanted;
  checkReset(
    device,
    withRetriesSync(() => binding().resetSync(native), isWanted),
  );
  restore();
}

function checkReset(device: Resettable, answer: Answer): void {
  const call = ioctlOf(device.bound.location, 'VFIO_DEVICE_RESET');
  const { address } = device.bound.location.device;
  if (answer === EINVAL) {
    const message = `EINVAL: ${address} has no reset of its own; planHotReset() tells what else is possible`;
    throw new VfioError({ ...call, code: 'EINVAL', errno: EINVAL, message });
  }
  if (answer !== undefined && isHeld(answer)) {
    const why = device.wanted ? 'it is being removed: close it' : 'its lock is held';
    const message = `EAGAIN: ${address} could not be reset, ${why}`;
    throw new VfioError({ ...call, code: 'EAGAIN', errno: answer, message });
  }
  check(answer, call);
}
