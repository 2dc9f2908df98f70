import { invalidType, requireObject } from '../core/arguments.ts';
import { checkAlignment, checkIova, checkLength } from '../core/iova.ts';

/** A stretch of I/O virtual addresses. A DmaMapping is one. */
export interface DmaSegment {
  /** Where the device finds it. */
  iova: bigint;
  /** In bytes. */
  size: number;
}

/** What segments a device takes. */
export interface ScatterOptions {
  /** The most bytes of a segment. */
  maxSize?: number | undefined;
  /** A power of two whose multiples no segment may cross. */
  boundary?: bigint | undefined;
}

/**
 * The segments of a transfer for a device that takes a list of them: what follows on the one before
 * is joined with it, what is too long or crosses a boundary is cut. Makes no system call.
 *
 * @throws TypeError, RangeError
 */
export function scatterList(
  parts: Iterable<DmaSegment>,
  options: ScatterOptions = {},
): DmaSegment[] {
  requireObject('options', options);
  const { maxSize = Number.MAX_SAFE_INTEGER, boundary } = options;
  checkLength('maxSize', maxSize);
  if (boundary !== undefined) checkAlignment('boundary', boundary);
  return joined(parts).flatMap((part) => cut(part, maxSize, boundary));
}

function joined(parts: Iterable<DmaSegment>): DmaSegment[] {
  const result: DmaSegment[] = [];
  requireIterable('parts', parts);
  let at = 0;
  for (const part of parts) {
    const name = `parts[${at++}]`;
    requireObject(name, part);
    const iova = checkIova(`${name}.iova`, part.iova);
    const size = checkLength(`${name}.size`, part.size);
    const before = result.at(-1);
    if (before !== undefined && before.iova + BigInt(before.size) === iova) before.size += size;
    else result.push({ iova, size });
  }
  return result;
}

function requireIterable(name: string, value: unknown): void {
  if (typeof value === 'object' && value !== null && Symbol.iterator in value) return;
  throw invalidType(name, 'an iterable of { iova, size }', value);
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
