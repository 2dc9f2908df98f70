import { hex } from './text.ts';

/** What JSON.stringify leaves as it is, and a terminal would obey or not show. */
const unseen = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu;

/** A value as JSON. 64 bits are a hex string, since a JSON number would lose some; bytes likewise. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, lossless, 2).replace(unseen, escaped);
}

function lossless(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return hex(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return value;
}

function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
}
