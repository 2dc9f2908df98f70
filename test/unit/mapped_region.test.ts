import assert from 'node:assert/strict';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import { binding, type Binding, replaceBinding } from '../../lib/core/binding.ts';
import type { MappedRegion } from '../../lib/index.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { type FileRegion, fileRegion } from '../support/file_region.ts';
import { put, tree } from '../support/tree.ts';

const counting = Uint8Array.from({ length: 0x2000 }, (_, at) => at);
const big = { size: 0x2000 };

/** A mapping of a file: what happens to it is what happens to device memory. */
function mappedFile(): FileRegion & { mapped: MappedRegion } {
  const file = fileRegion(counting, big);
  const mapped = file.region.map();
  const close = (): void => {
    mapped.closeSync();
    file.owner.fd.closeSync();
  };
  return { ...file, mapped, [Symbol.dispose]: close };
}

/** The slices of polls that wait: each is a call of the addon. */
class Slices {
  #begun = (): void => undefined;

  /** A mapping whose slices are told. */
  mappedFile(): ReturnType<typeof mappedFile> {
    const native = binding();
    const poll32: Binding['poll32'] = (...args) => {
      this.#begun();
      return native.poll32(...args);
    };
    const restore = replaceBinding({ ...native, poll32 });
    try {
      return mappedFile();
    } finally {
      restore();
    }
  }

  /** Resolves when so many more have begun. */
  next(count: number): Promise<void> {
    let begun = 0;
    return new Promise((resolve) => {
      this.#begun = () => {
        begun++;
        if (begun === count) resolve();
      };
    });
  }
}

/** Takes the pages from under a mapping: every access of them raises SIGBUS. */
function vanish(file: FileRegion): void {
  truncateSync(file.path, 0x2000);
}

function mapsOf(path: string): number {
  return readFileSync('/proc/self/maps', 'utf8').split(path).length - 1;
}

