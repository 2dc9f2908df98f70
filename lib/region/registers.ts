import { invalidType, invalidValue, outOfRange, requireObject } from '../core/arguments.ts';
import { VfioError, type VfioErrorCode } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkAccess, type Width } from './checks.ts';

/** What may be done with a register: read (`r`), write (`w`), both. */
export type RegisterAccess = 'r' | 'w' | 'rw';

/** A register of a {@link RegisterMap}. */
export interface RegisterSpec {
  /** In the region or the mapping; a multiple of the width. */
  readonly offset: number;
  /** Bits: 8, 16, 32 (without this) or 64, whose values are bigints. */
  readonly width?: 8 | 16 | 32 | 64;
  /** `rw` without this. */
  readonly access?: RegisterAccess;
  /**
   * Parts of a register of 32 bits or fewer, each by the mask of its bits, which are neighbours.
   */
  readonly fields?: Readonly<Record<string, number>>;
}

/** Registers by their names. */
export type RegisterMap = Readonly<Record<string, RegisterSpec>>;

/** What a register holds. */
export type RegisterValue<Spec extends RegisterSpec> = Spec['width'] extends 64 ? bigint : number;

/** What the fields of a register hold. */
export type RegisterFields<Spec extends RegisterSpec> = Record<
  keyof Spec['fields'] & string,
  number
>;

/** What a register that can be read has. */
export interface ReadableRegister<Value, Fields> {
  /** Reads the register. */
  read(): Value;
  /** Reads the register once, and takes it apart. */
  readFields(): Fields;
}

/** What a register that can be written has. */
export interface WritableRegister<Value, Fields> {
  /** Writes the register. */
  write(value: Value): void;
  /** Writes the register: the fields that are named, and 0 in all other bits. */
  writeFields(fields: Partial<Fields>): void;
}

/** What a register that can be read and written has. */
export interface UpdatableRegister<Fields> {
  /** Reads the register, changes the fields that are named, and writes it. */
  update(fields: Partial<Fields>): void;
}

/** A register, with the methods that its access allows. */
export type Register<Spec extends RegisterSpec> = {
  readonly offset: number;
} & (Spec['access'] extends 'w'
  ? unknown
  : ReadableRegister<RegisterValue<Spec>, RegisterFields<Spec>>) &
  (Spec['access'] extends 'r'
    ? unknown
    : WritableRegister<RegisterValue<Spec>, RegisterFields<Spec>>) &
  (Spec['access'] extends 'r' | 'w' ? unknown : UpdatableRegister<RegisterFields<Spec>>);

/** The registers of a map, under their names. */
export type Registers<Given extends RegisterMap> = {
  readonly [Name in keyof Given]: Register<Given[Name]>;
};

/** Where registers are: a region, or a mapping. */
export interface RegisterTarget {
  readonly size: number;
  read8(offset: number): number;
  read16(offset: number): number;
  read32(offset: number): number;
  read64(offset: number): bigint;
  write8(offset: number, value: number): void;
  write16(offset: number, value: number): void;
  write32(offset: number, value: number): void;
  write64(offset: number, value: bigint): void;
}

/**
 * Gives registers their names. Nothing is accessed. Throws as `MappedRegion.registers` says.
 */
export function makeRegisters<const Given extends RegisterMap>(
  target: RegisterTarget,
  map: Given,
): Registers<Given> {
  requireObject('map', map);
  const entries = Object.entries(map).map(([name, spec]) => [
    name,
    Object.freeze(new AnyRegister(target, name, spec)),
  ]);
  return Object.freeze(Object.fromEntries(entries)) as Registers<Given>;
}

const widths = new Map<unknown, Width>([
  [8, 1],
  [16, 2],
  [32, 4],
  [64, 8],
]);

/** Every method; which of them are there for whom is a matter of types, and checked when called. */
class AnyRegister {
  readonly offset: number;
  readonly #target: RegisterTarget;
  readonly #name: string;
  readonly #width: Width;
  readonly #access: string;
  readonly #fields: Map<string, Field>;

