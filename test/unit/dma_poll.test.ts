import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { binding, type NativeDmaPoll, type NativeMemory } from '../../lib/core/binding.ts';
import { DmaBuffer, type DmaPoll, fromShared } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fileRegion } from '../support/file_region.ts';

const entries = 4;
const stride = 16;

/** A completion ring: its memory, and what a device does there. */
class Ring {
  readonly buffer = DmaBuffer.allocateSync(4096);
  readonly words = new Uint32Array(this.buffer.buffer);

  /** Writes the word of an entry, which is its last one. */
  complete(at: number, word: number): void {
    this.words[at * 4 + 3] = word;
  }

  [Symbol.dispose](): void {
    this.buffer.disposeSync();
  }
}

const phase = 0x1_0000;
const layout = { offset: 12, stride, count: entries, mask: phase };

/** What a poll found, and where. */
function look(poll: DmaPoll): [fresh: number, first: number, head: number] {
  const fresh = poll.poll();
  return [fresh, poll.first, poll.head];
}

describe('polls of DMA memory', () => {
  it('follow a phase that changes each time the ring is gone through', () => {
    using ring = new Ring();
    const poll = ring.buffer.pollEntries({ ...layout, value: phase, step: phase });
    assert.deepEqual(look(poll), [0, 0, 0]);
    ring.complete(0, phase | 7);
    ring.complete(2, phase);
    assert.deepEqual(look(poll), [1, 0, 1], 'what is not the next is not found');
    ring.complete(1, phase);
    assert.deepEqual(look(poll), [2, 1, 3]);
    ring.complete(3, phase);
    ring.complete(0, 9);
    ring.complete(1, 9);
    assert.deepEqual(look(poll), [3, 3, 2], 'behind the wrap the phase is the other');
    assert.deepEqual(look(poll), [0, 2, 2]);
    ring.complete(2, 0);
    ring.complete(3, 0);
    ring.complete(0, phase);
    assert.deepEqual(look(poll), [3, 2, 1], 'and the first again behind the next');
  });

  it('find no entry twice where the whole ring is new', () => {
    using ring = new Ring();
    const poll = ring.buffer.pollEntries({ ...layout, value: phase, step: phase });
    for (const value of [phase, 0, phase]) {
      for (let at = 0; at < entries; at++) ring.complete(at, value);
      assert.deepEqual(look(poll), [entries, 0, 0]);
      assert.deepEqual(look(poll), [0, 0, 0]);
    }
  });

  it('follow a bit that the program takes back, and find so many at most as they are told', () => {
    using ring = new Ring();
    const done = { ...layout, mask: 1, value: 1 };
    const poll = ring.buffer.pollEntries({ ...done, most: 3 });
    for (let at = 0; at < entries; at++) ring.complete(at, 1);
    assert.deepEqual(look(poll), [3, 0, 3]);
    for (let at = 0; at < 3; at++) ring.complete(at, 0);
    assert.deepEqual(look(poll), [1, 3, 0]);
    assert.deepEqual(look(poll), [0, 0, 0]);
  });

  it('follow a generation that counts, within its bits', () => {
    using ring = new Ring();
    const mask = 0xc000_0000;
    const poll = ring.buffer.pollEntries({ ...layout, mask, value: mask, step: 0x4000_0000 });
    for (const generation of [3, 0, 1, 2, 3, 0]) {
      const word = ((generation << 30) | 5) >>> 0;
      for (let at = 0; at < entries; at++) ring.complete(at, word);
      assert.deepEqual(look(poll), [entries, 0, 0], `generation ${generation}`);
      assert.equal(poll.poll(), 0);
    }
  });

  it('follow two flags that change together, in words of 16 bits, and bits of a byte', () => {
    using ring = new Ring();
    const packed = { offset: 14, stride, count: 2, width: 16, mask: 0x8080 } as const;
    const poll = ring.buffer.pollEntries({ ...packed, value: 0x8080, step: 0x8080 });
    ring.complete(0, 0x8000_0000);
    assert.deepEqual(look(poll), [0, 0, 0], 'made available, and not used');
    ring.complete(0, 0x8080_0000);
    ring.complete(1, 0x8080_ffff);
    assert.deepEqual(look(poll), [2, 0, 0]);
    ring.complete(0, 0x0080_0000);
    assert.deepEqual(look(poll), [0, 0, 0]);
    ring.complete(0, 0);
    assert.deepEqual(look(poll), [1, 0, 1]);
    const byte = ring.buffer.pollEntries({ offset: 4095, width: 8, mask: 0x80, value: 0x80 });
    new Uint8Array(ring.buffer.buffer)[4095] = 0xff;
    assert.deepEqual(look(byte), [1, 0, 0]);
  });

  it('wait for one word to be what it should, without a ring', () => {
    using ring = new Ring();
    const poll = ring.buffer.pollEntries({ offset: 8, mask: 0xffff_ffff, value: 0xcafe_f00d });
    assert.equal(poll.poll(), 0);
    ring.words[2] = 0xcafe_f00d;
    assert.equal(poll.poll(), 1);
  });

  it('count by a word, over its end', () => {
    using ring = new Ring();
    const used = new Uint16Array(ring.buffer.buffer);
    used[1] = 0xfffe;
    const poll = ring.buffer.pollCounter({ offset: 2, width: 16, value: 0xfffe });
    assert.deepEqual(look(poll), [0, 0xfffe, 0xfffe]);
    used[1] = 3;
    assert.deepEqual(look(poll), [5, 0xfffe, 3]);
    const some = ring.buffer.pollCounter({ offset: 2, width: 16, most: 2 });
    assert.deepEqual(look(some), [2, 0, 2]);
    assert.deepEqual(look(some), [1, 2, 3]);
    assert.deepEqual(look(some), [0, 3, 3]);
    ring.words[3] = 0xffff_ff02;
    const bits = ring.buffer.pollCounter({ offset: 12, mask: 0xf, value: 15 });
    assert.deepEqual(look(bits), [3, 15, 2], 'the other bits count nothing');
    ring.words[4] = 1;
    const whole = ring.buffer.pollCounter({ offset: 16, value: 0xffff_ffff });
    assert.deepEqual(look(whole), [2, 0xffff_ffff, 1]);
  });

  it('ring first, and find what the rung device writes', () => {
    using ring = new Ring();
    using file = fileRegion(new Uint8Array(0x1000), { size: 0x1000 });
    using mapped = file.region.map();
    const bells = mapped.prepare([
      { op: 'write', offset: 8 },
      { op: 'write', offset: 12 },
    ]);
    const poll = ring.buffer.pollEntries({ ...layout, value: phase, step: phase });
    bells.values.set([3, 4]);
    assert.equal(poll.ringAndPoll(bells), 0);
    assert.equal(mapped.read64(8), 0x4_0000_0003n);
    ring.complete(0, phase);
    bells.values.set([5, 6]);
    assert.equal(poll.ringAndPoll(bells), 1);
    assert.deepEqual([poll.first, poll.head], [0, 1]);
    assert.equal(mapped.read64(8), 0x6_0000_0005n);
  });

  it('take nothing where ringing fails', async () => {
    using ring = new Ring();
    using file = fileRegion(new Uint8Array(0x1000), { size: 0x1000 });
    const mapped = file.region.map();
    const bells = mapped.prepare([{ op: 'write', offset: 8 }]);
    const poll = ring.buffer.pollEntries({ ...layout, value: phase, step: phase });
    ring.complete(0, phase);
    mapped.closeSync();
    const error = await failure(() => poll.ringAndPoll(bells), 'ERR_VFIO_CLOSED');
    assert.match(error.message, /the mapping of bar0/);
    assert.deepEqual([poll.first, poll.head], [0, 0]);
    assert.equal(poll.poll(), 1);
    await failure(
      () => poll.ringAndPoll({ run: () => undefined } as never),
      'ERR_INVALID_ARG_TYPE',
    );
  });

  it('ring nothing, and say so, where the memory was disposed of', async () => {
    const ring = new Ring();
    using file = fileRegion(new Uint8Array(0x1000), { size: 0x1000 });
    using mapped = file.region.map();
    const bells = mapped.prepare([{ op: 'write', offset: 8 }]);
    bells.values[0] = 1;
    const poll = ring.buffer.pollEntries({ ...layout, value: phase });
    const counter = ring.buffer.pollCounter({ offset: 0 });
    assert.equal(poll.poll() + counter.poll(), 0);
    ring.buffer.disposeSync();
    using next = DmaBuffer.allocateSync(4096);
    assert.equal(next.disposed, false);
    for (const each of [poll, counter]) {
      const error = await failure(() => each.poll(), 'ERR_VFIO_CLOSED');
      assert.match(error.message, /the DMA memory was disposed of/);
      await failure(() => each.ringAndPoll(bells), 'ERR_VFIO_CLOSED');
    }
    assert.equal(mapped.read32(8), 0);
    await failure(() => ring.buffer.pollEntries({ ...layout, value: phase }), 'ERR_VFIO_CLOSED');
    await failure(() => ring.buffer.pollCounter({ offset: 0 }), 'ERR_VFIO_CLOSED');
  });

  it('see what another owner of the same memory writes, also when that disposes of its part', () => {
    using ring = new Ring();
    const other = fromShared(ring.buffer.share());
    const poll = ring.buffer.pollEntries({ ...layout, value: phase });
    new Uint32Array(other.buffer)[3] = phase;
    other.disposeSync();
    assert.deepEqual(look(poll), [1, 0, 1]);
  });

  it('wait as long as they are told for what comes meanwhile, and not for what is there', () => {
    using ring = new Ring();
    const poll = ring.buffer.pollEntries({ ...layout, value: phase, spin: 1000 });
    assert.equal(poll.spin, 1000);
    const before = process.hrtime.bigint();
    assert.equal(poll.poll(), 0);
    assert.ok(process.hrtime.bigint() - before >= 1_000_000n, 'all of the time');
    ring.complete(0, phase);
    assert.equal(poll.poll(), 1);
    poll.spin = 0;
    assert.equal(poll.poll(), 0);
    assert.throws(() => (poll.spin = 1001), { code: 'ERR_OUT_OF_RANGE', name: 'RangeError' });
    assert.throws(() => (poll.spin = 0.5), { code: 'ERR_OUT_OF_RANGE', name: 'RangeError' });
    assert.equal(poll.spin, 0);
  });

  it('are refused outside of the memory, and where they make no sense', async () => {
    using ring = new Ring();
    const good = { ...layout, value: phase };
    const bad: object[] = [
      { offset: 4096 },
      { offset: 4096 - 3 * stride },
      { offset: 2 },
      { stride: 6 },
      { stride: 2 },
      { count: 0 },
      { count: 257 },
      { stride: 2048 },
      { mask: 0 },
      { mask: 2 ** 32 },
      { value: 1 },
      { step: 1 },
      { most: 0 },
      { most: entries + 1 },
      { width: 16 },
      { spin: -1 },
    ];
    for (const one of bad) {
      await failure(() => ring.buffer.pollEntries({ ...good, ...one }), 'ERR_OUT_OF_RANGE');
    }
    const width = 64 as 32;
    await failure(() => ring.buffer.pollEntries({ ...good, width }), 'ERR_INVALID_ARG_VALUE');
    for (const mask of [0, 2, 0xff00, 2 ** 32]) {
      await failure(() => ring.buffer.pollCounter({ offset: 0, mask }), 'ERR_OUT_OF_RANGE');
    }
    await failure(() => ring.buffer.pollCounter({ offset: 4094 }), 'ERR_OUT_OF_RANGE');
    // What just fits.
    ring.buffer.pollEntries({ ...good, offset: 4092 - 3 * stride }).poll();
    ring.buffer.pollEntries({ ...good, count: 256 }).poll();
    ring.buffer.pollCounter({ offset: 4094, width: 16 }).poll();
  });

  it('say which option does not fit, and what would', async () => {
    using memory = DmaBuffer.allocateSync(8192);
    const tests = [
      [
        { offset: 0, stride: 16, count: 513 },
        '"count" .* from 1 to 512, which fit the memory from offset 0 with stride 16\\. Received 513',
      ],
      [
        { offset: 0, count: 3000 },
        '"count" .* from 1 to 2048, which fit the memory from offset 0 with stride 4',
      ],
      [
        { offset: 8188, stride: 16, count: 2 },
        '"count" .* must be 1: no more fit the memory from offset 8188 with stride 16',
      ],
      [{ offset: 0, stride: 6, count: 2 }, '"stride" .* a multiple of 4'],
      [{ offset: 0, stride: 8193, count: 2 }, '"stride" .* a multiple of 4 from 4 to 8192'],
      [{ offset: 8190 }, '"offset" .* a multiple of 4 from 0 to 8188'],
    ] as const;
    for (const [options, words] of tests) {
      const ask = (): DmaPoll => memory.pollEntries({ mask: 1, value: 1, ...options });
      const { message } = await failure(ask, 'ERR_OUT_OF_RANGE');
      assert.match(message, new RegExp(words));
    }
  });

  it('are refused where reading the options disposes of the memory', async () => {
    for (const kind of ['pollEntries', 'pollCounter'] as const) {
      const memory = DmaBuffer.allocateSync(4096);
      const options = {
        ...{ mask: 1, value: 1 },
        get offset() {
          memory.disposeSync();
          return 0;
        },
      };
      await failure(() => memory[kind](options), 'ERR_VFIO_CLOSED');
    }
  });

  it('leave nothing in the addon where their state cannot be shown', async () => {
    using ring = new Ring();
    const released: number[] = [];
    const native = binding();
    const fakes = {
      dmaPollState: () => -95,
      dmaPollRelease: (poll: NativeDmaPoll) => (released.push(poll), native.dmaPollRelease(poll)),
    };
    await withBinding(fakes, async () => {
      await failure(() => ring.buffer.pollCounter({ offset: 0 }), 'ENOTSUP');
    });
    assert.equal(released.length, 1);
  });
});

