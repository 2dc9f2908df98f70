import { invalidType, outOfRange } from '../core/arguments.ts';
import type { Answer } from '../core/binding.ts';
import { util } from '../core/builtins.ts';
import { check } from '../core/call.ts';
import { counted } from '../core/counted.ts';
import { EIO, ENODEV } from '../core/errno.ts';
import { closedError, explained, type FailedCall, systemError, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { absenceCause } from '../diagnose/device_causes.ts';
import {
  checkAccess,
  checkAligned,
  checkLength,
  checkRange,
  checkValue,
  type Extent,
  type Width,
} from './checks.ts';
import { refused } from './mailbox.ts';
import type { MappedArea } from './mappable.ts';
import type { RegionOwner } from './owner.ts';

const [ETIMEDOUT, ECANCELED] = [-110, -125];

/**
 * Why the addon refused an access of mapped memory, or what a fault is called: found out
 * afterwards, off the way of an access. Each method answers the error, or throws one that says
 * more.
 */
export class AccessErrors {
  readonly #area: MappedArea;
  readonly #isClosed: () => boolean;

  constructor(area: MappedArea, isClosed: () => boolean) {
    this.#area = area;
    this.#isClosed = isClosed;
  }

  get #extent(): Extent {
    return extentOf(this.#area);
  }

  get isClosed(): boolean {
    return this.#isClosed();
  }

  /** @throws VfioError `ERR_VFIO_CLOSED` */
  requireOpen(): void {
    if (!this.isClosed) return;
    const { name, owner } = this.#area;
    throw closedError(
      `the mapping of ${name} of ${owner.location.device.address}`,
      owner.fd.closing,
    );
  }

  read(call: string, offset: number, width: Width, status: number): Error {
    this.requireOpen();
    if (status === refused) checkAccess(offset, width, this.#extent);
    return faultError(this.#area, call, offset, status);
  }

  write(call: string, offset: number, width: Width, value: number | bigint, status: number): Error {
    this.requireOpen();
    if (status === refused) {
      checkAccess(offset, width, this.#extent);
      this.checkWritable(offset, width);
      checkValue(value, width);
    }
    return faultError(this.#area, call, offset, status);
  }

  block(call: 'readBlock' | 'writeBlock', offset: number, values: unknown, answer: Answer): Error {
    this.requireOpen();
    const name = call === 'readBlock' ? 'target' : 'values';
    if (answer === undefined) {
      const { size } = this.#area;
      if (!isBlock(values)) {
        const expected = 'a Uint8Array, Uint16Array, Uint32Array or BigUint64Array';
        throw invalidType(name, expected, values);
      }
      checkLength(`${name}.byteLength`, values.byteLength, 0, size);
      checkRange(offset, values.byteLength, size);
      checkAligned(offset, values.BYTES_PER_ELEMENT, this.#extent.start, 'offset');
      if (call === 'writeBlock') this.checkWritable(offset, values.byteLength);
    }
    return faultError(this.#area, call, offset, answer);
  }

  batch(call: string, offsets: unknown, values: unknown, answer: Answer): Error {
    this.requireOpen();
    if (answer !== undefined) return faultError(this.#area, call, undefined, answer);
    if (!util.types.isUint32Array(offsets)) throw invalidType('offsets', 'a Uint32Array', offsets);
    if (!util.types.isUint32Array(values)) throw invalidType('values', 'a Uint32Array', values);
    if (values.length < offsets.length) {
      const expected = `of ${counted(offsets.length, 'element')} at least, one for each offset`;
      throw outOfRange('values.length', expected, values.length);
    }
    for (const offset of offsets) {
      checkAccess(offset, 4, this.#extent);
      if (call === 'writeBatch32') this.checkWritable(offset, 4);
    }
    return faultError(this.#area, call, undefined, answer);
  }

  /** Of prepared accesses, whose places were checked when they were prepared. */
  prepared(
    access: { op: string; width: number; offset: number } | undefined,
    status: number,
  ): Error {
    this.requireOpen();
    const call = access === undefined ? 'run' : `${access.op}${access.width}`;
    return faultError(this.#area, call, access?.offset, status === refused ? undefined : status);
  }

  /** @throws TypeError, RangeError for a place where such an access may not be made */
  checkPlace(op: 'read' | 'write', offset: unknown, width: Width, name: string): void {
    checkAccess(offset, width, this.#extent, name);
    if (op === 'write') this.checkWritable(offset as number, width, name);
  }

  poll(offset: number, mask: number, value: number, timeout: number, answer: Answer): Error {
    const { name, offset: start, owner } = this.#area;
    if (answer === undefined || answer === ECANCELED) this.requireOpen();
    if (answer === undefined) checkAccess(offset, 4, this.#extent);
    if (answer !== ETIMEDOUT) return faultError(this.#area, 'poll32', offset, answer);
    const [at, bits, wanted] = [offset + start, mask, value].map((n) => `0x${n.toString(16)}`);
    const register = `${name}+${at ?? ''}`;
    const { address } = owner.location.device;
    return new VfioError({
      code: 'ERR_VFIO_TIMEOUT',
      message: `the bits ${bits ?? ''} of ${register} of ${address} were not ${wanted ?? ''} within ${timeout} ms`,
      device: address,
      region: register,
    });
  }

  /** @throws RangeError */
  checkWritable(offset: number, length: number, name = 'offset'): void {
    const { readOnly, size } = this.#area;
    const { start, end } = readOnly;
    if (offset >= end || offset + length <= start) return;
    const isAll = start === 0 && end === size;
    const expected = isAll
      ? 'in a region that can be written'
      : `outside of the MSI-X table (0x${start.toString(16)} to 0x${end.toString(16)}), which the kernel alone writes`;
    throw outOfRange(name, expected, offset);
  }
}

/** What offsets of a mapping are checked against. */
export function extentOf({ size, offset }: MappedArea): Extent {
  return { size, start: offset };
}

function isBlock(
  values: unknown,
): values is Uint8Array | Uint16Array | Uint32Array | BigUint64Array {
  return (
    util.types.isUint8Array(values) ||
    util.types.isUint16Array(values) ||
    util.types.isUint32Array(values) ||
    util.types.isBigUint64Array(values)
  );
}

const asleep =
  'memory decoding is off (PCI command register), or the device is in a low-power state or gone';

/** The error of a transfer that the kernel refused. */
export function transferError(call: FailedCall, device: SysfsDevice): VfioError {
  if (call.errno === EIO) return unanswered(systemError(call, asleep), device);
  // Others, such as EINVAL, are about what was asked for, and not about the device.
  return call.errno === ENODEV ? unanswered(systemError(call), device) : systemError(call);
}

/** The error where a configuration space reads as ones. */
export function noAnswerError(device: SysfsDevice): VfioError {
  const { address } = device;
  const message = `EIO: ${address} does not answer, its configuration space reads as ones: it is gone, or asleep`;
  return unanswered(new VfioError({ code: 'EIO', errno: EIO, message, device: address }), device);
}

/** The same error, with the reason where the device is known to be gone, or on its way. */
function unanswered(error: VfioError, device: SysfsDevice): VfioError {
  const cause = absenceCause(device);
  return cause === undefined ? error : explained(error, cause);
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
  return unanswered(new VfioError({ code: 'EIO', errno: EIO, message, ...where }), device);
}
