import { invalidValue, requireBoolean, requireObject } from '../core/arguments.ts';
import { VfioError, type VfioErrorCode } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkAligned, checkRange, type Width } from './checks.ts';
import { type Fields, fieldsOf, type FieldValues } from './register_fields.ts';

/** Where registers are: a region, or a mapping. */
export interface RegisterTarget {
  readonly size: number;
  read8(offset: number): number;
  read16(offset: number): number;
  read32(offset: number): number;
  read64(offset: number): bigint;
  read64LoHi(offset: number): bigint;
  write8(offset: number, value: number): void;
  write16(offset: number, value: number): void;
  write32(offset: number, value: number): void;
  write64(offset: number, value: bigint): void;
  write64LoHi(offset: number, value: bigint): void;
}

const widths = new Map<unknown, Width>([
  [8, 1],
  [16, 2],
  [32, 4],
  [64, 8],
]);

/** What is the same of all registers of an array. */
interface Shape {
  name: string;
  width: Width;
  /** Two accesses of 32 bits. */
  split: boolean;
  access: string;
  fields: Fields;
}

function shown({ width, access, fields }: Shape): Record<string, unknown> {
  return { width: width * 8, access, fields: fields.names };
}

/** What a program may say of a register, of which nothing is checked. */
interface GivenRegister {
  offset: number;
  width?: unknown;
  split?: unknown;
  access?: unknown;
  fields?: unknown;
  stride?: unknown;
  count?: unknown;
}

/** A register, or an array of them. Throws as `MappedRegion.registers` says. */
export function makeRegister(
  target: RegisterTarget,
  name: string,
  spec: unknown,
  start: number,
): AnyRegister | AnyRegisterArray {
  const called = `map.${name}`;
  requireObject(called, spec);
  checkParts(called, spec as object);
  const given = spec as GivenRegister;
  const { offset, stride, count } = given;
  const shape = shapeOf(name, given);
  const size = shape.width;
  const alignment = shape.split ? 4 : size;
  checkRange(offset, size, target.size, `${called}.offset`);
  checkAligned(offset, alignment, start, `${called}.offset`);
  if (count === undefined && stride === undefined) {
    return new AnyRegister(target, shape, offset);
  }
  const step = checkStride(
    `${called}.stride`,
    stride === undefined ? size : stride,
    size,
    alignment,
  );
  const most = Math.floor((target.size - offset - size) / step) + 1;
  const many = checkCount(`${called}.count`, count, most);
  return new AnyRegisterArray(target, shape, { offset, stride: step, count: many });
}

const parts = ['offset', 'width', 'split', 'access', 'fields', 'stride', 'count'];

/** A misspelt part would silently give the register another width, or let it be written. */
function checkParts(called: string, spec: object): void {
  for (const [part, value] of Object.entries(spec)) {
    if (parts.includes(part)) continue;
    throw invalidValue(`${called}.${part}`, `left out: a register has ${parts.join(', ')}`, value);
  }
}

function shapeOf(name: string, given: GivenRegister): Shape {
  const called = `map.${name}`;
  const { width = 32, access = 'rw', fields = {}, split } = given;
  const bytes = widths.get(width);
  if (bytes === undefined) throw invalidValue(`${called}.width`, '8, 16, 32 or 64', width);
  if (access !== 'r' && access !== 'w' && access !== 'rw') {
    throw invalidValue(`${called}.access`, "'r', 'w' or 'rw'", access);
  }
  requireBoolean(`${called}.split`, split);
  if (split === true && width !== 64) {
    throw invalidValue(`${called}.split`, 'false where the width is not 64', split);
  }
  requireObject(`${called}.fields`, fields);
  const named = fieldsOf(name, fields as object, width as number);
  return { name, width: bytes, split: split === true, access, fields: named };
}

function checkStride(name: string, stride: unknown, width: number, alignment: number): number {
  const isOne = typeof stride === 'number' && Number.isSafeInteger(stride) && stride >= width;
  if (isOne && stride % alignment === 0) return stride;
  throw invalidValue(name, `a multiple of ${alignment}, ${width} at least`, stride);
}

