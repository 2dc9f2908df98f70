import { checkAlignment, checkIova, checkLength } from './iova.ts';

/** A stretch of I/O virtual addresses. A DmaMapping is one. */
export interface DmaSegment {
  iova: bigint;
  /** In bytes. */
  size: number;
}

export interface ScatterOptions {
  /** The most bytes of a segment. */
  maxSize?: number | undefined;
  /** A power of two whose multiples no segment may cross. */
  boundary?: bigint | undefined;
}

/**
 * The segments of a transfer for a device that takes a list of them: what follows on the one before is
 * joined with it, what is too long or crosses a boundary is cut. Makes no system call.
 *
 * @throws TypeError, RangeError
 */
export function scatterList(
  parts: Iterable<DmaSegment>,
  { maxSize = Number.MAX_SAFE_INTEGER, boundary }: ScatterOptions = {},
): DmaSegment[] {
  checkLength('maxSize', maxSize);
  if (boundary !== undefined) checkAlignment('boundary', boundary);
  return joined(parts).flatMap((part) => cut(part, maxSize, boundary));
}

function joined(parts: Iterable<DmaSegment>): DmaSegment[] {
  const result: DmaSegment[] = [];
  for (const { iova, size } of parts) {
    checkIova('iova', iova);
    checkLength('size', size);
    const before = result.at(-1);
    if (before !== undefined && before.iova + BigInt(before.size) === iova) before.size += size;
    else result.push({ iova, size });
  }
  return result;
}

function cut({ iova, size }: DmaSegment, maxSize: number, boundary?: bigint): DmaSegment[] {
  const result: DmaSegment[] = [];
  for (let done = 0; done < size;) {
    const start = iova + BigInt(done);
    const toBoundary = boundary === undefined ? maxSize : Number(boundary - (start % boundary));
    const length = Math.min(size - done, maxSize, toBoundary);
    result.push({ iova: start, size: length });
    done += length;
  }
  return result;
}
