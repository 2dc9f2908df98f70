import { VfioError } from './errors.ts';

/**
 * The package can be imported everywhere; only what reaches for a device needs Linux.
 *
 * @throws VfioError `ERR_VFIO_UNSUPPORTED_PLATFORM`
 */
export function requireLinux(): void {
  if (process.platform === 'linux') return;
  throw new VfioError({
    code: 'ERR_VFIO_UNSUPPORTED_PLATFORM',
    message: `VFIO is an interface of the Linux kernel; this is ${process.platform}`,
  });
}
