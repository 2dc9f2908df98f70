import {
  checkFdNumber,
  checkUnsigned,
  invalidValue,
  outOfRange,
  requireObject,
} from '../core/arguments.ts';
import { ioctlOf } from '../core/call.ts';
import { counted } from '../core/counted.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { call, doing, inOrder, type Steps } from '../core/steps.ts';
import type { DeviceInfo } from '../info/decode.ts';
import { checkWithEventfds, duplicateEventfd, type Eventfd } from '../interrupt/eventfd.ts';
import { checkRange } from '../region/checks.ts';
import { findRegion, type RegionSpec } from '../region/find.ts';

/** A write that the kernel makes whenever an eventfd is signalled. */
export interface IoeventfdOptions {
  /** What `device.region` takes. */
  region: RegionSpec;
  /** Bytes from the region's start. */
  offset: number;
  /** Bytes that are written. */
  width: 1 | 2 | 4 | 8;
  /** What is written: it fits the width. */
  value: number | bigint;
  /** The number of an open eventfd, which may be closed afterwards; null ends such a write. */
  eventfd: number | null;
}

/** VFIO_DEVICE_IOEVENTFD */
export function* setIoeventfd(
  bound: Pick<DeviceNode, 'fd' | 'location'>,
  info: DeviceInfo,
  options: IoeventfdOptions,
): Steps<void> {
  requireObject('options', options);
  const { region, offset, width, value, eventfd } = options;
  const found = findRegion(info, region, bound.location.device);
  if (![1, 2, 4, 8].includes(width)) throw invalidValue('width', '1, 2, 4 or 8 bytes', width);
  checkRange(offset, width, found.size);
  const longs = BigUint64Array.of(found.offset + BigInt(offset), checkValue(value, width));
  const event = eventfd === null ? undefined : duplicateEventfd(checkFdNumber('eventfd', eventfd));
  const close = doing(() => event?.close());
  yield* inOrder(set(bound, width, longs, event), close);
}

function* set(
  { fd, location }: Pick<DeviceNode, 'fd' | 'location'>,
  width: number,
  longs: BigUint64Array,
  event: Eventfd | undefined,
): Steps<void> {
  const answer = yield* call('ioeventfd', fd.native, width, longs, event?.native ?? 0);
  checkWithEventfds(answer, ioctlOf(location, 'VFIO_DEVICE_IOEVENTFD'), [event]);
}

function checkValue(value: unknown, width: number): bigint {
  const checked = checkUnsigned('value', value);
  if (checked < 256n ** BigInt(width)) return checked;
  throw outOfRange('value', `a number of ${counted(width, 'byte')}`, value);
}
