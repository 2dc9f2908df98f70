import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { walkCapabilities } from '../../lib/device/capabilities.ts';
import { VfioError } from '../../lib/errors.ts';
import { failure } from '../support/errors.ts';
import { putCapability, viewOf } from '../support/kernel_bytes.ts';

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
