import { VfioError } from './errors.ts';

/** One entry of the chain that follows an info struct. Its bytes end where the next one starts. */
export interface RawCapability {
  /** The capability's id in linux/vfio.h. */
  id: number;
  /** The version of its struct. */
  version: number;
  /** What follows the header, with nothing decoded. */
  data: Uint8Array;
}

/** The kernel's structs are in the machine's own byte order. */
export const littleEndian: boolean = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

const headerSize = 8;

/**
 * Walks the capability chain of an info struct: `{u16 id; u16 version; u32 next}`, where `first`
 * and `next` count from the struct's first byte and 0 ends the chain (linux/vfio.h, struct
 * vfio_info_cap_header). Everything the kernel says is checked: a chain that leaves the bytes, or
 * meets itself, is `ERR_VFIO_BAD_ANSWER`.
 *
 * @param view - the info struct and all that came with it
 * @param first - the struct's cap_offset
 */
export function walkCapabilities(view: DataView, first: number): RawCapability[] {
  if (first === 0) return [];
  const offsets = chainOffsets(view, first);
  const inOrder = offsets.toSorted((a, b) => a - b);
  const ends = new Map(inOrder.map((offset, at) => [offset, inOrder[at + 1] ?? view.byteLength]));
  return offsets.map((offset) => {
    const start = offset + headerSize;
    const end = ends.get(offset) ?? start;
    return {
      id: view.getUint16(offset, littleEndian),
      version: view.getUint16(offset + 2, littleEndian),
      data: copyOf(view, Math.min(start, end), end),
    };
  });
}

function chainOffsets(view: DataView, first: number): number[] {
  const offsets = new Set<number>();
  for (let offset = first; offset !== 0; offset = view.getUint32(offset + 4, littleEndian)) {
    if (offsets.has(offset)) {
      throw badAnswer(`the kernel's capability chain meets itself at byte ${offset}`);
    }
    requireBytes(view, offset, headerSize);
    offsets.add(offset);
  }
  return [...offsets];
}

function copyOf({ buffer, byteOffset }: DataView, start: number, end: number): Uint8Array {
  return new Uint8Array(buffer.slice(byteOffset + start, byteOffset + end));
}

/**
 * Ends the decoding of an answer that is too short for what it says.
 *
 * @throws VfioError `ERR_VFIO_BAD_ANSWER`
 */
export function requireBytes({ byteLength }: DataView, offset: number, size: number): void {
  if (offset + size <= byteLength) return;
  throw badAnswer(
    `the kernel's answer has ${byteLength} bytes and names ${size} more at byte ${offset}`,
  );
}

/** The kernel said something that its interface rules out. */
export function badAnswer(message: string): VfioError {
  return new VfioError({ code: 'ERR_VFIO_BAD_ANSWER', message });
}
