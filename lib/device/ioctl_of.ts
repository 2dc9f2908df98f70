import type { CallName } from '../call.ts';
import type { CdevLocation } from '../locate/find_cdev.ts';

/** How an ioctl on a device's node is called in errors. */
export function ioctlOf({ path, device }: CdevLocation, request?: string): CallName {
  return { syscall: 'ioctl', request, path, device: device.address };
}
