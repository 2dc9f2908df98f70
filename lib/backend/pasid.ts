import { checkInteger, requireObject } from '../core/arguments.ts';

/** Which part of a device's DMA is meant. */
export interface PasidOptions {
  /**
   * A process address space id, 1 to 2^20 - 1: its requests with that id; those without any by
   * default.
   */
  pasid?: number | undefined;
}

/** The kernel's own limit: PASIDs have 20 bits, and 0 stands for the requests without one. */
const mostPasid = 2 ** 20 - 1;

/** @throws TypeError, RangeError */
export function pasidOf(options: PasidOptions): number | undefined {
  requireObject('options', options);
  const { pasid } = options;
  return pasid === undefined ? undefined : checkInteger('pasid', pasid, 1, mostPasid);
}
