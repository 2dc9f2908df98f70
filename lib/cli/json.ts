import { hex } from './text.ts';

/** For JSON.stringify: 64 bits as a hex string, since a JSON number would lose some; bytes likewise. */
export function lossless(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return hex(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return value;
}
