import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import { binding, type Binding, type NativeMemory } from '../../lib/core/binding.ts';
import { unknownIoctl } from '../support/emulation.ts';
import { openNull } from '../support/null_fd.ts';
import { tree } from '../support/tree.ts';

const { EACCES, EBADF } = os.errno;
const page = 4096n;

function allocate(size: bigint): NativeMemory {
  const memory = binding().memoryAllocateSync(size, 0, 0);
  assert.ok(memory !== undefined && memory > 0, `memoryAllocate answered ${memory}`);
  return memory as NativeMemory;
}

describe('the addon’s iommufd ioctls', () => {
  it('answer the kernel’s errno', async () => {
    const native = binding();
    const fd = openNull();
    const memory = allocate(page);
    const file = openSync('/dev/zero', 'r+');
    const word = new BigUint64Array(3);
    assert.equal(native.ioasMapSync(fd, 1, 6, 0n, page, 0n), -unknownIoctl);
    assert.equal(native.ioasMapMemorySync(fd, 1, 6, memory, 0n, page, 0n), -unknownIoctl);
    assert.equal(native.ioasMapMemoryFileSync(fd, 1, 6, memory, 0n, page, 0n), -unknownIoctl);
    assert.equal(native.ioasMapFileSync(fd, 1, 6, file, 0n, page, 0n), -unknownIoctl);
    assert.equal(native.ioasMapFileSync(fd, 1, 6, 2 ** 30, 0n, page, 0n), -EBADF);
    assert.equal(native.ioasUnmapSync(fd, 1, 0n, page), -unknownIoctl);
    assert.equal(native.ioasCopySync(fd, 1, 6, 2, 0n, page, 0n), -unknownIoctl);
    assert.equal(native.ioasChangeProcessSync(fd), -unknownIoctl);
    assert.equal(native.ioasIovaRanges(fd, 1, word), -unknownIoctl);
    assert.equal(native.ioasAllowIovas(fd, 1, word.subarray(1)), -unknownIoctl);
    assert.equal(native.iommuOption(fd, 0, 1, 0, 0n), -unknownIoctl);
    assert.equal(native.iommufdProbe(fd, 0x3b8f), -unknownIoctl);
    assert.equal(native.getHwInfo(fd, 1, undefined, word, word), -unknownIoctl);
    assert.equal(native.getHwInfo(fd, 1, 3, word, word), -unknownIoctl);
    assert.equal(native.faultQueueAlloc(fd, new Uint32Array(1)), -unknownIoctl);
    const data = new Uint8Array(24);
    assert.equal(native.hwptAllocSync(fd, 1, 1, 0, 0, 1, data), -unknownIoctl);
    assert.deepEqual(
      native.hwptInvalidateSync(fd, 1, 0, 12, data),
      Uint32Array.of(unknownIoctl, 0),
    );
    assert.equal(native.viommuAllocSync(fd, 1, 1, 2, data), -unknownIoctl);
    assert.equal(native.vdeviceAllocSync(fd, 1, 1, 2n ** 64n - 1n), -unknownIoctl);
    assert.equal(native.veventqAlloc(fd, 1, 1, 8, new Uint32Array(1)), -unknownIoctl);
    assert.equal(native.hwQueueAllocSync(fd, 1, 1, 0, page, page), -unknownIoctl);
    assert.equal(native.attachSync(fd, 1), -unknownIoctl);
    assert.equal(native.attachSync(fd, 1, 7), -unknownIoctl);
    assert.equal(native.detachSync(fd, 7), -unknownIoctl);
    assert.equal(native.containerTrackDirtySync(fd, 1), -unknownIoctl);
    assert.equal(native.containerDirtyBitmapSync(fd, 0n, page, page, 1), -unknownIoctl);
    assert.equal(native.containerUnmapDirtySync(fd, 0n, page, page, 1), -unknownIoctl);
    assert.equal(native.hwptSetDirtyTrackingSync(fd, 1, 1), -unknownIoctl);
    assert.equal(native.hwptGetDirtyBitmapSync(fd, 1, 0, 0n, page, page, 1), -unknownIoctl);
    assert.equal(await native.ioasMapMemory(fd, 1, 6, memory, 0n, page, 0n), -unknownIoctl);
    assert.equal(await native.ioasUnmap(fd, 1, 0n, page), -unknownIoctl);
    closeSync(file);
    native.memoryRelease(memory);
    native.closeSync(fd);
  });

  it('map the part of a memory that is asked for, and no more than it has', () => {
    const native = binding();
    const fd = openNull();
    const memory = allocate(4n * page);
    for (const name of ['ioasMapMemorySync', 'ioasMapMemoryFileSync'] as const) {
      const map = (offset: bigint, length: bigint): unknown =>
        native[name](fd, 1, 6, memory, offset, length, 0n);
      assert.equal(map(page, 3n * page), -unknownIoctl);
      assert.equal(map(page, 4n * page), undefined);
      assert.equal(map(5n * page, page), undefined);
      assert.equal(map(2n ** 64n - 1n, 2n), undefined);
      assert.equal(map(2n, 2n ** 64n - 1n), undefined);
    }
    native.memoryRelease(memory);
    assert.equal(native.ioasMapMemorySync(fd, 1, 6, memory, 0n, page, 0n), undefined);
    assert.equal(native.ioasMapMemoryFileSync(fd, 1, 6, memory, 0n, page, 0n), undefined);
    native.closeSync(fd);
  });

  it('refuse every wrong argument without a system call', () => {
    const fd = openNull();
    const memory = allocate(page);
    const handles = [undefined, null, 0, 4e9, -1, 1.5, 'x', {}, 1n];
    const numbers = [undefined, -1, 1.5, NaN, 2 ** 32, '1', 1n];
    const bigs = [undefined, null, 1, '1', -1n, 2n ** 64n, {}];
    const room = new BigUint64Array(8);
    const data = new Uint8Array(8);
    const cases: [keyof Binding, unknown[]][] = [
      ...handles.flatMap((bad): [keyof Binding, unknown[]][] => [
        ['ioasMap', [bad, 1, 6, 0n, page, 0n]],
        ['ioasMapMemory', [bad, 1, 6, memory, 0n, page, 0n]],
        ['ioasMapMemorySync', [bad, 1, 6, memory, 0n, page, 0n]],
        ['ioasMapMemorySync', [fd, 1, 6, bad, 0n, page, 0n]],
        ['ioasMapMemoryFile', [fd, 1, 6, bad, 0n, page, 0n]],
        ['ioasMapMemoryFileSync', [bad, 1, 6, memory, 0n, page, 0n]],
        ['ioasMapMemoryFileSync', [fd, 1, 6, bad, 0n, page, 0n]],
        ['ioasMapFile', [bad, 1, 6, 1, 0n, page, 0n]],
        ['ioasUnmap', [bad, 1, 0n, page]],
        ['ioasUnmapSync', [bad, 1, 0n, page]],
        ['ioasCopy', [bad, 1, 6, 1, 0n, page, 0n]],
        ['ioasChangeProcess', [bad]],
        ['ioasIovaRanges', [bad, 1, room]],
        ['ioasAllowIovas', [bad, 1, room]],
        ['iommuOption', [bad, 0, 0, 0, 0n]],
        ['iommufdProbe', [bad, 1]],
        ['getHwInfo', [bad, 1, undefined, room, room]],
        ['faultQueueAlloc', [bad, new Uint32Array(1)]],
        ['hwptAlloc', [bad, 1, 1, 0, 0, 0, data]],
        ['hwptInvalidate', [bad, 1, 0, 8, data]],
        ['viommuAlloc', [bad, 1, 1, 1, data]],
        ['vdeviceAlloc', [bad, 1, 1, 1n]],
        ['veventqAlloc', [bad, 1, 1, 8, new Uint32Array(1)]],
        ['hwQueueAlloc', [bad, 1, 1, 0, page, page]],
        ['attach', [bad, 1, 7]],
        ['detach', [bad, 7]],
        ['containerTrackDirty', [bad, 1]],
        ['containerDirtyBitmap', [bad, 0n, page, page, 1]],
        ['containerUnmapDirty', [bad, 0n, page, page, 1]],
        ['hwptSetDirtyTracking', [bad, 1, 1]],
        ['hwptGetDirtyBitmap', [bad, 1, 0, 0n, page, page, 1]],
        ['memoryBuffer', [bad, 0n, page]],
        ['memoryFile', [bad]],
        ['memoryRelease', [bad]],
        ['detachBuffer', [bad]],
      ]),
      ...numbers.flatMap((bad): [keyof Binding, unknown[]][] => [
        ['ioasMapSync', [fd, bad, 6, 0n, page, 0n]],
        ['ioasMapSync', [fd, 1, bad, 0n, page, 0n]],
        ['ioasMapFileSync', [fd, 1, 6, bad, 0n, page, 0n]],
        ['ioasMapMemorySync', [fd, bad, 6, memory, 0n, page, 0n]],
        ['ioasMapMemorySync', [fd, 1, bad, memory, 0n, page, 0n]],
        ['ioasMapMemoryFileSync', [fd, bad, 6, memory, 0n, page, 0n]],
        ['ioasMapMemoryFileSync', [fd, 1, bad, memory, 0n, page, 0n]],
        ['ioasUnmapSync', [fd, bad, 0n, page]],
        ['ioasCopySync', [fd, 1, 6, bad, 0n, page, 0n]],
        ['iommuOption', [fd, 0, bad, 0, 0n]],
        ['iommufdProbe', [fd, bad]],
        ['hwptAllocSync', [fd, 1, 1, 0, bad, 0, data]],
        ['hwptAllocSync', [fd, 1, 1, 0, 0, bad, data]],
        ['hwptInvalidateSync', [fd, bad, 0, 8, data]],
        ['hwptInvalidateSync', [fd, 1, bad, 8, data]],
        ['hwptInvalidateSync', [fd, 1, 0, bad, data]],
        ['viommuAllocSync', [fd, 1, bad, 1, data]],
        ['viommuAllocSync', [fd, 1, 1, bad, data]],
        ['vdeviceAllocSync', [fd, 1, bad, 1n]],
        ['veventqAlloc', [fd, 1, 1, bad, new Uint32Array(1)]],
        ['hwQueueAllocSync', [fd, 1, 1, bad, page, page]],
        ['containerDirtyBitmapSync', [fd, 0n, page, page, bad]],
        ['hwptGetDirtyBitmapSync', [fd, 1, 0, 0n, page, page, bad]],
        ['memoryAllocateSync', [page, bad, 0]],
        ['memoryFromFile', [bad, 0n, page]],
      ]),
      ...bigs.flatMap((bad): [keyof Binding, unknown[]][] => [
        ['ioasMapSync', [fd, 1, 6, bad, page, 0n]],
        ['ioasMapSync', [fd, 1, 6, 0n, bad, 0n]],
        ['ioasMapSync', [fd, 1, 6, 0n, page, bad]],
        ['ioasMapMemory', [fd, 1, 6, memory, bad, page, 0n]],
        ['ioasMapMemory', [fd, 1, 6, memory, 0n, bad, 0n]],
        ['ioasMapMemory', [fd, 1, 6, memory, 0n, page, bad]],
        ['ioasMapMemorySync', [fd, 1, 6, memory, bad, page, 0n]],
        ['ioasMapMemorySync', [fd, 1, 6, memory, 0n, bad, 0n]],
        ['ioasMapMemorySync', [fd, 1, 6, memory, 0n, page, bad]],
        ['ioasMapMemoryFileSync', [fd, 1, 6, memory, 0n, page, bad]],
        ['ioasUnmapSync', [fd, 1, bad, page]],
        ['ioasUnmapSync', [fd, 1, 0n, bad]],
        ['ioasCopySync', [fd, 1, 6, 1, bad, page, 0n]],
        ['iommuOption', [fd, 0, 0, 0, bad]],
        ['hwptGetDirtyBitmapSync', [fd, 1, 0, bad, page, page, 1]],
        ['vdeviceAllocSync', [fd, 1, 1, bad]],
        ['hwQueueAllocSync', [fd, 1, 1, 0, bad, page]],
        ['hwQueueAllocSync', [fd, 1, 1, 0, page, bad]],
        ['containerDirtyBitmapSync', [fd, bad, page, page, 1]],
        ['containerUnmapDirtySync', [fd, 0n, bad, page, 1]],
        ['memoryBuffer', [memory, bad, page]],
        ['memoryAllocate', [bad, 0, 0]],
        ['memoryFromFile', [1, bad, page]],
      ]),
      ['iommuOption', [fd, 0, 65536, 0, 0n]],
      ['ioasIovaRanges', [fd, 1, new BigUint64Array(0)]],
      ['ioasIovaRanges', [fd, 1, new BigInt64Array(8)]],
      ['ioasAllowIovas', [fd, 1, new BigUint64Array(3)]],
      ['getHwInfo', [fd, 1, undefined, new BigUint64Array(2), room]],
      ['getHwInfo', [fd, 1, null, room, room]],
      ['attachSync', [fd, 1, null]],
      ['detachSync', [fd, -1]],
      ['hwptInvalidateSync', [fd, 1, 0, 3, data]],
      ['hwptInvalidateSync', [fd, 1, 0, 0, data]],
      ['viommuAllocSync', [fd, 1, 1, 1, room]],
      ['veventqAlloc', [fd, 1, 1, 8, new Uint32Array(0)]],
      ['containerDirtyBitmapSync', [fd, 0n, 65n * page, page, 1]],
      ['containerUnmapDirtySync', [fd, 0n, page, 0n, 1]],
      ['containerDirtyBitmapSync', [fd, 0n, page, page, 2 ** 25 + 1]],
      ['hwptGetDirtyBitmapSync', [fd, 1, 0, 0n, 65n * page, page, 1]],
      ['hwptGetDirtyBitmapSync', [fd, 1, 0, 0n, page, 0n, 1]],
      ['hwptGetDirtyBitmapSync', [fd, 1, 0, 0n, page, page, 2 ** 19]],
      ['memoryBuffer', [memory, page, 1n]],
      ['memoryAllocate', [0n, 0, 0]],
      ['memoryAllocate', [2n ** 63n, 0, 0]],
    ];
    for (const [name, args] of cases) {
      const native = binding()[name] as (...args: unknown[]) => unknown;
      assert.equal(native(...args), undefined, `${name}(${inspect(args)})`);
    }
    binding().memoryRelease(memory);
    binding().closeSync(fd);
  });
});