  static {
    defineInspect(this, 'Register', (register) => {
      const [width, fields] = [register.#width * 8, [...register.#fields.keys()]];
      return { offset: register.offset, width, access: register.#access, fields };
    });
  }

  constructor(target: RegisterTarget, name: string, spec: unknown) {
    const called = `map.${name}`;
    requireObject(called, spec);
    const { offset, width = 32, access = 'rw', fields = {} } = spec as RegisterSpec;
    const bytes = widths.get(width);
    if (bytes === undefined) throw invalidValue(`${called}.width`, '8, 16, 32 or 64', width);
    if (!['r', 'w', 'rw'].includes(access)) {
      throw invalidValue(`${called}.access`, "'r', 'w' or 'rw'", access);
    }
    requireObject(`${called}.fields`, fields);
    checkAccess(offset, bytes, target.size, `${called}.offset`);
    this.offset = offset;
    this.#target = target;
    this.#name = name;
    this.#width = bytes;
    this.#access = access;
    this.#fields = new Map(
      Object.entries(fields).map(([field, mask]) => [
        field,
        fieldOf(`${called}.fields.${field}`, mask, width),
      ]),
    );
  }

  read(): number | bigint {
    this.#require('r', 'ERR_VFIO_WRITE_ONLY', 'write-only');
    switch (this.#width) {
      case 1:
        return this.#target.read8(this.offset);
      case 2:
        return this.#target.read16(this.offset);
      case 4:
        return this.#target.read32(this.offset);
      case 8:
        return this.#target.read64(this.offset);
    }
  }

  write(value: number | bigint): void {
    this.#require('w', 'ERR_VFIO_READ_ONLY', 'read-only');
    // A value of the wrong type is refused by the access itself.
    switch (this.#width) {
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
        this.#target.write64(this.offset, value as bigint);
    }
  }

  readFields(): Record<string, number> {
    const value = Number(this.read());
    const parts = [...this.#fields].map(([name, { mask, shift }]) => [
      name,
      (value & mask) >>> shift,
    ]);
    return Object.fromEntries(parts) as Record<string, number>;
  }

  writeFields(fields: Record<string, number>): void {
    this.write(this.#compose(0, fields));
  }

  update(fields: Record<string, number>): void {
    this.#require('w', 'ERR_VFIO_READ_ONLY', 'read-only');
    this.#compose(0, fields); // refuses what is wrong before anything is read
    this.write(this.#compose(Number(this.read()), fields));
  }

  #compose(start: number, fields: Record<string, number>): number {
    let value = start;
    for (const [name, part] of Object.entries(fields)) {
      const field = this.#fields.get(name);
      if (field === undefined) {
        const known = [...this.#fields.keys()].join(', ') || 'none';
        throw invalidValue('fields', `of fields of ${this.#name} (${known})`, name);
      }
      const most = field.mask >>> field.shift;
      const expected = `a whole number from 0 to 0x${most.toString(16)}`;
      if (typeof part !== 'number') throw invalidType(`${this.#name}.${name}`, expected, part);
      if (!(part >= 0 && part <= most) || !Number.isInteger(part)) {
        throw outOfRange(`${this.#name}.${name}`, expected, part);
      }
      value = (value & ~field.mask) | (part << field.shift);
    }
    return value >>> 0;
  }

  #require(what: string, code: VfioErrorCode, is: string): void {
    if (this.#access.includes(what)) return;
    throw new VfioError({ code, message: `the register ${this.#name} is ${is}` });
  }
}

interface Field {
  mask: number;
  shift: number;
}

function fieldOf(name: string, mask: unknown, width: number): Field {
  const most = width === 64 ? 0 : 2 ** width - 1;
  const expected = `neighbouring bits of 0x${most.toString(16)}`;
  if (typeof mask !== 'number') throw invalidType(name, expected, mask);
  const shift = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask);
  const ones = (mask >>> shift) + 1;
  const isOne = mask > 0 && mask <= most && mask >>> 0 === mask && Math.log2(ones) % 1 === 0;
  if (!isOne) throw outOfRange(name, expected, mask);
  return { mask, shift };
}
