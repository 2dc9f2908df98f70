import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { VfioError } from '../../lib/core/errors.ts';
import { littleEndian, walkCapabilities } from '../../lib/core/structs.ts';
import { decodeDeviceInfo, decodeIrqInfo, decodeRegionInfo } from '../../lib/info/decode.ts';
import { failure } from '../support/errors.ts';
import { put, putCapability, viewOf } from '../support/kernel_bytes.ts';

describe('walkCapabilities', () => {
  const chains = fc
    .array(
      fc.record(
        {
          id: fc.integer({ min: 0, max: 0xffff }),
          version: fc.integer({ min: 0, max: 0xffff }),
          data: fc.uint8Array({ maxLength: 40 }),
        },
        { noNullPrototype: true },
      ),
      { maxLength: 8 },
    )
    .chain((capabilities) =>
      fc.record({
        capabilities: fc.constant(capabilities),
        // Where each stands: the kernel need not lay the chain out in its order.
        order: fc.shuffledSubarray([...capabilities.keys()], { minLength: capabilities.length }),
        head: fc.integer({ min: 16, max: 64 }),
      }),
    );

  it('finds every capability of every well-formed chain, in its order', () => {
    fc.assert(
      fc.property(chains, ({ capabilities, order, head }) => {
        const offsets: number[] = [];
        let end = head;
        for (const at of order) {
          offsets[at] = end;
          end += 8 + (capabilities[at]?.data.length ?? 0);
        }
        const bytes = new Uint8Array(end);
        for (const [at, { data, ...header }] of capabilities.entries()) {
          putCapability(bytes, offsets[at] ?? 0, { ...header, next: offsets[at + 1] ?? 0 }, data);
        }
        const found = walkCapabilities(viewOf(bytes), offsets[0] ?? 0);
        assert.deepEqual(found, capabilities);
      }),
    );
  });

  it('ends on any bytes, with capabilities within them or with ERR_VFIO_BAD_ANSWER', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(400), (bytes, first) => {
        try {
          const found = walkCapabilities(viewOf(bytes), first);
          const total = found.reduce((sum, { data }) => sum + data.length, 0);
          assert.ok(total <= bytes.length);
        } catch (error) {
          assert.ok(error instanceof VfioError && error.code === 'ERR_VFIO_BAD_ANSWER');
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('walks the longest chain there can be without delay', () => {
    const view = new DataView(new ArrayBuffer(1 << 20));
    const first = 32;
    for (let at = first; at + 16 <= view.byteLength; at += 8)
      view.setUint32(at + 4, at + 8, littleEndian);
    assert.equal(walkCapabilities(view, first).length, (view.byteLength - first) / 8);
  });

  it('refuses a chain that meets itself', async () => {
    const bytes = new Uint8Array(64);
    putCapability(bytes, 16, { id: 1, next: 32 });
    putCapability(bytes, 32, { id: 2, next: 16 });
    const error = await failure(() => walkCapabilities(viewOf(bytes), 16), 'ERR_VFIO_BAD_ANSWER');
    assert.match(error.message, /meets itself at byte 16/);
  });

  it('refuses a header that is cut off', async () => {
    await failure(() => walkCapabilities(viewOf(new Uint8Array(39)), 32), 'ERR_VFIO_BAD_ANSWER');
  });
});

describe('the decoders of structs with capabilities', () => {
  const capability = fc.record({
    id: fc.integer({ min: 0, max: 7 }),
    data: fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      // A count of areas that may be far more than there are.
      fc.tuple(fc.nat(3), fc.uint8Array({ maxLength: 48 })).map(([count, rest]) => {
        return Uint8Array.of(...put(new Uint8Array(8), { u32: { 0: count } }), ...rest);
      }),
    ),
  });

  /** A struct of this size, its flags all set, before a chain whose links are right or anything. */
  const structs = (size: number, chainAt: number): fc.Arbitrary<Uint8Array> =>
    fc
      .tuple(fc.array(capability, { maxLength: 4 }), fc.option(fc.nat(200)), fc.nat(8))
      .map(([capabilities, wrongLink, cut]) => {
        const bytes = new Uint8Array(
          capabilities.reduce((sum, { data }) => sum + 8 + data.length, size),
        );
        put(bytes, { u32: { 0: bytes.length, 4: 0xffff_ffff, 8: 1, [chainAt]: size } });
        let at = size;
        for (const [index, { id, data }] of capabilities.entries()) {
          const end = at + 8 + data.length;
          const next = index === capabilities.length - 1 ? (wrongLink ?? 0) : end;
          putCapability(bytes, at, { id, next }, data);
          at = end;
        }
        if (capabilities.length === 0) put(bytes, { u32: { [chainAt]: wrongLink ?? 0 } });
        return bytes.subarray(0, bytes.length - cut);
      });

  const decoders: [string, fc.Arbitrary<Uint8Array>, (view: DataView) => unknown][] = [
    ['a device', structs(24, 16), decodeDeviceInfo],
    ['a region', structs(32, 12), (view) => decodeRegionInfo(view, [])],
    ['an interrupt', structs(16, 12), (view) => decodeIrqInfo(view, [])],
  ];
  for (const [what, bytes, decode] of decoders) {
    it(`answer, or refuse with ERR_VFIO_BAD_ANSWER, whatever the kernel says of ${what}`, () => {
      const seen = new Set<string>();
      fc.assert(
        fc.property(fc.oneof(bytes, fc.uint8Array({ maxLength: 80 })), (given) => {
          try {
            decode(viewOf(given));
            seen.add('answer');
          } catch (error) {
            assert.ok(error instanceof VfioError && error.code === 'ERR_VFIO_BAD_ANSWER');
            seen.add(error.code);
          }
        }),
        { numRuns: 2000 },
      );
      assert.deepEqual([...seen].sort(), ['ERR_VFIO_BAD_ANSWER', 'answer']);
    });
  }
});
