import { ioctlOf } from '../device/opened.ts';
import { explained } from '../diagnose/explained.ts';
import { intxCause } from '../diagnose/intx_cause.ts';
import { systemError, VfioError } from '../errors.ts';
import type { NodeLocation } from '../locate/find_cdev.ts';
import type { Roots } from '../locate/roots.ts';

const EBUSY = -16;
const EINVAL = -22;
const ENOSPC = -28;
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

/** The error of an attempt to enable, where `available` vectors would have been had. */
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
    message: `the platform has no ${vectors} vectors for ${name} of ${address}, but ${available}; none was enabled`,
    available,
  });
}

/** The error of any other refusal. */
export function refused(attempt: Attempt, answer: number): Error {
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
  const error = systemError({ ...call, errno: answer });
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
