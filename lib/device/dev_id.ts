import { VfioError } from '../errors.ts';
import type { SysfsDevice } from '../locate/find_cdev.ts';

/** Only who bound a device has been told its id. */
export function noDevId({ address }: SysfsDevice): VfioError {
  return new VfioError({
    code: 'ERR_VFIO_NO_DEV_ID',
    message: `the id of ${address} in its iommufd is not known, and the kernel tells it only to the program that binds: have it pass its device.devId, and give that to fromFd`,
    device: address,
  });
}