describe('MappedRegion', () => {
  it('reads and writes registers of every width, little-endian, in their place', () => {
    using file = mappedFile();
    const { mapped } = file;
    assert.deepEqual([mapped.name, mapped.offset, mapped.size], ['bar0', 0, 0x2000]);
    assert.equal(mapped.read8(3), 3);
    assert.equal(mapped.read16(2), 0x0302);
    assert.equal(mapped.read32(0xfc), 0xfffefdfc);
    assert.equal(mapped.read64(8), 0x0f0e0d0c0b0a0908n);
    assert.equal(mapped.read64LoHi(8), 0x0f0e0d0c0b0a0908n);
    assert.equal(mapped.read64LoHi(4), 0x0b0a090807060504n, 'a multiple of 4 is enough');
    mapped.write8(0, 0xaa);
    mapped.write16(2, 0xbbcc);
    mapped.write32(4, 0xfedcba98);
    mapped.write64(8, 0xffeeddccbbaa9988n);
    mapped.barrier();
    const content = readFileSync(file.path).subarray(0x2000, 0x2011);
    assert.equal(content.toString('hex'), 'aa01ccbb98badcfe8899aabbccddeeff10');
  });

  it('maps a part that starts and ends anywhere', async () => {
    using file = fileRegion(counting, big);
    using mapped = file.region.map({ offset: 0x1014, size: 0x10 });
    assert.equal(mapped.read32(0), 0x17161514);
    assert.equal(mapped.read8(0xf), 0x23);
    await failure(() => mapped.read8(0x10), 'ERR_OUT_OF_RANGE');
    using rest = file.region.map({ offset: 0x1ff0 });
    assert.equal(rest.size, 0x10);
    using head = file.region.map({ size: 4 });
    assert.deepEqual([head.offset, head.size], [0, 4]);
  });

  it('makes no access that is not aligned in the region, wherever the mapping starts', async () => {
    using file = fileRegion(counting, big);
    using odd = file.region.map({ offset: 1, size: 0x100 });
    const wide = odd as { read64: (offset: number) => unknown };
    const refused: (() => unknown)[] = [
      () => odd.read16(0),
      () => odd.read32(0),
      () => wide.read64(0),
      () => odd.read64LoHi(0),
      () => (odd.write16(2, 0), 0),
      () => (odd.write32(4, 0), 0),
      () => (odd.write64(8, 0n), 0),
      () => (odd.write64LoHi(8, 0n), 0),
      () => odd.readBlock(0, new Uint16Array(1)),
      () => odd.readBlock(0, new BigUint64Array(1)),
      () => (odd.writeBlock(0, new Uint32Array(1)), 0),
      () => odd.readBatch32(Uint32Array.of(3, 4), new Uint32Array(2)),
      () => odd.readBatch32(new Uint32Array(20).fill(4), new Uint32Array(20)),
      () => (odd.writeBatch32(Uint32Array.of(4), new Uint32Array(1)), 0),
      () => odd.poll32(0, 1, 0),
      () => odd.poll32Sync(0, 1, 0),
      () => odd.prepare([{ op: 'read', offset: 0, width: 64 }]),
      () => odd.prepare([{ op: 'write', offset: 4 }]),
      () => odd.registers({ x: { offset: 0 } }),
      () => odd.registers({ x: { offset: 0, width: 64, split: true } }),
    ];
    for (const access of refused) {
      const error = await failure(access, 'ERR_OUT_OF_RANGE');
      assert.match(error.message, /a multiple of [248] with where the mapping starts .*\(0x1\)/);
    }
    assert.equal(odd.read8(0), 1);
    assert.equal(odd.read16(1), 0x0302);
    assert.equal(odd.read32(3), 0x07060504);
    assert.equal(odd.read64(7), 0x0f0e0d0c0b0a0908n);
    assert.equal(odd.read64LoHi(3), 0x0b0a090807060504n);
    assert.deepEqual([...odd.readBlock(3, new Uint32Array(1))], [0x07060504]);
    const many = new Uint32Array(20).fill(7);
    assert.deepEqual(
      [...odd.readBatch32(many, new Uint32Array(20))],
      [...new Uint32Array(20).fill(0x0b0a0908)],
    );
    assert.equal(odd.poll32Sync(3, 0xff, 4), 0x07060504);
    const accesses = odd.prepare([{ op: 'read', offset: 7, width: 64 }]);
    accesses.run();
    assert.deepEqual([...accesses.values64], [0x0f0e0d0c0b0a0908n]);
    const { regs } = odd.registers({ regs: { offset: 3, count: 2 } });
    assert.equal(regs.at(1).read(), 0x0b0a0908);
  });

  it('reads and writes blocks, each element one access', async () => {
    using file = mappedFile();
    const { mapped } = file;
    assert.deepEqual([...mapped.readBlock(1, new Uint8Array(3))], [1, 2, 3]);
    assert.deepEqual([...mapped.readBlock(2, new Uint16Array(2))], [0x0302, 0x0504]);
    assert.deepEqual([...mapped.readBlock(4, new Uint32Array(1))], [0x07060504]);
    assert.deepEqual([...mapped.readBlock(8, new BigUint64Array(1))], [0x0f0e0d0c0b0a0908n]);
    mapped.writeBlock(4, Uint32Array.of(1, 2));
    assert.deepEqual([...mapped.readBlock(4, new Uint32Array(3))], [1, 2, 0x0f0e0d0c]);
    assert.equal(mapped.readBlock(0x2000, new Uint32Array(0)).length, 0);
    await failure(() => mapped.readBlock(2, new Uint32Array(1)), 'ERR_OUT_OF_RANGE');
    await failure(() => mapped.readBlock(0x1ffc, new Uint32Array(2)), 'ERR_OUT_OF_RANGE');
  });

  it('reads and writes batches in their order, and nothing where one is refused', async () => {
    using file = mappedFile();
    const { mapped } = file;
    const values = mapped.readBatch32(Uint32Array.of(8, 0, 8), new Uint32Array(4).fill(9));
    assert.deepEqual([...values], [0x0b0a0908, 0x03020100, 0x0b0a0908, 9]);
    mapped.writeBatch32(Uint32Array.of(0x10, 0x14, 0x10), Uint32Array.of(1, 2, 3));
    assert.equal(mapped.read64(0x10), 0x0000_0002_0000_0003n);
    const offsets = Uint32Array.of(0x10, 0x2000);
    await failure(() => {
      mapped.writeBatch32(offsets, Uint32Array.of(7, 7));
    }, 'ERR_OUT_OF_RANGE');
    assert.equal(mapped.read32(0x10), 3);
  });

  it('reads and writes batches of every length alike, short ones without arguments', async () => {
    using file = mappedFile();
    const native = binding();
    const withArguments: number[] = [];
    const fakes: Partial<Binding> = {
      readBatch32: (...args) => (withArguments.push(args[1].length), native.readBatch32(...args)),
      writeBatch32: (...args) => (withArguments.push(args[1].length), native.writeBatch32(...args)),
    };
    await withBinding(fakes, () => {
      using mapped = file.region.map();
      for (const length of [0, 1, 2, 15, 16, 17, 40]) {
        const offsets = Uint32Array.from({ length }, (_, at) => 0x100 + at * 12);
        const values = offsets.map((offset) => offset ^ 0xffff_0000);
        mapped.writeBatch32(offsets, values);
        assert.deepEqual(
          [...offsets].map((offset) => file.mapped.read32(offset)),
          [...values],
        );
        assert.deepEqual(mapped.readBatch32(offsets, new Uint32Array(length)), values);
      }
    });
    assert.deepEqual(withArguments, [17, 17, 40, 40]);
  });

  it('turns a fault into EIO, every time, in every method', async () => {
    using file = mappedFile();
    const { mapped } = file;
    vanish(file);
    const [one, values] = [new Uint32Array(1), new Uint32Array(1)];
    const accesses: (() => unknown)[] = [
      () => mapped.read8(1),
      () => mapped.read16(2),
      () => mapped.read32(4),
      () => mapped.read64(8),
      () => mapped.read64LoHi(8),
      () => (mapped.write8(1, 1), 0),
      () => (mapped.write16(2, 1), 0),
      () => (mapped.write32(4, 1), 0),
      () => (mapped.write64(8, 1n), 0),
      () => mapped.readBlock(4, one),
      () => (mapped.writeBlock(4, one), 0),
      () => mapped.readBatch32(one, values),
      () => (mapped.writeBatch32(one, values), 0),
      () => mapped.poll32(4, 1, 1),
      () => mapped.poll32Sync(4, 1, 1),
    ];
    for (let round = 0; round < 3; round++) {
      for (const access of accesses) {
        const error = await failure(access, 'EIO');
        assert.match(error.message, /^EIO: \w+ of bar0.* of 0000:3b:00.0 was not answered: memory/);
      }
    }
    truncateSync(file.path, 0x4000);
    assert.equal(mapped.read32(4), 0, 'the mapping works again when its pages are back');
  });

  it('says where a fault was', async () => {
    using file = fileRegion(counting, big);
    using mapped = file.region.map({ offset: 0x1000 });
    vanish(file);
    const error = await failure(() => mapped.read16(0x10), 'EIO');
    assert.equal('region' in error && error.region, 'bar0+0x1010');
  });

  it('says that the device is gone where sysfs has it no more', async () => {
    const devices = join(tree({ 'devices/0000:3c:00.0/uevent': '' }), 'devices');
    using file = mappedFile();
    Object.assign(file.owner.location.device, { sysfsPath: join(devices, '0000:3b:00.0') });
    const { mapped } = file;
    vanish(file);
    const ways: (() => unknown)[] = [
      () => mapped.read32(0),
      () => mapped.read64LoHi(0),
      () => mapped.readBlock(0, new Uint32Array(1)),
      () => mapped.readBatch32(new Uint32Array(1), new Uint32Array(1)),
      () => mapped.poll32Sync(0, 1, 1),
      () => mapped.poll32(0, 1, 1),
      () => {
        mapped.write32(0, 1);
      },
      () => {
        mapped.write64LoHi(0, 1n);
      },
    ];
    for (const way of ways) {
      const error = await vfioFailure(way, 'EIO');
      assert.deepEqual([error.reason, error.certainty], ['gone', 'certain'], error.message);
    }
    // What is hidden is not gone.
    rmSync(join(devices, '0000:3c:00.0'), { recursive: true });
    assert.equal((await vfioFailure(() => mapped.read32(0), 'EIO')).reason, undefined);
    // It waits for this program to close it.
    put(devices, {
      '0000:3b:00.0/subsystem': { pointsTo: '../../pci' },
      '0000:3b:00.0/uevent': 'DRIVER=vfio-pci\n',
    });
    assert.equal((await vfioFailure(() => mapped.read32(0), 'EIO')).reason, 'being-removed');
  });

  it('waits for a value, blocking and not', async () => {
    const slices = new Slices();
    using file = slices.mappedFile();
    const { mapped } = file;
    assert.equal(mapped.poll32Sync(4, 0xff, 4), 0x07060504);
    assert.equal(await mapped.poll32(4, 0xff00, 0x0500), 0x07060504);
    const waiting = mapped.poll32(4, 0x80000000, 0x80000000, { timeout: 60_000 });
    await slices.next(2);
    mapped.write32(4, 0xff000001);
    assert.equal(await waiting, 0xff000001);
    const error = await failure(() => mapped.poll32(4, 2, 2, { timeout: 25 }), 'ERR_VFIO_TIMEOUT');
    assert.match(error.message, /bits 0x2 of bar0\+0x4 of 0000:3b:00.0 were not 0x2 within 25 ms/);
    await failure(() => mapped.poll32(4, 2, 2, { timeout: 0 }), 'ERR_VFIO_TIMEOUT');
    await failure(() => mapped.poll32Sync(4, 2, 2, { timeout: 1.5 }), 'ERR_VFIO_TIMEOUT');
  });

  it('ends polls where the signal says so, and where it is closed', async () => {
    const slices = new Slices();
    const file = slices.mappedFile();
    const { mapped } = file;
    const never = { timeout: 2 ** 31 - 1 };
    const reason = new Error('enough');
    const aborted = mapped.poll32(4, 1, 1, { ...never, signal: AbortSignal.abort(reason) });
    await assert.rejects(aborted, reason);
    const controller = new AbortController();
    const waiting = mapped.poll32(4, 1, 1, { ...never, signal: controller.signal });
    const rejected = assert.rejects(waiting, reason);
    await slices.next(2);
    controller.abort(reason);
    await rejected;
    const many = Array.from({ length: 8 }, () =>
      failure(() => mapped.poll32(4, 1, 1, never), 'ERR_VFIO_CLOSED'),
    );
    await mapped.close();
    await Promise.all(many);
    assert.equal(mapsOf(file.path), 0);
    file.owner.fd.closeSync();
  });

  it('is unmapped once, and refused after it', async () => {
    const file = mappedFile();
    const { mapped } = file;
    assert.equal(mapsOf(file.path), 1);
    await Promise.all([mapped.close(), mapped.close()]);
    mapped.closeSync();
    assert.deepEqual([mapped.closed, mapsOf(file.path)], [true, 0]);
    await failure(() => mapped.read32(0), 'ERR_VFIO_CLOSED');
    await failure(() => mapped.unsafeArrayBuffer(), 'ERR_VFIO_CLOSED');
    const again = file.region.map();
    assert.equal(again.read8(1), 1);
    await failure(() => mapped.read32(0), 'ERR_VFIO_CLOSED');
    await file.owner.mappings.close();
    assert.deepEqual([again.closed, mapsOf(file.path)], [true, 0]);
    file.owner.fd.closeSync();
    await failure(() => file.region.map(), 'ERR_VFIO_CLOSED');
  });

  it('says that it is closed before it looks at an argument', async () => {
    using file = mappedFile();
    const { mapped } = file;
    await mapped.close();
    const none = undefined as never;
    const accesses: (() => unknown)[] = [
      () => mapped.read8(none),
      () => mapped.read16(none),
      () => mapped.read32(none),
      () => mapped.read64(none),
      () => (mapped.write8(none, none), 0),
      () => (mapped.write16(none, none), 0),
      () => (mapped.write32(none, none), 0),
      () => (mapped.write64(none, none), 0),
      () => mapped.readBlock(none, none),
      () => (mapped.writeBlock(none, none), 0),
      () => mapped.readBatch32(none, none),
      () => (mapped.writeBatch32(none, none), 0),
      () => mapped.read64LoHi(0),
      () => mapped.poll32(0, 1, 1),
      () => mapped.poll32Sync(0, 1, 1),
    ];
    for (const access of accesses) await failure(access, 'ERR_VFIO_CLOSED');
  });

  it('cannot be written where the region cannot', async () => {
    using file = fileRegion(counting, { ...big, flags: ['read', 'mmap'] });
    using mapped = file.region.map();
    assert.equal(mapped.read8(7), 7);
    const error = await failure(() => {
      mapped.write8(7, 1);
    }, 'ERR_OUT_OF_RANGE');
    assert.match(error.message, /in a region that can be written/);
    await failure(() => mapped.unsafeArrayBuffer(), 'ERR_VFIO_NOT_MAPPABLE');
  });

  it('shows nothing of the device when it is printed', () => {
    using file = mappedFile();
    vanish(file);
    assert.match(inspect(file.mapped, { depth: 9, showHidden: true }), /MappedRegion/);
    assert.equal(JSON.stringify(file.region), '{}');
  });

  it('is an ArrayBuffer for who insists, which stays while somebody has it', () => {
    const file = mappedFile();
    const buffer = file.mapped.unsafeArrayBuffer();
    assert.equal(file.mapped.unsafeArrayBuffer(), buffer);
    const bytes = new Uint8Array(buffer);
    assert.deepEqual([bytes.length, bytes[0x1003]], [0x2000, 3]);
    bytes[0] = 0x55;
    assert.equal(file.mapped.read8(0), 0x55);
    file.mapped.closeSync();
    assert.equal(bytes.length, 0, 'closing detaches it');
    assert.equal(mapsOf(file.path), 1, 'the memory is left to the collector');
    writeFileSync(file.path, '');
    file.owner.fd.closeSync();
  });
});
