import { checkId, checkUnsigned, invalidType, requireObject } from '../core/arguments.ts';
import type { NativeFd } from '../core/binding.ts';
import { Closable } from '../core/closable.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { call, type Steps } from '../core/steps.ts';
import { feature, type FeatureCalls } from './call.ts';

/** A dma-buf and its owner. */
export class Dmabuf extends Closable {
  readonly #fd: OwnedFd;

  static {
    defineInspect(this, 'Dmabuf', (buffer) => ({ state: buffer.#fd.closed ? 'closed' : 'open' }));
  }

  private constructor(fd: OwnedFd) {
    super();
    this.#fd = fd;
  }

  /** @internal */
  static adopt(fd: NativeFd): Dmabuf {
    return new Dmabuf(OwnedFd.adopt(fd, 'the dma-buf', 'dma-buf'));
  }

  /** @internal */
  static *export(calls: FeatureCalls, region: unknown, ranges: unknown): Steps<Dmabuf> {
    const index = checkId('region', region);
    const longs = BigUint64Array.from(checkRanges(ranges));
    const answer = yield* call('exportDmabuf', calls.native, index, longs);
    return Dmabuf.adopt(calls.check(answer, feature.dmaBuf) as NativeFd);
  }

  /**
   * The descriptor's number, to hand on. The Dmabuf stays its owner.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get fd(): number {
    return this.#fd.number;
  }

  /**
   * Closes the descriptor. Closing twice is harmless.
   *
   * @throws VfioError what the kernel answers; it is closed all the same
   */
  close(): Promise<void> {
    return this.#fd.close();
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    this.#fd.closeSync();
  }
}

function checkRanges(ranges: unknown): bigint[] {
  const expected = 'an array of { offset, length }, of one range at least';
  if (!Array.isArray(ranges) || ranges.length === 0) throw invalidType('ranges', expected, ranges);
  return ranges.flatMap((range: unknown) => {
    requireObject('ranges', range);
    const { offset, length } = range as { offset?: unknown; length?: unknown };
    return [checkUnsigned('offset', offset), checkUnsigned('length', length)];
  });
}
