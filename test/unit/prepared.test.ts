import assert from 'node:assert/strict';
import { readFileSync, truncateSync } from 'node:fs';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import { binding, type NativeMapping, type NativePrepared } from '../../lib/core/binding.ts';
import {
  DmaBuffer,
  type MappedRegion,
  type PreparedAccess,
  type PreparedAccesses,
} from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { type FileRegion, fileRegion } from '../support/file_region.ts';

const counting = Uint8Array.from({ length: 0x2000 }, (_, at) => at);

/** A mapping of a file: what happens to it is what happens to device memory. */
function mappedFile(): FileRegion & { mapped: MappedRegion } {
  const file = fileRegion(counting, { size: 0x2000 });
  const mapped = file.region.map();
  const close = (): void => {
    mapped.closeSync();
    file.owner.fd.closeSync();
  };
  return { ...file, mapped, [Symbol.dispose]: close };
}

const content = ({ path }: FileRegion): Buffer => readFileSync(path).subarray(0x2000);

describe('prepared accesses', () => {
  it('read and write every width, each value at the number of its access', () => {
    using file = mappedFile();
    const reads = file.mapped.prepare([
      { op: 'read', offset: 0xf1, width: 8 },
      { op: 'read', offset: 0xf2, width: 16 },
      { op: 'read', offset: 0xf4 },
      { op: 'read', offset: 0xf8, width: 64 },
    ]);
    reads.values.fill(0xffff_ffff);
    reads.run();
    assert.deepEqual([...reads.values], [0xf1, 0xf3f2, 0xf7f6f5f4, 0xffff_ffff]);
    assert.deepEqual([...reads.values64], [0n, 0n, 0n, 0xfffefdfcfbfaf9f8n]);
    const halves = new Uint32Array(reads.values64.buffer, reads.values64.byteOffset);
    assert.deepEqual([...halves.subarray(6, 8)], [0xfbfaf9f8, 0xfffefdfc]);

    const writes = file.mapped.prepare([
      { op: 'write', offset: 1, width: 8 },
      { op: 'write', offset: 2, width: 16 },
      { op: 'write', offset: 4, width: 32 },
      { op: 'write', offset: 8, width: 64 },
    ]);
    writes.values.set([0x1111_11aa, 0x1111_bbcc, 0xfedcba98]);
    writes.values64[3] = 0xffeeddccbbaa9988n;
    writes.run();
    assert.equal(
      content(file).subarray(0, 17).toString('hex'),
      '00aaccbb98badcfe8899aabbccddeeff10',
    );
  });

  it('are made in their order, as often as they are run, with the values of that moment', () => {
    using file = mappedFile();
    const same = file.mapped.prepare([
      { op: 'write', offset: 0x10 },
      { op: 'read', offset: 0x10 },
      { op: 'write', offset: 0x10 },
      { op: 'read', offset: 0x10 },
    ]);
    for (const [first, last] of [
      [1, 2],
      [0xffff_ffff, 0],
    ] as const) {
      same.values[0] = first;
      same.values[2] = last;
      same.run();
      assert.deepEqual([...same.values], [first, first, last, last]);
    }
  });

  it('do not depend on what is done to the array that they were prepared with', () => {
    using file = mappedFile();
    const spec: { op: 'read'; offset: number }[] = [{ op: 'read', offset: 4 }];
    const accesses = file.mapped.prepare(spec);
    spec[0] = { op: 'read', offset: 0x5000 };
    accesses.run();
    assert.equal(accesses.values[0], 0x07060504);
  });

  it('count from where the mapping starts, and reach its last byte', async () => {
    using file = mappedFile();
    using part = file.region.map({ offset: 0x1014, size: 0x0c });
    const accesses = part.prepare([
      { op: 'read', offset: 8 },
      { op: 'read', offset: 11, width: 8 },
    ]);
    accesses.run();
    assert.deepEqual([...accesses.values], [0x1f1e1d1c, 0x1f]);
    await failure(() => part.prepare([{ op: 'read', offset: 12, width: 8 }]), 'ERR_OUT_OF_RANGE');
  });

  it('are refused at once where one of them is wrong, by its number', async () => {
    using file = mappedFile();
    const good = { op: 'write', offset: 0 } as const;
    const refusal = async (second: unknown, code: string): Promise<string> => {
      const accesses = [good, second] as PreparedAccess[];
      return (await failure(() => file.mapped.prepare(accesses), code)).message;
    };
    assert.match(
      await refusal({ op: 'write', offset: 2 }, 'ERR_OUT_OF_RANGE'),
      /"accesses\[1\]\.offset".*a multiple of 4/,
    );
    await refusal({ op: 'read', offset: 0x2000 }, 'ERR_OUT_OF_RANGE');
    await refusal({ op: 'read', offset: 0, width: 24 }, 'ERR_INVALID_ARG_VALUE');
    await refusal({ op: 'swap', offset: 0 }, 'ERR_INVALID_ARG_VALUE');
    await refusal(undefined, 'ERR_INVALID_ARG_TYPE');
    await failure(() => file.mapped.prepare([]), 'ERR_OUT_OF_RANGE');
    const many = new Array<PreparedAccess>(1025).fill(good);
    await failure(() => file.mapped.prepare(many), 'ERR_OUT_OF_RANGE');
    file.mapped.prepare(many.slice(1)).run();
  });

  it('do not write where the region cannot be written', async () => {
    using file = fileRegion(counting, { size: 0x2000, flags: ['read', 'mmap'] });
    using mapped = file.region.map();
    const accesses = mapped.prepare([{ op: 'read', offset: 4 }]);
    accesses.run();
    assert.equal(accesses.values[0], 0x07060504);
    const error = await failure(
      () => mapped.prepare([{ op: 'write', offset: 4 }]),
      'ERR_OUT_OF_RANGE',
    );
    assert.match(error.message, /"accesses\[0\]\.offset".*in a region that can be written/);
  });

  it('turn a fault into EIO of the access that faulted, after those before it', async () => {
    using file = mappedFile();
    const accesses = file.mapped.prepare([
      { op: 'write', offset: 4 },
      { op: 'read', offset: 0x1000, width: 16 },
      { op: 'write', offset: 8 },
    ]);
    accesses.values.set([0xabcd, 7, 0xabcd]);
    truncateSync(file.path, 0x3000);
    for (let round = 0; round < 3; round++) {
      const error = await failure(() => {
        accesses.run();
      }, 'EIO');
      assert.match(
        error.message,
        /^EIO: read16 of bar0\+0x1000 of 0000:3b:00.0 was not answered: memory/,
      );
    }
    assert.deepEqual([...accesses.values], [0xabcd, 7, 0xabcd]);
    assert.deepEqual([file.mapped.read32(4), file.mapped.read32(8)], [0xabcd, 0x0b0a0908]);
    truncateSync(file.path, 0x4000);
    accesses.run();
    assert.deepEqual([...accesses.values], [0xabcd, 0, 0xabcd], 'it works again');
  });

  it('throw once the mapping is closed, whatever is mapped after it; the values stay', async () => {
    using file = mappedFile();
    const { mapped } = file;
    const accesses = mapped.prepare([{ op: 'write', offset: 4 }]);
    accesses.values[0] = 5;
    accesses.run();
    mapped.closeSync();
    using next = file.region.map();
    const error = await failure(() => {
      accesses.run();
    }, 'ERR_VFIO_CLOSED');
    assert.match(error.message, /the mapping of bar0 of 0000:3b:00.0/);
    await failure(() => mapped.prepare([{ op: 'read', offset: 0 }]), 'ERR_VFIO_CLOSED');
    await failure(() => mapped.prepare(undefined as never), 'ERR_VFIO_CLOSED');
    assert.equal(accesses.values[0], 5);
    const others = next.prepare([{ op: 'read', offset: 4 }]);
    others.run();
    assert.equal(others.values[0], 5);
    await failure(() => {
      accesses.run();
    }, 'ERR_VFIO_CLOSED');
  });

  it('of many mappings go on while others are closed', async () => {
    using file = mappedFile();
    const all = Array.from({ length: 40 }, (_, at) => {
      const mapped = file.region.map();
      const accesses = mapped.prepare([{ op: 'read', offset: at * 4 }]);
      return { mapped, accesses, wanted: file.mapped.read32(at * 4) };
    });
    for (let closed = 0; closed <= all.length; closed++) {
      for (const [at, { accesses, wanted }] of all.entries()) {
        const run = (): void => {
          accesses.run();
        };
        if (at < closed) await failure(run, 'ERR_VFIO_CLOSED');
        else run();
        assert.equal(accesses.values[0], closed === 0 || at >= closed ? wanted : 77);
      }
      all[closed]?.mapped.closeSync();
      const next = all[closed];
      if (next) next.accesses.values[0] = 77;
    }
  });

  it('are made no more where somebody moves their memory away', async () => {
    using file = mappedFile();
    using memory = DmaBuffer.allocateSync(4096);
    const poll = memory.pollCounter({ offset: 0 });
    const prepare = (): PreparedAccesses => file.mapped.prepare([{ op: 'write', offset: 4 }]);
    const movers = [
      (buffer: ArrayBuffer) => binding().detachBuffer(buffer),
      // Node 20 has no transfer().
      (buffer: ArrayBuffer & { transfer?: () => unknown }) =>
        buffer.transfer ? buffer.transfer() : binding().detachBuffer(buffer),
    ];
    for (const move of movers) {
      const accesses = prepare();
      accesses.values[0] = 1;
      move(accesses.values.buffer as ArrayBuffer);
      assert.equal(accesses.values.length, 0);
      const runs = [
        () => {
          accesses.run();
        },
        () => poll.ringAndPoll(accesses),
      ];
      for (const run of runs) {
        const error = await failure(run, 'ERR_VFIO_CLOSED');
        assert.match(error.message, /transferred/);
      }
      assert.match(inspect(accesses), /state: 'transferred'/);
    }
    assert.equal(file.mapped.read32(4), 0x07060504, 'nothing was written');
  });

  it('go on where somebody tries to send their memory to another thread', () => {
    using file = mappedFile();
    const accesses = file.mapped.prepare([{ op: 'read', offset: 4 }]);
    const buffer = accesses.values.buffer as ArrayBuffer;
    try {
      // Node refuses to move it, or copies it: it is not the engine's.
      structuredClone(buffer, { transfer: [buffer] });
    } catch (error) {
      assert.equal((error as Error).name, 'DataCloneError');
    }
    accesses.run();
    assert.equal(accesses.values[0], 0x07060504);
  });

  it('have the same arrays for good', () => {
    using file = mappedFile();
    const accesses = file.mapped.prepare([{ op: 'read', offset: 4 }]);
    const { values } = accesses;
    const loose = accesses as { values: unknown; values64: unknown };
    assert.throws(() => (loose.values = new Uint32Array(1)), TypeError);
    assert.throws(() => (loose.values64 = new BigUint64Array(1)), TypeError);
    assert.throws(() => Object.defineProperty(accesses, 'values', { value: 1 }), TypeError);
    accesses.run();
    assert.equal(accesses.values, values);
    assert.equal(values[0], 0x07060504);
  });

  it('are read from their array by number, once, and whatever that does is seen', async () => {
    using file = mappedFile();
    const { mapped } = file;
    const iterators = [
      function* (): Generator<PreparedAccess> {
        // None.
      },
      function* (): Generator<PreparedAccess> {
        for (;;) yield { op: 'read', offset: 8 };
      },
    ];
    for (const iterator of iterators) {
      const odd = Object.assign([{ op: 'read', offset: 4 } as const], {
        [Symbol.iterator]: iterator,
      });
      const accesses = mapped.prepare(odd);
      accesses.run();
      assert.deepEqual([...accesses.values], [0x07060504]);
    }
    let asked = 0;
    const changing = {
      op: 'read' as const,
      get offset() {
        return asked++ === 0 ? 4 : 0x5001;
      },
    };
    mapped.prepare([changing]).run();
    assert.equal(asked, 1);
    const closing = {
      op: 'read' as const,
      get offset() {
        mapped.closeSync();
        return 0;
      },
    };
    await failure(() => mapped.prepare([closing]), 'ERR_VFIO_CLOSED');
  });

  it('are shown as what they are', () => {
    using file = mappedFile();
    const accesses = file.mapped.prepare([{ op: 'read', offset: 4 }]);
    accesses.run();
    const shown = inspect(accesses, { depth: 3 });
    assert.match(shown, /PreparedAccesses.*op: 'read', offset: 4, width: 32, value: 117835012/s);
    assert.match(shown, /state: 'open'/);
    file.mapped.closeSync();
    assert.match(inspect(accesses), /state: 'closed'/);
  });
});

