import { invalidType, invalidValue } from '../arguments.ts';
import { check } from '../call.ts';
import { ioctlOf, type BoundCdev } from '../device/bind.ts';
import type { RegionInfo } from '../device/decode.ts';
import { checkEventfd } from '../interrupt/arguments.ts';
import { Eventfd } from '../interrupt/eventfd.ts';
import { call, type Steps } from '../steps.ts';
import { checkUnsigned } from './dmabuf.ts';

/** A write that the kernel makes whenever an eventfd is signalled. */
export interface IoeventfdOptions {
  /** Name or index of the region. */
  region: string | number;
  /** Bytes from the region's start. */
  offset: number;
  /** Bytes that are written. */
  width: 1 | 2 | 4 | 8;
  value: number | bigint;
  /** The number of an open eventfd, which may be closed afterwards; null ends such a write. */
  eventfd: number | null;
}

/** VFIO_DEVICE_IOEVENTFD */
export function* setIoeventfd(
  bound: BoundCdev,
  regions: readonly RegionInfo[],
  options: IoeventfdOptions,
): Steps<void> {
  const { region, offset, width, value, eventfd } = options;
  const found = regions.find(({ name, index }) => region === name || region === index);
  if (!found) throw invalidValue('region', 'the name or index of a region', region);
  if (![1, 2, 4, 8].includes(width)) throw invalidValue('width', '1, 2, 4 or 8', width);
  if (typeof offset !== 'number') throw invalidType('offset', 'a number of bytes', offset);
  const place = found.offset + checkUnsigned('offset', offset);
  const longs = BigUint64Array.from([place, checkUnsigned('value', value)]);
  const event =
    eventfd === null ? undefined : Eventfd.duplicate(checkEventfd(eventfd), 'the eventfd');
  try {
    const handle = event?.native ?? 0;
    const answer = yield* call('ioeventfd', bound.fd.native, width, longs, handle);
    check(answer, ioctlOf(bound.location, 'VFIO_DEVICE_IOEVENTFD'));
  } finally {
    event?.close();
  }
}
