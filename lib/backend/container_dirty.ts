import { outOfRange, requireObject } from '../core/arguments.ts';
import type { Answer, NativeFd } from '../core/binding.ts';
import { type CallName, check, checkList } from '../core/call.ts';
import { ENOENT } from '../core/errno.ts';
import { checkEnd, checkIova } from '../core/iova.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { call, type Steps } from '../core/steps.ts';
import { DirtyPages } from '../feature/dirty_pages.ts';

/** Which pages of a container to look at: a range that cuts nothing that is mapped. */
export interface ContainerRange {
  /** Where it begins: a multiple of the page size. */
  iova: bigint;
  /** In bytes. */
  length: bigint;
}

/** What was unmapped, and what devices had written of it. */
export interface UnmappedDirty {
  /** How many bytes were mapped there. */
  bytes: bigint;
  /** The pages that devices had written, as far as they were tracked. */
  dirty: DirtyPages;
}

/** VFIO_IOMMU_DIRTY_PAGES_FLAG_* */
const flag = { start: 1, stop: 2 } as const;

/** DIRTY_BITMAP_PAGES_MAX of the kernel's */
const mostPages = 2n ** 31n - 1n;

/** Starts or stops to note what devices write. */
export function* trackDirty({ native, path }: OwnedFd, on: boolean): Steps<void> {
  check(yield* call('containerTrackDirty', native, on ? flag.start : flag.stop), named(path));
}

/** Which pages were written; the container's smallest page is what a bit stands for. */
export function* readDirty(
  { native, path }: OwnedFd,
  range: ContainerRange,
  pageSize: bigint,
): Steps<DirtyPages> {
  requireObject('range', range);
  const { iova, length, words } = checkRange(range, pageSize);
  const answer = yield* call('containerDirtyBitmap', native, iova, length, pageSize, words);
  return new DirtyPages(iova, length, pageSize, checkList(answer, named(path)));
}

/** Unmaps, and keeps what devices had written until then. */
export class DirtyUnmap {
  readonly #range: ReturnType<typeof checkRange>;
  readonly #pageSize: bigint;
  #words: BigUint64Array = new BigUint64Array(0);

  constructor(range: ContainerRange, pageSize: bigint) {
    this.#range = checkRange(range, pageSize);
    this.#pageSize = pageSize;
  }

  /** Answers the bytes that were mapped; ENOENT where there were none, as without this. */
  *unmap(fd: NativeFd): Steps<bigint | Answer> {
    const { iova, length, words } = this.#range;
    const answer = yield* call('containerUnmapDirty', fd, iova, length, this.#pageSize, words);
    if (typeof answer !== 'object') return answer;
    const [bytes = 0n] = answer;
    this.#words = answer.subarray(1);
    return bytes === 0n ? ENOENT : bytes;
  }

  get dirty(): DirtyPages {
    const { iova, length } = this.#range;
    return new DirtyPages(iova, length, this.#pageSize, this.#words);
  }
}

/** @throws TypeError, RangeError */
function checkRange(range: ContainerRange, pageSize: bigint): ContainerRange & { words: number } {
  const iova = checkIova('iova', range.iova);
  const length = checkIova('length', range.length);
  checkEnd('iova', iova, length);
  const pages = length / pageSize;
  if (length === 0n || iova % pageSize !== 0n || length % pageSize !== 0n) {
    throw outOfRange('length', `like iova a multiple of ${pageSize}, and not 0`, length);
  }
  if (pages > mostPages) throw outOfRange('length', `at most ${mostPages} pages`, length);
  return { iova, length, words: Number((pages + 63n) / 64n) };
}

function named(path: string): CallName {
  return { syscall: 'ioctl', request: 'VFIO_IOMMU_DIRTY_PAGES', path };
}