describe('the addon’s memory', () => {
  it('is of a file that nobody can resize, and that no child inherits', () => {
    const memory = allocate(2n * page);
    const number = binding().memoryFile(memory) ?? -1;
    const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${number}`, 'utf8'))?.[1];
    assert.equal(parseInt(flags ?? '0', 8) & 0o2000000, 0o2000000);
    const write = openSync(`/proc/self/fd/${number}`, 'r+');
    assert.throws(() => openSync(`/proc/self/fd/${number}`, 'w'), { code: 'EPERM' });
    closeSync(write);
    binding().memoryRelease(memory);
    assert.throws(() => readFileSync(`/proc/self/fd/${number}`), { code: 'ENOENT' });
  });

  it('answers -errno where it cannot be had', () => {
    const native = binding();
    const huge = 4 | (30 << 26);
    // A thousand huge pages of 1 GiB.
    assert.ok(Number(native.memoryAllocateSync(2n ** 40n, huge, 0)) < 0);
    assert.equal(native.memoryFromFile(2 ** 30, 0n, page), -EBADF);
    const folder = openSync(tree({ a: '' }), 'r');
    assert.equal(
      native.memoryFromFile(folder, 0n, page),
      -(EACCES + 2 * 4096),
      'open for reading only',
    );
    closeSync(folder);
  });

  it('shares a file’s pages', () => {
    const native = binding();
    const one = allocate(page);
    const two = native.memoryFromFile(native.memoryFile(one) ?? -1, 0n, page) as NativeMemory;
    const first = new Uint8Array(native.memoryBuffer(one, 0n, page) as ArrayBuffer);
    const second = new Uint8Array(native.memoryBuffer(two, 16n, 16n) as ArrayBuffer);
    first[17] = 7;
    assert.equal(second[1], 7);
    assert.equal(second.byteLength, 16);
    native.memoryRelease(one);
    native.memoryRelease(two);
    assert.equal(first[17], 7, 'what is shown stays');
  });
});
