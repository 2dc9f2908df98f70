import type { SysfsDevice } from '../locate/find_cdev.ts';
import { readLinkName } from '../locate/sysfs.ts';
import type { Cause } from '../reasons.ts';

/** The token was missing, or another: a virtual function's is that of its physical function. */
export function tokenCause({ sysfsPath, address }: SysfsDevice): Cause<'vf-token-required'> {
  const physicalFunction = readLinkName(`${sysfsPath}/physfn`) ?? address;
  return { reason: 'vf-token-required', certainty: 'certain', facts: { physicalFunction } };
}
