import { endianness } from 'node:os';

/** Numbers of a kernel struct at their offsets, in the machine's byte order. */
export interface Fields {
  u16?: Record<number, number>;
  u32?: Record<number, number>;
  u64?: Record<number, bigint>;
}

/** Writes numbers into bytes as the kernel would. */
export function put(bytes: Uint8Array, { u16 = {}, u32 = {}, u64 = {} }: Fields): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const little = endianness() === 'LE';
  for (const [at, value] of Object.entries(u16)) view.setUint16(Number(at), value, little);
  for (const [at, value] of Object.entries(u32)) view.setUint32(Number(at), value, little);
  for (const [at, value] of Object.entries(u64)) view.setBigUint64(Number(at), value, little);
  return bytes;
}

/** A capability's header with its data at `offset`. */
export function putCapability(
  bytes: Uint8Array,
  offset: number,
  { id, version = 1, next = 0 }: { id: number; version?: number; next?: number },
  data: Uint8Array = new Uint8Array(0),
): void {
  put(bytes.subarray(offset), { u16: { 0: id, 2: version }, u32: { 4: next } });
  bytes.set(data, offset + 8);
}

export function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length);
}
