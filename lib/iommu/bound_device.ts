import { checkId, invalidType } from '../core/arguments.ts';
import type { CallName } from '../core/call.ts';
import { ENOENT } from '../core/errno.ts';
import { explained, systemError, type VfioError } from '../core/errors.ts';

/** A device that is bound to an iommufd, such as a VfioDevice. */
export interface BoundDevice {
  /** Its id in the iommufd. */
  readonly devId: number;
  /**
   * The {@link Iommufd}; one that does not say so is taken to be bound to the one that is asked.
   */
  readonly iommufd?: object | undefined;
  /** For errors. */
  readonly device?: { readonly address: string } | undefined;
}

/**
 * The device's id in the iommufd of this identity, for a request to that.
 *
 * @throws TypeError, RangeError
 * @throws VfioError `ENOENT`, reason `other-iommufd`: the id may be another device's there
 */
export function devIdOf(device: unknown, identity: string, call: CallName): number {
  if (typeof device !== 'object' || device === null || !('devId' in device)) {
    throw invalidType('device', 'a VfioDevice, or { devId }', device);
  }
  const { devId, iommufd, device: facts } = device as Record<keyof BoundDevice, unknown>;
  const id = checkId('device.devId', devId);
  if (iommufd === undefined) return id;
  if (!hasIdentity(iommufd)) throw invalidType('device.iommufd', 'an Iommufd', iommufd);
  if (iommufd.identity === identity) return id;
  const address = (facts as BoundDevice['device'])?.address;
  throw otherIommufd(address ?? `device ${id}`, call);
}

/** Iommufd's own file knows this one. */
function hasIdentity(iommufd: unknown): iommufd is { readonly identity: unknown } {
  return typeof iommufd === 'object' && iommufd !== null && 'identity' in iommufd;
}

/**
 * The kernel is not asked: it knows devices and address spaces by ids, which repeat in each
 * iommufd.
 */
export function otherIommufd(device: string, call: CallName): VfioError {
  const cause = { reason: 'other-iommufd', certainty: 'certain', facts: { device } } as const;
  return explained(systemError({ errno: ENOENT, ...call }), cause);
}