describe('the addon’s polls of memory', () => {
  it('refuse by themselves what lies outside, and stale handles', () => {
    const native = binding();
    const memory = native.memoryAllocateSync(4096n, 0, 0) as NativeMemory;
    const poll = (offset: number, stride: number, ...words: number[]): unknown => {
      return native.dmaPoll(memory, offset, stride, Uint32Array.from(words));
    };
    const most = 2 ** 32 - 1;
    assert.equal(poll(4096, 0, 0, 4, 1, 1, 0, 1, 1), undefined);
    assert.equal(poll(2, 0, 0, 4, 1, 1, 0, 1, 1), undefined);
    assert.equal(poll(0, 4, 0, 4, 1, 1, 0, 1025, 1), undefined);
    assert.equal(poll(0, 4096, 0, 4, 1, 1, 0, most, 1), undefined);
    assert.equal(poll(0, 2 ** 52, 0, 4, 1, 1, 0, 2 ** 12 + 1, 1), undefined);
    assert.equal(poll(0, 2, 0, 4, 1, 1, 0, 1, 1), undefined);
    assert.equal(poll(0, 4, 0, 3, 1, 1, 0, 1, 1), undefined);
    assert.equal(poll(0, 8, 0, 8, 1, 1, 0, 1, 1), undefined);
    assert.equal(poll(0, 4, 0, 260, 1, 1, 0, 1, 1), undefined);
    assert.equal(poll(0, 4, 0, 4, 1, 1, 0, 0, 1), undefined);
    assert.equal(poll(0, 4, 0, 4, 1, 1, 0, 1, 0), undefined);
    assert.equal(poll(0, 4, 0, 4, 1, 1, 0, 1), undefined);
    assert.equal(native.dmaPoll(0 as NativeMemory, 0, 4, new Uint32Array(7)), undefined);
    const good = poll(0, 4, 0, 4, 1, 0, 0, 1024, 1024) as NativeDmaPoll;
    assert.ok(good > 0);
    const words = new Uint32Array(native.mailbox());
    const run = (handle: number): unknown => {
      [words[43], words[44], words[5]] = [handle, 0, 77];
      native.pollMemory();
      return words[5];
    };
    assert.equal(run(good), 0);
    assert.equal(words[45], 1024);
    assert.deepEqual([run(0), run(good + 1), run(2 ** 32 - 1)], [1, 1, 1]);
    native.memoryRelease(memory);
    assert.equal(run(good), 1, 'the memory is gone');
    words[43] = good;
    native.ringAndPoll();
    assert.equal(words[5], 1);
    assert.equal(native.dmaPollRelease(good), 0);
    assert.equal(native.dmaPollRelease(good), undefined);
    assert.equal(native.dmaPollState(good), undefined);
  });
});
