import { binding, type NativeFd } from '../binding.ts';
import { check } from '../call.ts';

const EINVAL = -22;

/** Of struct vfio_device_info. */
const infoBytes = 24;

/**
 * Whether a cdev is bound, by whomever: until then the kernel refuses every other ioctl with EINVAL,
 * VFIO_DEVICE_GET_INFO among them.
 *
 * @throws VfioError of that ioctl: `EBADF` for a descriptor that is only a path, `EIO`
 */
export function isBound(number: number): boolean {
  const native = binding();
  // For the addon's functions, which take handles; the number stays its owner's.
  const copy = check(native.dup(number), { syscall: 'fcntl' }) as NativeFd;
  const answer = native.getDeviceInfo(copy, infoBytes, new Uint32Array(infoBytes / 4));
  check(native.closeSync(copy), { syscall: 'close' });
  if (answer === EINVAL) return false;
  check(answer, { syscall: 'ioctl', request: 'VFIO_DEVICE_GET_INFO' });
  return true;
}
