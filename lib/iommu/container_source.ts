import { binding, type Answer, type NativeFd } from '../binding.ts';
import type { DmaBuffer } from './dma_buffer.ts';
import type { Memory } from './memory.ts';
import type { Source } from './source.ts';

/** What is to be mapped in a container, which maps by address only. */
export class ContainerSource implements Source {
  readonly request = 'VFIO_IOMMU_MAP_DMA' as const;
  readonly what: Source['what'];
  readonly memory: Memory | undefined;
  readonly buffer: DmaBuffer | undefined;
  readonly offset: bigint;
  readonly length: bigint;

  /** `source`: memory of ours, or memory by its address. */
  constructor({ what, memory, buffer, offset, length }: Source) {
    this.what = what;
    this.memory = memory;
    this.buffer = buffer;
    this.offset = offset;
    this.length = length;
  }

  map(container: NativeFd, _ioas: number, flags: number, iova: bigint): ReturnType<Source['map']> {
    const { memory, offset, length } = this;
    const native = binding();
    return memory === undefined
      ? native.containerMap(container, flags, offset, length, iova)
      : native.containerMapMemory(container, flags, memory.native, offset, length, iova);
  }

  mapSync(container: NativeFd, _ioas: number, flags: number, iova: bigint): bigint | Answer {
    const { memory, offset, length } = this;
    const native = binding();
    return memory === undefined
      ? native.containerMapSync(container, flags, offset, length, iova)
      : native.containerMapMemorySync(container, flags, memory.native, offset, length, iova);
  }
}
