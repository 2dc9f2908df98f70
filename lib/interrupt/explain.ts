import { systemError, VfioError, type FailedCall } from '../errors.ts';

const EINVAL = -22;
const ENOSPC = -28;

/** Which interrupt could not be enabled, and what stands beside it. */
export interface Attempt {
  name: string;
  vectors: number;
  /** Another of the device's intx, msi and msix that is enabled. */
  rival: string | undefined;
  call: Omit<FailedCall, 'errno'>;
}

/** Whether the kernel had too few vectors: -ENOSPC, or the number that there would be. */
export function isTooFew(answer: number): boolean {
  return answer === ENOSPC || answer > 0;
}

/** The error of an attempt to enable, where `available` vectors would have been had. */
export function tooFew({ name, vectors, call }: Attempt, answer: number, available: number): Error {
  const device = call.device ?? 'the device';
  return new VfioError({
    ...call,
    code: answer > 0 ? 'ERR_VFIO_TOO_FEW_VECTORS' : 'ENOSPC',
    errno: answer > 0 ? undefined : answer,
    message: `the platform has no ${vectors} vectors for ${name} of ${device}, but ${available}; none was enabled`,
    available,
  });
}

/** The error of any other refusal. */
export function refused(attempt: Attempt, answer: number): Error {
  const { name, rival, call } = attempt;
  if (answer === EINVAL && rival !== undefined) {
    return new VfioError({
      ...call,
      code: 'EINVAL',
      errno: answer,
      message: `EINVAL: ${name} of ${call.device ?? 'the device'} cannot be enabled while ${rival} is: a PCI function has one of intx, msi and msix at a time; disable ${rival} first`,
    });
  }
  return systemError({ ...call, errno: answer });
}
