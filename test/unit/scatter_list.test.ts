import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { scatterList, type DmaSegment } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';

/** Every byte's address, in order. */
const bytes = (parts: readonly DmaSegment[]): bigint[] =>
  parts.flatMap(({ iova, size }) => Array.from({ length: size }, (_, at) => iova + BigInt(at)));

describe('scatterList', () => {
  it('names the same bytes in the same order, in segments that keep the limits', () => {
    const part = fc.record({
      iova: fc.integer({ min: 0, max: 300 }).map(BigInt),
      size: fc.integer({ min: 1, max: 40 }),
    });
    const property = fc.property(
      fc.array(part, { maxLength: 8 }),
      fc.integer({ min: 1, max: 50 }),
      fc.constantFrom(undefined, 1n, 8n, 64n),
      (parts, maxSize, boundary) => {
        const list = scatterList(parts, { maxSize, boundary });
        assert.deepEqual(bytes(list), bytes(parts));
        for (const { iova, size } of list) {
          assert.ok(size > 0 && size <= maxSize);
          if (boundary === undefined) continue;
          assert.equal(iova / boundary, (iova + BigInt(size) - 1n) / boundary);
        }
      },
    );
    fc.assert(property);
  });

  it('joins what touches', () => {
    const parts = [
      { iova: 0x1000n, size: 0x1000 },
      { iova: 0x2000n, size: 16 },
      { iova: 0x9000n, size: 16 },
    ];
    assert.deepEqual(scatterList(parts), [
      { iova: 0x1000n, size: 0x1010 },
      { iova: 0x9000n, size: 16 },
    ]);
    assert.equal(parts[0]?.size, 0x1000, 'the parts are not changed');
  });

  it('refuses what it cannot mean', async () => {
    await failure(() => scatterList([{ iova: 1 as never, size: 1 }]), 'ERR_INVALID_ARG_TYPE');
    await failure(() => scatterList([{ iova: 1n, size: 0 }]), 'ERR_OUT_OF_RANGE');
    await failure(() => scatterList([], { boundary: 12n }), 'ERR_OUT_OF_RANGE');
    await failure(() => scatterList([], { maxSize: 0 }), 'ERR_OUT_OF_RANGE');
  });
});
