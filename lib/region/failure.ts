import type { Answer } from '../binding.ts';
import { check } from '../call.ts';
import { systemError, VfioError, type FailedCall } from '../errors.ts';
import type { RegionOwner } from './owner.ts';

const EIO = -5;
const asleep =
  'memory decoding is off (PCI command register), or the device is in a low-power state or gone';

/** The error of a transfer that the kernel refused. */
export function transferError(call: FailedCall): VfioError {
  return systemError(call, call.errno === EIO ? asleep : undefined);
}

/** The error where a configuration space reads as ones. */
export function noAnswerError(device: string): VfioError {
  const message = `EIO: ${device} does not answer, its configuration space reads as ones: it is gone, or asleep`;
  return new VfioError({ code: 'EIO', errno: EIO, message, device });
}

/** Where an access went: the part of a region that is mapped. */
interface Place {
  owner: Pick<RegionOwner, 'location'>;
  name: string;
  offset: number;
}

/**
 * The error of an access of mapped memory: what the addon answered to the method `call`.
 *
 * @param offset - in the mapping; undefined where one of many faulted
 */
export function faultError(
  { owner, name, offset: start }: Place,
  call: string,
  offset: number | undefined,
  answer: Answer,
): Error {
  const { path, device } = owner.location;
  const region = offset === undefined ? name : `${name}+0x${(start + offset).toString(16)}`;
  const where = { device: device.address, region, path };
  if (answer !== EIO) {
    check(answer, { syscall: call, ...where });
    return new Error(`vfio: ${call} answered ${answer}; please report this bug`);
  }
  const message = `EIO: ${call} of ${region} of ${device.address} was not answered: ${asleep}`;
  return new VfioError({ code: 'EIO', errno: EIO, message, ...where });
}
