import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { VfioError } from '../../lib/core/errors.ts';
import { IovaAllocator, type IovaRange } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';

/** What the lab's IOMMU of 39 bits leaves: all but the interrupt window. */
const ranges39: IovaRange[] = [
  { start: 0n, last: 0xfedfffffn },
  { start: 0xfef00000n, last: 2n ** 39n - 1n },
];

type Step =
  | { kind: 'allocate'; size: number; alignment: bigint; last: bigint }
  | { kind: 'release'; which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('allocate' as const),
    size: fc.integer({ min: 1, max: 2 ** 31 }),
    alignment: fc.integer({ min: 0, max: 30 }).map((bit) => 1n << BigInt(bit)),
    last: fc.constantFrom(2n ** 28n - 1n, 2n ** 32n - 1n, 2n ** 39n - 1n, 2n ** 64n - 1n),
  }),
  fc.record({ kind: fc.constant('release' as const), which: fc.nat() }),
);

const within = ({ start, last }: IovaRange, all: readonly IovaRange[]): boolean =>
  all.some((range) => range.start <= start && last <= range.last);

const overlap = (a: IovaRange, b: IovaRange): boolean => a.start <= b.last && b.start <= a.last;

/** Bytes in all. */
const sum = (all: readonly IovaRange[]): bigint =>
  all.reduce((bytes, { start, last }) => bytes + last - start + 1n, 0n);

describe('the IOVA allocator', () => {
  it('answers aligned ranges that overlap nothing and lie where they may', () => {
    const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const allocator = new IovaAllocator(ranges39);
      const before = sum(allocator.free);
      let held: IovaRange[] = [];
      for (const each of steps) {
        if (each.kind === 'release') {
          const [gone] = held.splice(each.which % Math.max(held.length, 1), 1);
          if (gone) allocator.release(gone.start);
          continue;
        }
        const { size, alignment, last: limit } = each;
        let start: bigint;
        try {
          start = allocator.allocate(size, { alignment, last: limit });
        } catch (error) {
          assert.ok(error instanceof VfioError && error.code === 'ENOSPC');
          // Rightly: no free range has room.
          const step = alignment > 4096n ? alignment : 4096n;
          const length = (BigInt(size) + 4095n) & ~4095n;
          for (const range of allocator.free) {
            const first = ((range.start + step - 1n) / step) * step;
            const top = range.last < limit ? range.last : limit;
            assert.ok(first + length - 1n > top, 'there was room');
          }
          continue;
        }
        const range = { start, last: start + BigInt(size) - 1n };
        assert.equal(start % alignment, 0n);
        assert.equal(start % 4096n, 0n);
        assert.ok(start > 0n && range.last <= limit && within(range, ranges39));
        assert.ok(!held.some((other) => overlap(other, range)));
        assert.ok(!allocator.free.some((free) => overlap(free, range)));
        held = [...held, range];
      }
      for (const { start } of held) allocator.release(start);
      assert.equal(sum(allocator.free), before, 'what was given back is whole again');
      assert.equal(allocator.free.length, 2);
    });
    fc.assert(property, { numRuns: 300 });
  });

  it('keeps off what is reserved', async () => {
    const allocator = new IovaAllocator([{ start: 0x1000n, last: 0x4fffn }]);
    allocator.reserve(0x0n, 0x2000);
    allocator.reserve(0x3000n, 0x1000);
    assert.equal(allocator.allocate(1), 0x2000n);
    assert.equal(allocator.allocate(1), 0x4000n);
    await failure(() => {
      allocator.reserve(0x4000n, 0x1000);
    }, 'ERR_OUT_OF_RANGE');
    const error = await failure(() => allocator.allocate(1), 'ENOSPC');
    assert.ok(error instanceof VfioError);
    assert.equal(error.reason, 'iova-exhausted');
    assert.match(error.message, /nothing/);
    allocator.release(0x2000n);
    assert.equal(allocator.allocate(0x1000), 0x2000n);
  });

  it('never answers 0, and reaches the last address of all', () => {
    const low = new IovaAllocator([{ start: 0n, last: 0x1fffn }]);
    assert.equal(low.allocate(0x1000), 0x1000n);
    const high = new IovaAllocator([{ start: 2n ** 64n - 4096n, last: 2n ** 64n - 1n }]);
    assert.equal(high.allocate(4096), 2n ** 64n - 4096n);
  });

  it('joins ranges that touch, and takes them in any order', () => {
    const allocator = new IovaAllocator([
      { start: 0x3000n, last: 0x3fffn },
      { start: 0x1000n, last: 0x2fffn },
    ]);
    assert.deepEqual(allocator.free, [{ start: 0x1000n, last: 0x3fffn }]);
    assert.equal(allocator.allocate(0x3000), 0x1000n);
  });

  it('refuses what it cannot mean', async () => {
    const allocator = new IovaAllocator(ranges39);
    await failure(() => allocator.allocate(0), 'ERR_OUT_OF_RANGE');
    await failure(() => allocator.allocate(1n as never), 'ERR_INVALID_ARG_TYPE');
    await failure(() => allocator.allocate(1, { alignment: 3n }), 'ERR_OUT_OF_RANGE');
    await failure(() => allocator.allocate(1, { last: -1n }), 'ERR_OUT_OF_RANGE');
    await failure(() => {
      allocator.release(0x1000n);
    }, 'ERR_OUT_OF_RANGE');
    await failure(() => new IovaAllocator([{ start: 2n, last: 1n }]), 'ERR_OUT_OF_RANGE');
    await failure(() => new IovaAllocator('x' as never), 'ERR_INVALID_ARG_TYPE');
    await failure(() => new IovaAllocator([], 0n), 'ERR_OUT_OF_RANGE');
  });
});
