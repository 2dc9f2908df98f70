import type { Answer } from '../binding.ts';
import { check } from '../call.ts';
import { explained } from '../diagnose/explained.ts';
import { hugePageCause } from '../diagnose/huge_pages.ts';
import { VfioError } from '../errors.ts';

/** The system calls that make DMA memory, as the addon counts them. */
const steps = ['memfd_create', 'ftruncate', 'fcntl', 'mmap', 'madvise'] as const;

/** Above the kernel's errnos: an answer is -(errno + 4096 * step). */
const stepSize = 4096;

/** What was asked for: sizes in bytes. */
export interface Asked {
  size: number;
  /** Of huge pages. */
  pageSize?: number | undefined;
}

/**
 * The handle that an allocation answered.
 *
 * @throws VfioError that names the call which failed, and says why where that is about huge pages
 */
export function allocated(answer: Answer, asked: Asked): number {
  if (answer === undefined || answer >= 0) return check(answer, { syscall: 'memfd_create' });
  const syscall = steps[Math.floor(-answer / stepSize)];
  // No step: there was no thread that could have begun with the first.
  if (syscall === undefined) return check(answer, { syscall: steps[0] });
  try {
    return check(-(-answer % stepSize), { syscall });
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    const cause = hugePageCause(error, asked);
    throw cause ? explained(error, cause) : error;
  }
}
