import { binding, type Answer, type NativeFd } from '../binding.ts';
import { lastIova } from './iova.ts';

/**
 * How an address space is unmapped, in an iommufd and in a container. Both answer how many bytes were
 * mapped there, or ENOENT where nothing lies wholly in the range.
 */
export interface SpaceCalls {
  readonly unmapRequest: string;
  unmap: (
    fd: NativeFd,
    ioas: number,
    iova: bigint,
    length: bigint,
  ) => Promise<bigint | Answer> | undefined;
  unmapSync: (fd: NativeFd, ioas: number, iova: bigint, length: bigint) => bigint | Answer;
}

export const ioasCalls: SpaceCalls = {
  unmapRequest: 'IOMMU_IOAS_UNMAP',
  unmap: (fd, ioas, iova, length) => binding().ioasUnmap(fd, ioas, iova, length),
  unmapSync: (fd, ioas, iova, length) => binding().ioasUnmapSync(fd, ioas, iova, length),
};

/** A container has no ids: there is one address space in each. */
export const containerCalls: SpaceCalls = {
  unmapRequest: 'VFIO_IOMMU_UNMAP_DMA',
  unmap: async (fd, _ioas, iova, length) => {
    return normalised(await binding().containerUnmap(fd, ...target(iova, length)), length);
  },
  unmapSync: (fd, _ioas, iova, length) => {
    return normalised(binding().containerUnmapSync(fd, ...target(iova, length)), length);
  },
};

const VFIO_DMA_UNMAP_FLAG_ALL = 2;

const EINVAL = -22;
const ENOENT = -2;

/** Everything is a flag here, and no range. */
function target(iova: bigint, length: bigint): [flags: number, iova: bigint, length: bigint] {
  const isAll = iova === 0n && length === lastIova;
  return isAll ? [VFIO_DMA_UNMAP_FLAG_ALL, 0n, 0n] : [0, iova, length];
}

/** type1 answers 0 where nothing is mapped, and EINVAL to a range that would cut what is. */
function normalised(answer: bigint | Answer, length: bigint): bigint | Answer {
  const isAll = length === lastIova;
  if (answer === EINVAL && length > 0n && !isAll) return ENOENT;
  return answer === 0n && !isAll ? ENOENT : answer;
}
