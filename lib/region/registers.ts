import { requireObject } from '../core/arguments.ts';
import { makeRegister, type RegisterTarget } from './register.ts';

/** What may be done with a register: read (`r`), write (`w`), both. */
export type RegisterAccess = 'r' | 'w' | 'rw';

/** A register of a {@link RegisterMap}. */
export interface RegisterSpec {
  /** In the region or the mapping; a multiple of the width, of 4 bytes where it is `split`. */
  readonly offset: number;
  /** Bits: 8, 16, 32 (without this) or 64, whose values are bigints. */
  readonly width?: 8 | 16 | 32 | 64;
  /**
   * Whether a register of 64 bits is read and written by two accesses of 32, the low half first
   * (`read64LoHi`, `write64LoHi`): for devices that take no accesses of 64.
   */
  readonly split?: boolean;
  /** `rw` without this. */
  readonly access?: RegisterAccess;
  /**
   * Parts of the register, each by the mask of its bits, which are neighbours. What a field holds
   * is of its mask's type: of a register of 64 bits masks may be bigints, and those of more than 53
   * bits must.
   */
  readonly fields?: Readonly<Record<string, number | bigint>>;
  /**
   * How many such registers there are, `stride` apart: what is named then is a
   * {@link RegisterArray}.
   */
  readonly count?: number;
  /** Bytes from one register of an array to the next; those of its width without this. */
  readonly stride?: number;
}

/** Registers by their names. */
export type RegisterMap = Readonly<Record<string, RegisterSpec>>;

/** What a register holds. */
export type RegisterValue<Spec extends RegisterSpec> = Spec['width'] extends 64 ? bigint : number;

/** What the fields of a register hold. */
export type RegisterFields<Spec extends RegisterSpec> = {
  -readonly [Name in keyof Spec['fields'] & string]: Spec['fields'][Name] extends bigint
    ? bigint
    : number;
};

/** What a register that can be read has. */
export interface ReadableRegister<Value, Fields> {
  /**
   * Reads the register.
   *
   * @throws as `read32` and its kin, of the mapping or the region that the register is of
   * @throws VfioError `ERR_VFIO_WRITE_ONLY`, in JavaScript
   */
  read(): Value;
  /** Reads the register once, and takes it apart. @throws as {@link read} */
  readFields(): Fields;
}

/** What a register that can be written has. */
export interface WritableRegister<Value, Fields> {
  /**
   * Writes the register.
   *
   * @throws as `write32` and its kin, of the mapping or the region that the register is of
   * @throws VfioError `ERR_VFIO_READ_ONLY`, in JavaScript
   */
  write(value: Value): void;
  /**
   * Writes the register: the fields that are named, and 0 in all other bits.
   *
   * @throws as {@link write}; TypeError, RangeError for a field that is not there, or a value that it has no room for
   */
  writeFields(fields: Partial<Fields>): void;
}

/** What a register that can be read and written has. */
export interface UpdatableRegister<Fields> {
  /**
   * Reads the register, changes the fields that are named, and writes it.
   *
   * @throws as {@link ReadableRegister.read} and {@link WritableRegister.writeFields}
   */
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

/** Registers that are alike, at equal distances: the doorbells of queues, say. */
export interface RegisterArray<Spec extends RegisterSpec> {
  /** Where the first is. */
  readonly offset: number;
  /** Bytes from one to the next. */
  readonly stride: number;
  /** How many there are. */
  readonly count: number;
  /**
   * One of them; always the same object.
   *
   * @param index - counted from 0
   * @throws TypeError, RangeError for an index that is not from 0 to `count - 1`
   */
  at(index: number): Register<Spec>;
}

/** The registers of a map, under their names. */
export type Registers<Given extends RegisterMap> = {
  readonly [Name in keyof Given]: Given[Name] extends { readonly count: number }
    ? RegisterArray<Given[Name]>
    : Register<Given[Name]>;
};

/**
 * Gives registers their names. Nothing is accessed. Throws as `MappedRegion.registers` says.
 *
 * @param start - where the target starts in its region
 */
export function makeRegisters<const Given extends RegisterMap>(
  target: RegisterTarget,
  map: Given,
  start: number,
): Registers<Given> {
  requireObject('map', map);
  const entries = Object.entries(map).map(([name, spec]) => [
    name,
    makeRegister(target, name, spec, start),
  ]);
  return Object.freeze(Object.fromEntries(entries)) as Registers<Given>;
}
