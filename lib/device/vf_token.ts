import type { SysfsDevice } from '../locate/find_cdev.ts';
import { readAttribute, readLinkName } from '../locate/sysfs.ts';
import { processWarning } from '../process_warning.ts';

/** Whether the device is a virtual function, or has some: only then can a token mean anything. */
export function isSriov({ sysfsPath }: SysfsDevice): boolean {
  if (readLinkName(`${sysfsPath}/physfn`) !== undefined) return true;
  return Number(readAttribute(`${sysfsPath}/sriov_numvfs`) ?? 0) > 0;
}

/** Kernels before 6.17 know no tokens on this path: they let everybody in. */
export function warnOfToken({ address }: SysfsDevice): void {
  const message = `${address} was opened without its VF token: this kernel (older than 6.17) does not check tokens of devices that are opened by their cdev`;
  processWarning(message, 'VFIO_VF_TOKEN_NOT_CHECKED');
}
