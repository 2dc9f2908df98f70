import assert from 'node:assert/strict';
import { constants as bufferConstants } from 'node:buffer';
import { constants, truncateSync, writeFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import {
  binding,
  type Binding,
  type NativeFd,
  type NativeMapping,
} from '../../lib/core/binding.ts';
import { Mailbox } from '../../lib/region/mailbox.ts';
import { tree } from '../support/tree.ts';

const size = 0x2000;

interface Mapped extends Disposable {
  fd: NativeFd;
  mapping: NativeMapping;
}

/** A mapped file whose bytes from 0x100 to 0x110 may not be written. */
function mapFile(): Mapped {
  const path = join(tree({}), 'file');
  writeFileSync(path, new Uint8Array(size));
  const native = binding();
  const fd = native.open(path, constants.O_RDWR) as NativeFd;
  const mapping = native.map(fd, 0, 0, 0, size, 0x100, 0x110) as NativeMapping;
  assert.ok(mapping > 0);
  const close = (): void => {
    native.unmapSync(mapping);
    native.closeSync(fd);
  };
  return { fd, mapping, [Symbol.dispose]: close };
}

describe('the addon’s accesses', () => {
  it('are refused by themselves outside of the mapping, whatever lib/ lets through', () => {
    using file = mapFile();
    const native = binding();
    const box = new Mailbox(native.mailbox());
    const widths = { read8: 1, read16: 2, read32: 4, read64: 8 } as const;
    for (const [name, width] of Object.entries(widths)) {
      const access = native[name as keyof typeof widths];
      const bad: unknown[] = [-1, -width, 0.5, size - width + 1, size, 2 ** 32, 2 ** 53, 1e300];
      if (width > 1) bad.push(1, width / 2, size - width / 2);
      for (const offset of [...bad, NaN, Infinity, -Infinity, '0', undefined, null, 0n]) {
        box.aim(file.mapping, offset);
        access();
        assert.equal(box.status, 1, `${name} at ${String(offset)}`);
      }
      for (const stale of [0, 1e6, 2 ** 32 - 1]) {
        box.aim(stale as NativeMapping, 0);
        access();
        assert.equal(box.status, 1, `${name} of ${stale}`);
      }
      box.aim(file.mapping, size - width);
      access();
      assert.equal(box.status, 0);
    }
  });

  it('of a region are refused by themselves where it is none, and count what was transferred', () => {
    using file = mapFile();
    const native = binding();
    const box = new Mailbox(native.mailbox());
    const status = (
      call: 'pread32' | 'pwrite64',
      fd: number,
      place: [number, number, number],
    ): number => {
      box.aimAt(fd as NativeFd, ...place);
      native[call]();
      return box.status;
    };
    for (const call of ['pread32', 'pwrite64'] as const) {
      for (const stale of [0, 1e6, 2 ** 32 - 1]) assert.equal(status(call, stale, [0, 0, 0]), 1);
      for (const offset of [-1, 0.5, NaN, 2 ** 53]) {
        assert.equal(status(call, file.fd, [0, 0, offset]), 1);
      }
      assert.equal(status(call, file.fd, [2 ** 31, 0, 0]), 1, 'past what a position can be');
      assert.equal(status(call, file.fd, [2 ** 31 - 1, 2 ** 32 - 1, 1]), 1);
      assert.equal(status(call, file.fd, [0, 8, 8]), 0);
    }
    assert.equal(status('pread32', file.fd, [0, size, 0]), 2, 'nothing is there');
    assert.equal(status('pread32', file.fd, [0, size - 3, 0]), 5, 'three bytes are there');
  });

  it('never write what is read-only', () => {
    using file = mapFile();
    const native = binding();
    const box = new Mailbox(native.mailbox());
    const write = (call: 'write8' | 'write16' | 'write32' | 'write64', offset: number): number => {
      box.aim(file.mapping, offset);
      native[call]();
      return box.status;
    };
    assert.deepEqual([write('write8', 0xff), write('write8', 0x100)], [0, 1]);
    assert.deepEqual([write('write16', 0x10e), write('write16', 0x110)], [1, 0]);
    assert.deepEqual([write('write64', 0xf8), write('write64', 0x108)], [0, 1]);
    assert.deepEqual([write('write32', 0x100), write('write32', 0xfc)], [1, 0]);
    const offsets = Uint32Array.of(0xfc, 0x10c);
    assert.equal(native.writeBatch32(file.mapping, offsets, offsets), undefined);
    assert.equal(native.readBatch32(file.mapping, offsets, new Uint32Array(2)), 0);
    assert.equal(native.writeBlock(file.mapping, 0xfc, new Uint32Array(2)), undefined);
    assert.equal(native.writeBlock(file.mapping, 0xf8, new Uint32Array(2)), 0);
    assert.equal(native.exposeMapping(file.mapping), undefined);
  });

  it('by an ArrayBuffer are refused where the engine takes none so large, and the mapping stays', () => {
    const path = join(tree({}), 'file');
    writeFileSync(path, '');
    const bytes = 5 * 2 ** 30;
    truncateSync(path, bytes);
    const native = binding();
    const fd = native.open(path, constants.O_RDWR) as NativeFd;
    const mapping = native.map(fd, 0, 0, 0, bytes, 0, 0) as NativeMapping;
    assert.ok(mapping > 0, String(mapping));
    const answer = native.exposeMapping(mapping);
    if (bytes > bufferConstants.MAX_LENGTH) assert.equal(answer, -os.errno.EOPNOTSUPP);
    else assert.ok(answer instanceof ArrayBuffer);
    const box = new Mailbox(native.mailbox());
    box.aim(mapping, bytes - 4);
    native.read32();
    assert.equal(box.status, 0);
    native.unmapSync(mapping);
    native.closeSync(fd);
  });

  it('are refused after the mapping is gone, and its handle names nothing ever after', () => {
    const file = mapFile();
    const native = binding();
    const box = new Mailbox(native.mailbox());
    box.aim(file.mapping, 0);
    native.read32();
    assert.equal(box.status, 0);
    file[Symbol.dispose]();
    using next = mapFile();
    assert.notEqual(next.mapping, file.mapping);
    box.aim(file.mapping, 0);
    native.read32();
    assert.equal(box.status, 1);
    assert.equal(native.unmapSync(file.mapping), undefined);
  });

  it('look at the offsets of a batch again when their memory is shared', () => {
    using file = mapFile();
    const native = binding();
    const offsets = new Uint32Array(new SharedArrayBuffer(4));
    assert.equal(native.readBatch32(file.mapping, offsets, new Uint32Array(1)), 0);
    offsets[0] = size;
    assert.equal(native.readBatch32(file.mapping, offsets, new Uint32Array(1)), undefined);
  });

  it('map nothing where the kernel will not', () => {
    const native = binding();
    const fd = native.open('/dev/null', constants.O_RDWR) as NativeFd;
    assert.equal(native.map(fd, 0, 0, 0, size, 0, 0), -os.errno.ENODEV);
    native.closeSync(fd);
  });

  it('refuse every wrong argument', () => {
    using file = mapFile();
    const { fd, mapping } = file;
    const words = new Uint32Array(1);
    const handles = [undefined, null, 0, -1, 1.5, 1e6, 'x', {}, 1n];
    const numbers = [undefined, null, -1, 1.5, NaN, 2 ** 53, '0', {}, 0n];
    const arrays = [undefined, null, 4, [0], new ArrayBuffer(4), new DataView(new ArrayBuffer(4))];
    const cases: [keyof Binding, unknown[]][] = [
      ...handles.flatMap((bad): [keyof Binding, unknown[]][] => [
        ['map', [bad, 0, 0, 0, size, 0, 0]],
        ['unmap', [bad]],
        ['unmapSync', [bad]],
        ['exposeMapping', [bad]],
        ['detachBuffer', [bad]],
        ['readBlock', [bad, 0, words]],
        ['writeBlock', [bad, 0, words]],
        ['readBatch32', [bad, words, words]],
        ['writeBatch32', [bad, words, words]],
        ['poll32', [bad, 0, 0, 0, 0]],
        ['poll32Sync', [bad, 0, 0, 0, 0]],
      ]),
      ...numbers.flatMap((bad): [keyof Binding, unknown[]][] => [
        ...[1, 2, 3, 4, 5, 6].map((at): [keyof Binding, unknown[]] => [
          'map',
          [fd, 0, 0, 0, size, 0, 0].map((good, index) => (index === at ? bad : good)),
        ]),
        ...[1, 2, 3, 4].map((at): [keyof Binding, unknown[]] => [
          at % 2 === 0 ? 'poll32' : 'poll32Sync',
          [mapping, 0, 0, 0, 0].map((good, index) => (index === at ? bad : good)),
        ]),
        ['readBlock', [mapping, bad, words]],
      ]),
      ...arrays.flatMap((bad): [keyof Binding, unknown[]][] => [
        ['readBlock', [mapping, 0, bad]],
        ['writeBlock', [mapping, 0, bad]],
        ['readBatch32', [mapping, bad, words]],
        ['writeBatch32', [mapping, words, bad]],
      ]),
      ['map', [fd, 0, 0, 0, 0, 0, 0]],
      ['readBlock', [mapping, 0, new Float32Array(1)]],
      ['readBlock', [mapping, 2, words]],
      ['readBlock', [mapping, size, words]],
      ['readBatch32', [mapping, new Uint32Array(2), words]],
      ['readBatch32', [mapping, new Int32Array(1), words]],
      ['readBatch32', [mapping, words, new Int32Array(1)]],
      ['poll32', [mapping, size, 0, 0, 0]],
      ['poll32Sync', [mapping, 2, 0, 0, 0]],
    ];
    for (const [name, args] of cases) {
      const native = binding()[name] as (...args: unknown[]) => unknown;
      assert.equal(native(...args), undefined, `${name}(${inspect(args)})`);
    }
  });

  it('refuse a row by mail that is too long, misplaced or of no mapping', () => {
    using file = mapFile();
    const native = binding();
    const words = new Uint32Array(native.mailbox());
    const [handle, status, rows, offsets, values] = [4, 5, 8, 9, 25] as const;
    const row = (call: 'readRows32' | 'writeRows32', of: number, count: number): unknown => {
      [words[handle], words[rows], words[status]] = [of, count, 77];
      native[call]();
      return words[status];
    };
    for (const call of ['readRows32', 'writeRows32'] as const) {
      words.fill(0, offsets);
      assert.deepEqual([row(call, file.mapping, 16), row(call, file.mapping, 0)], [0, 0]);
      assert.deepEqual([row(call, file.mapping, 17), row(call, file.mapping, 2 ** 32 - 1)], [1, 1]);
      assert.deepEqual([row(call, 0, 1), row(call, 12345, 1)], [1, 1]);
      words[values] = 0xabcd;
      for (const wrong of [2, size, size - 2, 2 ** 32 - 4]) {
        words[offsets + 1] = wrong;
        assert.equal(row(call, file.mapping, 2), 1, `${call} at ${wrong}`);
      }
      assert.equal(words[values], 0xabcd, 'nothing was done');
    }
  });

  it('answer the fault of a row', () => {
    const path = join(tree({}), 'file');
    writeFileSync(path, new Uint8Array(size));
    const native = binding();
    const fd = native.open(path, constants.O_RDWR) as NativeFd;
    const mapping = native.map(fd, 0, 0, 0, size, 0, 0) as NativeMapping;
    truncateSync(path, 0x1000);
    const values = new Uint32Array(3).fill(7);
    const offsets = Uint32Array.of(0, 0x1000, 0);
    assert.equal(native.readBatch32(mapping, offsets, values), -os.errno.EIO);
    assert.deepEqual([...values], [0, 7, 7], 'the row ended at the fault');
    native.unmapSync(mapping);
    native.closeSync(fd);
  });
});
