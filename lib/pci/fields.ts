// Registers as tables of their fields, as PCI's specifications draw them.

/** How a field's bits say its value, where they do not say it plainly. */
type Scale =
  /** 2 to the power of it. */
  | 'power'
  /** Bytes of payload: 128, 256, … */
  | 'payload'
  /** GT/s of a link. */
  | 'speed'
  /** One less than what is meant. */
  | 'minus-one';

/** A field: its lowest bit, and how many bits it has. One bit alone is a flag. */
type Field = readonly [lowest: number, bits: number, scale?: Scale];

type Flag = readonly [bit: number, bits: 1];

/** Where in a register the values of its public type are. */
export type FieldTable<Values> = {
  readonly [Name in keyof Values]: Values[Name] extends boolean ? Flag : Field;
};

/** PCI Express 1 to 6; 0 for what is not defined. */
const speeds = [0, 2.5, 5, 8, 16, 32, 64];

const scales: Record<Scale, (bits: number) => number> = {
  power: (bits) => 2 ** bits,
  payload: (bits) => 128 * 2 ** bits,
  speed: (bits) => speeds[bits] ?? 0,
  'minus-one': (bits) => bits + 1,
};

/** The fields of a register that has this value. */
export function decodeFields<Values>(value: number, table: FieldTable<Values>): Values {
  const entries = Object.entries<Field>(table).map(([name, [lowest, bits, scale]]) => {
    const raw = Math.floor(value / 2 ** lowest) % 2 ** bits;
    if (bits === 1) return [name, raw === 1];
    return [name, scale === undefined ? raw : scales[scale](raw)];
  });
  return Object.fromEntries(entries) as Values;
}
