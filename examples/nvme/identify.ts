/** What Identify Controller says (base specification 2.0, section 5.17.2.1), in part. */
export interface ControllerInfo {
  serial: string;
  model: string;
  firmware: string;
  /** Bytes of one command's data at most; Infinity where the controller has no limit. */
  maxTransfer: number;
  /** How many events may be asked for at once. */
  maxEventRequests: number;
  /** How many aborts it takes at once. */
  maxAborts: number;
  /** How many namespaces there may be. */
  namespaces: number;
  /** Whether it caches writes, so that Flush means something. */
  hasWriteCache: boolean;
}

export function decodeController(data: Uint8Array): ControllerInfo {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const text = (from: number, to: number): string => bytes.toString('latin1', from, to).trim();
  const transfer = bytes.readUInt8(77);
  return {
    serial: text(4, 24),
    model: text(24, 64),
    firmware: text(64, 72),
    maxTransfer: transfer === 0 ? Infinity : 4096 * 2 ** transfer,
    maxAborts: bytes.readUInt8(258) + 1,
    maxEventRequests: bytes.readUInt8(259) + 1,
    namespaces: bytes.readUInt32LE(516),
    hasWriteCache: (bytes.readUInt8(525) & 1) === 1,
  };
}

/** What Identify Namespace says (NVM Command Set Specification 1.0, section 4.1.5.1), in part. */
export interface NamespaceInfo {
  id: number;
  /** How many blocks it has. */
  blocks: number;
  /** Bytes of a block. */
  blockSize: number;
}

export function decodeNamespace(id: number, data: Uint8Array): NamespaceInfo {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const format = bytes.readUInt8(26) & 0x0f;
  const sizeBits = bytes.readUInt8(128 + format * 4 + 2);
  return { id, blocks: Number(bytes.readBigUInt64LE(0)), blockSize: 2 ** sizeBits };
}

/** The namespaces that are there: up to 1,024 numbers, 0 after the last. */
export function decodeNamespaceList(data: Uint8Array): number[] {
  const numbers = new Uint32Array(data.slice(0, 4096).buffer);
  const end = numbers.indexOf(0);
  return [...numbers.subarray(0, end < 0 ? undefined : end)];
}
