import { put } from './kernel_bytes.ts';

/** A capability to be laid out: what follows its header. */
export interface Laid {
  id: number;
  body: Uint8Array;
  version?: number;
}

/** A configuration space with these capabilities, each at the next multiple of four. */
export function pciSpace(
  standard: Laid[],
  extended: Laid[],
  header: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const bytes = new Uint8Array(4096);
  bytes.set(header.subarray(0, 64));
  put(bytes, { u16: { 0x00: 0x1234, 0x02: 0x5678, 0x06: (header[6] ?? 0) | 0x10 } });
  bytes[0x0e] = 0;
  bytes[0x34] = standard.length > 0 ? 0x40 : 0;
  let at = 0x40;
  for (const [index, { id, body }] of standard.entries()) {
    const next = at + align(2 + body.length);
    bytes.set([id, index + 1 < standard.length ? next : 0], at);
    bytes.set(body, at + 2);
    at = next;
  }
  at = 0x100;
  for (const [index, { id, version = 1, body }] of extended.entries()) {
    const next = at + align(4 + body.length);
    const following = index + 1 < extended.length ? next : 0;
    put(bytes, { u32: { [at]: (id | (version << 16) | (following << 20)) >>> 0 } });
    bytes.set(body, at + 4);
    at = next;
  }
  return bytes;
}

/** Capabilities begin at multiples of four. */
export function align(size: number): number {
  return Math.ceil(size / 4) * 4;
}