describe('the addon’s prepared accesses', () => {
  it('refuse by themselves what lies outside, is not aligned or read-only, and stale handles', () => {
    using file = fileRegion(counting, { size: 0x2000 });
    const native = binding();
    const { fd } = file.owner;
    const mapping = native.map(fd.native, 0, 0x2000, 0, 0x2000, 0x100, 0x110) as NativeMapping;
    const prepare = (kind: number, offset: bigint, of = mapping): unknown => {
      return native.prepare(of, Uint8Array.of(kind), BigUint64Array.of(offset));
    };
    const [write32, read64, write64] = [6, 3, 7];
    for (const offset of [0x2000n, 0x1ffen, 2n ** 64n - 4n, 2n, 0x100n, 0x10cn]) {
      assert.equal(prepare(write32, offset), undefined, String(offset));
    }
    assert.equal(prepare(read64, 0x1ffcn), undefined);
    assert.equal(prepare(write64, 0x108n), undefined);
    for (const kind of [8, 255]) assert.equal(prepare(kind, 0n), undefined);
    assert.equal(prepare(write32, 0n, 0 as NativeMapping), undefined);
    const [kinds, offsets] = [Uint8Array.of(2, 2), BigUint64Array.of(0n, 8n)];
    const bad: unknown[][] = [
      [mapping, new Uint8Array(0), offsets],
      [mapping, new Uint8Array(1025), new BigUint64Array(1025)],
      [mapping, kinds, offsets.subarray(1)],
      [mapping, [2, 2], offsets],
      [mapping, kinds, [0n, 8n]],
      [undefined, kinds, offsets],
    ];
    for (const args of bad) {
      assert.equal(native.prepare(...(args as Parameters<typeof native.prepare>)), undefined);
    }
    const prepared = prepare(read64, 0x1ff8n) as NativePrepared;
    assert.ok(prepared > 0);
    const words = new Uint32Array(native.mailbox());
    const run = (handle: number): unknown => {
      [words[41], words[5]] = [handle, 77];
      native.runPrepared();
      return words[5];
    };
    assert.equal(run(prepared), 0);
    assert.deepEqual([run(0), run(prepared + 1), run(2 ** 32 - 1)], [1, 1, 1]);
    native.unmapSync(mapping);
    assert.equal(run(prepared), 1);
    assert.equal(native.preparedRelease(prepared), 0);
    assert.equal(native.preparedRelease(prepared), undefined);
    assert.equal(native.preparedValues(prepared), undefined);
    assert.equal(run(prepared), 1);
  });
});
