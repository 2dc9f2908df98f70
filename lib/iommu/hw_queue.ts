import { checkId, invalidType, requireObject } from '../core/arguments.ts';
import { check } from '../core/call.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkEnd, checkIova } from '../core/iova.ts';
import { call, type Steps } from '../core/steps.ts';
import { outOfRange } from '../core/arguments.ts';
import { IommufdObject, type ObjectParent } from './iommufd_object.ts';

/** A guest's queue that the hardware reads by itself. */
export interface HwQueueOptions {
  /** Its kind, or the kernel's number of it. */
  type: 'tegra241-cmdqv' | number;
  /** Which of the vIOMMU's queues of that kind it is. */
  index: number;
  /** Where its memory begins in the nesting parent's address space. */
  nestingParentIova: bigint;
  /** Bytes. */
  length: bigint;
}

/** enum iommu_hw_queue_type */
const types = { 'tegra241-cmdqv': 1 } as const;

/**
 * A queue of a guest's that the hardware reads (IOMMU_HW_QUEUE_ALLOC): its memory cannot be
 * unmapped as long as it is there.
 */
export class HwQueue extends IommufdObject {
  readonly #index: number;

  static {
    defineInspect(this, 'HwQueue', (queue) => ({ index: queue.#index, ...queue.shown }));
  }

  private constructor(parent: ObjectParent, id: number, index: number) {
    super(parent, 'HW queue', id);
    this.#index = index;
  }

  /** @internal */
  static *create(parent: ObjectParent & { id: number }, options: HwQueueOptions): Steps<HwQueue> {
    const { fd, id } = parent;
    requireObject('options', options);
    const { type, index, nestingParentIova, length } = options;
    const place = checkId('index', index);
    const iova = checkIova('nestingParentIova', nestingParentIova);
    const bytes = checkIova('length', length);
    if (bytes === 0n) throw outOfRange('length', 'more than 0', length);
    checkEnd('nestingParentIova', iova, bytes);
    const kind = typeOf(type);
    const answer = yield* call('hwQueueAlloc', fd.native, id, kind, place, iova, bytes);
    const named = { syscall: 'ioctl', request: 'IOMMU_HW_QUEUE_ALLOC', path: fd.path };
    return new HwQueue(parent, check(answer, named), place);
  }

  /** Which of the vIOMMU's queues of its kind it is. */
  get index(): number {
    return this.#index;
  }
}

function typeOf(type: unknown): number {
  if (type === 'tegra241-cmdqv') return types[type];
  if (typeof type === 'number') return checkId('type', type, 1);
  throw invalidType('type', `${Object.keys(types).join(', ')}, or a number`, type);
}
