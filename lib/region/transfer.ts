import { type Answer, binding } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { counted } from '../core/counted.ts';
import { EINVAL } from '../core/errno.ts';
import { explained, systemError, VfioError } from '../core/errors.ts';
import { call, type Steps } from '../core/steps.ts';
import type { RegionInfo } from '../info/decode.ts';
import { transferError } from './access_errors.ts';
import { refused, short } from './mailbox.ts';
import type { RegionOwner } from './owner.ts';

/** Where VGA answers on the bus, and so in the region: from one offset to another. */
const vgaWindows = [
  [0x3b0, 0x3bc],
  [0x3c0, 0x3e0],
  [0xa0000, 0xc0000],
] as const;

function isInWindow(offset: number, length: number): boolean {
  return vgaWindows.some(([start, end]) => start <= offset && offset + length <= end);
}

/** Where a region is: in which device, and in two halves where it starts in the descriptor. */
export interface RegionPlace {
  owner: RegionOwner;
  name: string;
  high: number;
  low: number;
}

export function placeOf(owner: RegionOwner, { name, offset }: RegionInfo): RegionPlace {
  return { owner, name, high: Number(offset >> 32n), low: Number(offset & 0xffffffffn) };
}

/** Fills `bytes` from a place in a region that was checked to lie in it. */
export function readBytes(place: RegionPlace, offset: number, bytes: Uint8Array): Uint8Array {
  const { owner, high, low } = place;
  const count = binding().pread(owner.fd.native, high, low, offset, bytes);
  if (count !== bytes.length) throw failure(place, 'pread', offset, bytes.length, count);
  return bytes;
}

/** Writes as {@link readBytes} reads. */
export function writeBytesSync(place: RegionPlace, offset: number, bytes: Uint8Array): void {
  const { owner, high, low } = place;
  const count = binding().pwriteSync(owner.fd.native, high, low, offset, bytes);
  if (count !== bytes.length) throw failure(place, 'pwrite', offset, bytes.length, count);
}

/** Like {@link writeBytesSync}, for writes that the kernel waits in. */
export function* writeBytes(place: RegionPlace, offset: number, bytes: Uint8Array): Steps<void> {
  const { owner, high, low } = place;
  const count = yield* call('pwrite', owner.fd.native, high, low, offset, bytes);
  if (count !== bytes.length) throw failure(place, 'pwrite', offset, bytes.length, count);
}

/** The error of a single register's transfer: what the mailbox says of it. */
export function wordError(
  place: RegionPlace,
  syscall: string,
  offset: number,
  width: number,
  status: number,
): Error {
  const answer = status >= short ? status - short : status;
  return failure(place, syscall, offset, width, status === refused ? undefined : answer);
}

function failure(
  { owner, name }: RegionPlace,
  syscall: string,
  offset: number,
  length: number,
  answer: Answer,
): Error {
  const { path, device } = owner.location;
  const region = `${name}+0x${offset.toString(16)}`;
  const named = { syscall, device: device.address, region, path };
  if (answer === EINVAL && name === 'vga' && !isInWindow(offset, length)) {
    const cause = {
      reason: 'vga-window',
      certainty: 'certain',
      facts: { offset, length },
    } as const;
    return explained(systemError({ ...named, errno: answer }), cause);
  }
  if (answer !== undefined && answer < 0) {
    return transferError({ ...named, errno: answer }, device);
  }
  const count = check(answer, named);
  const message = `${syscall} of ${counted(length, 'byte')} at ${region} of ${device.address} transferred ${count}`;
  return new VfioError({ code: 'ERR_VFIO_SHORT_TRANSFER', message, ...named });
}
