import { invalidType, invalidValue, outOfRange, requireObject } from '../core/arguments.ts';

/** What the fields of a register hold: numbers, and bigints where the mask is one. */
export type FieldValues = Record<string, number | bigint>;

/** The fields of a register of 32 bits or fewer, or of one of 64. */
export interface Fields {
  readonly names: readonly string[];
  /** Takes a register's value apart. */
  split: (value: number | bigint) => FieldValues;
  /** A register's value with fields of it changed. Throws for what is no value of a field. */
  join: (value: number | bigint, fields: FieldValues) => number | bigint;
}

/**
 * The fields of the register `name`, whose masks were given as `masks`.
 *
 * @throws TypeError, RangeError for a mask that is none
 */
export function fieldsOf(name: string, masks: object, width: number): Fields {
  const entries = Object.entries(masks) as [string, unknown][];
  return width === 64 ? new LongFields(name, entries) : new WordFields(name, entries, width);
}

interface Field<Word> {
  mask: Word;
  shift: Word;
}

class WordFields implements Fields {
  readonly #name: string;
  readonly #fields: Map<string, Field<number>>;

  constructor(name: string, masks: readonly [string, unknown][], width: number) {
    this.#name = name;
    this.#fields = new Map(masks.map(([key, mask]) => [key, wordField(name, key, mask, width)]));
  }

  get names(): string[] {
    return [...this.#fields.keys()];
  }

  split(value: number | bigint): FieldValues {
    const word = value as number;
    return Object.fromEntries(
      [...this.#fields].map(([key, { mask, shift }]) => [key, (word & mask) >>> shift]),
    );
  }

  join(value: number | bigint, fields: FieldValues): number {
    requireObject('fields', fields);
    let word = value as number;
    for (const [key, part] of Object.entries(fields)) {
      const { mask, shift } = found(this.#fields, this.#name, key);
      checkPart(`${this.#name}.${key}`, part, mask >>> shift);
      word = (word & ~mask) | ((part as number) << shift);
    }
    return word >>> 0;
  }
}

interface LongField extends Field<bigint> {
  most: number | bigint;
}

class LongFields implements Fields {
  readonly #name: string;
  readonly #fields: Map<string, LongField>;

  constructor(name: string, masks: readonly [string, unknown][]) {
    this.#name = name;
    this.#fields = new Map(masks.map(([key, mask]) => [key, longField(name, key, mask)]));
  }

  get names(): string[] {
    return [...this.#fields.keys()];
  }

  split(value: number | bigint): FieldValues {
    const word = BigInt(value);
    return Object.fromEntries(
      [...this.#fields].map(([key, { mask, shift, most }]) => {
        const part = (word & mask) >> shift;
        return [key, typeof most === 'number' ? Number(part) : part];
      }),
    );
  }

  join(value: number | bigint, fields: FieldValues): bigint {
    requireObject('fields', fields);
    let word = BigInt(value);
    for (const [key, part] of Object.entries(fields)) {
      const { mask, shift, most } = found(this.#fields, this.#name, key);
      checkPart(`${this.#name}.${key}`, part, most);
      word = (word & ~mask) | (BigInt(part) << shift);
    }
    return word;
  }
}

function found<Of>(fields: ReadonlyMap<string, Of>, name: string, key: string): Of {
  const field = fields.get(key);
  if (field !== undefined) return field;
  const known = [...fields.keys()].join(', ') || 'none';
  throw invalidValue('fields', `of fields of ${name} (${known})`, key);
}

/** What a field holds is of the type of its mask. */
function checkPart(name: string, part: unknown, most: number | bigint): void {
  const kind = typeof most === 'number' ? 'whole number' : 'bigint';
  const expected = `a ${kind} from 0 to 0x${most.toString(16)}`;
  if (typeof part !== typeof most) throw invalidType(name, expected, part);
  const isWhole = typeof part === 'bigint' || Number.isInteger(part);
  if (isWhole && (part as number) >= 0 && (part as number) <= most) return;
  throw outOfRange(name, expected, part);
}

function wordField(name: string, key: string, mask: unknown, width: number): Field<number> {
  const called = `map.${name}.fields.${key}`;
  const bits = `neighbouring bits of 0x${(2 ** width - 1).toString(16)}`;
  const isBig = typeof mask === 'bigint';
  const expected = isBig ? `a number, of ${bits}: bigints are for registers of 64 bits` : bits;
  if (typeof mask !== 'number') throw invalidType(called, expected, mask);
  if (!isMask(mask, width)) throw outOfRange(called, expected, mask);
  return { mask, shift: 31 - Math.clz32(mask & -mask) };
}

/** A mask of up to 53 bits, wherever they are, is a number exactly. */
function longField(name: string, key: string, mask: unknown): LongField {
  const called = `map.${name}.fields.${key}`;
  const expected = 'neighbouring bits of 0xffffffffffffffff, 53 at most unless it is a bigint';
  if (typeof mask !== 'number' && typeof mask !== 'bigint') {
    throw invalidType(called, expected, mask);
  }
  if (!isMask(mask, 64)) throw outOfRange(called, expected, mask);
  const bits = BigInt(mask);
  let shift = 0n;
  while (((bits >> shift) & 1n) === 0n) shift++;
  const most = bits >> shift;
  return { mask: bits, shift, most: typeof mask === 'number' ? Number(most) : most };
}

/** Whether all its bits are neighbours, and there is one. */
function isMask(mask: number | bigint, width: number): boolean {
  if (typeof mask === 'number' && !Number.isInteger(mask)) return false;
  const bits = BigInt(mask);
  if (bits <= 0n || bits >= 1n << BigInt(width)) return false;
  const ones = bits / (bits & -bits) + 1n;
  return (ones & (ones - 1n)) === 0n;
}
