import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { DmaMapping } from '../../lib/iommu/mapping.ts';
import { failure } from '../support/errors.ts';

const unmapper = {
  closed: false,
  closing: undefined,
  unmap: () => Promise.resolve(),
  unmapSync: () => undefined,
  share: () => {
    throw new Error('nobody shares it');
  },
};

function mappingAt(iova: bigint, size: number): DmaMapping {
  const source = { size, length: BigInt(size), buffer: undefined, bufferOffset: 0 };
  return DmaMapping.of(unmapper, iova, source, true);
}

describe('the addresses of DMA memory', () => {
  it('are those of its bytes, whole and as two words, wherever it lies', () => {
    const size = fc.integer({ min: 1, max: 2 ** 50 });
    const anywhere = fc.bigInt({ min: 0n, max: 2n ** 64n - 2n ** 50n });
    // About where the low word runs over.
    const atWords = fc.tuple(fc.bigInt({ min: 0n, max: 2n ** 31n }), fc.integer({ max: 4096 }));
    const starts = fc.oneof(
      anywhere,
      atWords.map(([word, off]) => word * 2n ** 32n + BigInt(Math.abs(off))),
    );
    fc.assert(
      fc.property(
        starts,
        size,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (iova, length, part) => {
          const mapping = mappingAt(iova, length);
          for (const offset of [0, length - 1, Math.min(length - 1, Math.floor(part * length))]) {
            const expected = iova + BigInt(offset);
            assert.equal(mapping.iovaOf(offset), expected);
            assert.equal(BigInt(mapping.iovaLow(offset)), expected & 0xffff_ffffn);
            assert.equal(BigInt(mapping.iovaHigh(offset)), expected >> 32n);
          }
        },
      ),
    );
  });

  it('are refused outside, and where it is unmapped', async () => {
    const mapping = mappingAt(0xffff_f000n, 4096);
    for (const method of ['iovaOf', 'iovaLow', 'iovaHigh'] as const) {
      for (const offset of [-1, 4096, 0.5, NaN, Infinity]) {
        const error = await failure(() => mapping[method](offset), 'ERR_OUT_OF_RANGE');
        assert.match(error.message, /"offset".*from 0 to 4095/);
      }
      for (const offset of [undefined, '0', 0n, null]) {
        await failure(() => mapping[method](offset as never), 'ERR_INVALID_ARG_TYPE');
      }
    }
    mapping.settle();
    for (const method of ['iovaOf', 'iovaLow', 'iovaHigh'] as const) {
      const error = await failure(() => mapping[method](0), 'ERR_VFIO_CLOSED');
      assert.match(error.message, /0xfffff000 is unmapped/);
    }
  });
});