function checkCount(name: string, count: unknown, most: number): number {
  const isOne = typeof count === 'number' && Number.isInteger(count) && count >= 1;
  if (isOne && count <= most) return count;
  const expected =
    most === 1
      ? '1: with this stride no more fit'
      : `a whole number from 1 to ${most}, which fit with this stride`;
  throw invalidValue(name, expected, count);
}

/** Every method; which of them are there for whom is a matter of types, and checked when called. */
export class AnyRegister {
  readonly offset: number;
  readonly #target: RegisterTarget;
  readonly #shape: Shape;

  static {
    defineInspect(this, 'Register', (register) => ({
      offset: register.offset,
      ...shown(register.#shape),
    }));
  }

  constructor(target: RegisterTarget, shape: Shape, offset: number) {
    this.offset = offset;
    this.#target = target;
    this.#shape = shape;
    Object.freeze(this);
  }

  read(): number | bigint {
    this.#require('r', 'ERR_VFIO_WRITE_ONLY', 'write-only');
    const { width, split } = this.#shape;
    switch (width) {
      case 1:
        return this.#target.read8(this.offset);
      case 2:
        return this.#target.read16(this.offset);
      case 4:
        return this.#target.read32(this.offset);
      case 8:
        return split ? this.#target.read64LoHi(this.offset) : this.#target.read64(this.offset);
    }
  }

  write(value: number | bigint): void {
    this.#require('w', 'ERR_VFIO_READ_ONLY', 'read-only');
    const { width, split } = this.#shape;
    // A value of the wrong type is refused by the access itself.
    switch (width) {
      case 1:
        this.#target.write8(this.offset, value as number);
        break;
      case 2:
        this.#target.write16(this.offset, value as number);
        break;
      case 4:
        this.#target.write32(this.offset, value as number);
        break;
      case 8:
        if (split) this.#target.write64LoHi(this.offset, value as bigint);
        else this.#target.write64(this.offset, value as bigint);
    }
  }

  readFields(): FieldValues {
    return this.#shape.fields.split(this.read());
  }

  writeFields(fields: FieldValues): void {
    this.write(this.#shape.fields.join(0, fields));
  }

  update(fields: FieldValues): void {
    this.#require('w', 'ERR_VFIO_READ_ONLY', 'read-only');
    const { fields: known } = this.#shape;
    known.join(0, fields); // refuses what is wrong before anything is read
    this.write(known.join(this.read(), fields));
  }

  #require(what: string, code: VfioErrorCode, is: string): void {
    const { access, name } = this.#shape;
    if (access.includes(what)) return;
    throw new VfioError({ code, message: `the register ${name} is ${is}` });
  }
}

/** Registers at equal distances. */
export class AnyRegisterArray {
  readonly offset: number;
  readonly stride: number;
  readonly count: number;
  readonly #target: RegisterTarget;
  readonly #shape: Shape;
  /** Those that were asked for. */
  readonly #made: AnyRegister[] = [];

  static {
    defineInspect(this, 'RegisterArray', (array) => {
      const { offset, stride, count } = array;
      return { offset, stride, count, ...shown(array.#shape) };
    });
  }

  constructor(
    target: RegisterTarget,
    shape: Shape,
    { offset, stride, count }: { offset: number; stride: number; count: number },
  ) {
    this.#target = target;
    this.#shape = shape;
    this.offset = offset;
    this.stride = stride;
    this.count = count;
    Object.freeze(this);
  }

  at(index: number): AnyRegister {
    const made = typeof index === 'number' ? this.#made[index] : undefined;
    return made ?? this.#make(index);
  }

  #make(index: number): AnyRegister {
    const { count, offset, stride } = this;
    checkRange(index, 1, count, 'index');
    const shape = { ...this.#shape, name: `${this.#shape.name}[${index}]` };
    const register = new AnyRegister(this.#target, shape, offset + index * stride);
    this.#made[index] = register;
    return register;
  }
}
