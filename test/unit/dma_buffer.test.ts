import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { type Answer, binding, type NativeFd } from '../../lib/core/binding.ts';
import { EINVAL } from '../../lib/core/errno.ts';
import { OwnedFd } from '../../lib/core/owned_fd.ts';
import { Container, DmaBuffer, DmaPool, Iommufd, VfioError } from '../../lib/index.ts';
import { Ioas } from '../../lib/iommu/ioas.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeVfio } from '../support/fake_vfio.ts';
import { assertNoMore, openFds } from '../support/proc.ts';
import { root } from '../support/root.ts';

const page = binding().pageSize();

/** An address space of an iommufd that takes everything; `maps` counts. */
function fakeIoas(): { ioas: Ioas; fd: OwnedFd } {
  const fd = OwnedFd.open('/dev/null', 'the fake iommufd');
  return { ioas: Ioas.adopt(Iommufd.adopt(fd).parent, 1), fd };
}

/** Runs a program with a garbage collector at hand; answers what it printed. */
function run(body: string): string {
  const program = `
    import { readFileSync } from 'node:fs';
    import { setTimeout } from 'node:timers/promises';
    import { DmaBuffer, Iommufd } from './lib/index.ts';
    const mapped = () => readFileSync('/proc/self/maps', 'utf8').split('memfd:vfio-dma').length - 1;
    const collect = async (rounds, until) => {
      for (let at = 0; at < rounds && mapped() !== until; at++) { globalThis.gc(); await setTimeout(5); }
    };
    const collectAll = () => collect(3000, 0);
    // Where it has to stay: one collection and a turn would take it away, the others are to spare.
    const collectSome = () => collect(20, 0);
    ${body}
  `;
  const child = spawnSync(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', '--input-type=module', '--eval', program],
    { cwd: root, encoding: 'utf8' },
  );
  assert.equal(child.status, 0, `${child.signal} ${child.stderr}`);
  assert.equal(child.stderr, '');
  return child.stdout;
}

describe('DMA memory', () => {
  it('is zeroed, of whole pages, and shared with children', async () => {
    await using buffer = await DmaBuffer.allocate(page + 1);
    assert.equal(buffer.size, 2 * page);
    const bytes = new Uint8Array(buffer.buffer);
    assert.equal(buffer.buffer, bytes.buffer, 'the same each time');
    assert.equal(bytes.byteLength, 2 * page);
    assert.ok(bytes.every((byte) => byte === 0));
    const line = readFileSync('/proc/self/maps', 'utf8')
      .split('\n')
      .find((each) => each.includes('memfd:vfio-dma'));
    assert.match(line ?? '', / rw-s /);
    assert.doesNotMatch(execFileSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' }), /vfio/);
  });

  it('is populated when asked', () => {
    const size = 64 * page;
    using buffer = DmaBuffer.allocateSync(size, { populate: true });
    const smaps = readFileSync('/proc/self/smaps', 'utf8');
    const [, here = ''] = smaps.split(/^.*memfd:vfio-dma.*$/m);
    assert.equal(/^Rss:\s+(\d+) kB/m.exec(here)?.[1], String(size / 1024));
    assert.equal(buffer.size, size);
  });

  it('is shown in windows, of the same bytes', async () => {
    using buffer = DmaBuffer.allocateSync(4 * page);
    const window = new Uint8Array(buffer.window(page, page));
    window[0] = 5;
    assert.equal(new Uint8Array(buffer.buffer)[page], 5);
    await failure(() => buffer.window(page, 4 * page), 'ERR_OUT_OF_RANGE');
    await failure(() => buffer.window(-1, 1), 'ERR_OUT_OF_RANGE');
    await failure(() => buffer.window(0, '1' as never), 'ERR_INVALID_ARG_TYPE');
  });

  it('is larger than an ArrayBuffer may be, in windows', async () => {
    const size = 5 * 2 ** 30;
    using buffer = DmaBuffer.allocateSync(size);
    const last = new Uint8Array(buffer.window(size - page, page));
    last[page - 1] = 9;
    if (process.versions.node.startsWith('20.')) {
      await failure(() => buffer.buffer, 'ERR_OUT_OF_RANGE');
    }
    const below = new Uint8Array(buffer.window(size - 2 * page, 2 * page));
    assert.equal(below.at(-1), 9);
  });

  it('is detached when it is disposed of, once', async () => {
    const buffer = await DmaBuffer.allocate(page);
    const view = new Uint8Array(buffer.buffer);
    const window = buffer.window(0, 16);
    await buffer.dispose();
    await buffer.dispose();
    buffer.disposeSync();
    assert.deepEqual([view.length, window.byteLength, buffer.disposed], [0, 0, true]);
    await failure(() => buffer.buffer, 'ERR_VFIO_CLOSED');
    await failure(() => buffer.window(0, 1), 'ERR_VFIO_CLOSED');
  });

  it('is refused where the arguments make no sense, or there is none', async () => {
    await failure(() => DmaBuffer.allocate(0), 'ERR_OUT_OF_RANGE');
    await failure(() => DmaBuffer.allocate(1.5), 'ERR_OUT_OF_RANGE');
    await failure(() => DmaBuffer.allocate('1' as never), 'ERR_INVALID_ARG_TYPE');
    await failure(
      () => DmaBuffer.allocate(1, { hugePages: '4M' as never }),
      'ERR_INVALID_ARG_VALUE',
    );
    await failure(() => DmaBuffer.allocate(1, { populate: 1 as never }), 'ERR_INVALID_ARG_TYPE');
    // A kernel without huge pages, or with none of this size, has no such files at all.
    const has2M = existsSync('/sys/kernel/mm/hugepages/hugepages-2048kB');
    const none = has2M ? ['ENOMEM mmap'] : ['ENODEV memfd_create', 'ENOSYS memfd_create'];
    await assert.rejects(DmaBuffer.allocate(2 ** 50, { hugePages: '2M' }), (error) => {
      assert.ok(error instanceof VfioError);
      assert.ok(none.includes(`${error.code} ${error.syscall}`), error.message);
      return true;
    });
    using _ordinary = DmaBuffer.allocateSync(2 ** 22, { hugePages: 'auto' });
  });

  it('asks kernels before 6.3 again without the flag that they do not know', async () => {
    const flags: number[] = [];
    const memoryAllocateSync = (size: bigint, flag: number, populate: number): Answer => {
      flags.push(flag);
      return flag & 8 ? -22 : real(size, flag, populate);
    };
    const real = binding().memoryAllocateSync;
    const buffer = await withBinding({ memoryAllocateSync }, () => DmaBuffer.allocateSync(page));
    assert.deepEqual(flags, [8, 0]);
    buffer.disposeSync();
  });

  it('goes with its last view, whatever is dropped first', () => {
    const printed = run(`
      let buffer = DmaBuffer.allocateSync(4096);
      let view = new Uint8Array(buffer.buffer);
      view[0] = 1;
      buffer = undefined;
      await collectSome();
      console.log(mapped(), view[0]);
      view = undefined;
      await collectAll();
      console.log(mapped());
      const one = (at) => {
        const each = DmaBuffer.allocateSync(4096);
        if (at % 2) each.window(0, 10);
        if (at % 3) each.buffer;
        if (at % 5 === 0) each.disposeSync();
      };
      for (let at = 0; at < 50; at++) one(at);
      await collectAll();
      console.log(mapped());
    `);
    assert.equal(printed, '1 1\n0\n0\n');
  });

  it('survives a transfer: what was moved away stays readable after it is disposed of', () => {
    const printed = run(`
      const buffer = DmaBuffer.allocateSync(4096);
      new Uint8Array(buffer.buffer)[3] = 7;
      // Node 20 has no transfer(), and copies where it is told to transfer.
      const moved = buffer.buffer.transfer?.() ?? structuredClone(buffer.buffer);
      let view = new Uint8Array(moved);
      buffer.disposeSync();
      await collectSome();
      console.log(view.length, view[3]);
      view[3]++;
      console.log(view[3]);
    `);
    assert.equal(printed, '4096 7\n8\n');
  });

  it('is of huge pages by itself only where filling them proved that they are there', async () => {
    const asked: [bigint, number, number][] = [];
    const [EFAULT, madvise] = [14, 4];
    const memoryAllocateSync = (size: bigint, flags: number, populate: number): Answer => {
      asked.push([size, flags & 4, populate]);
      return flags & 4 ? -(EFAULT + 4096 * madvise) : real(size, flags, populate);
    };
    const real = binding().memoryAllocateSync;
    await withBinding({ memoryAllocateSync }, async () => {
      DmaBuffer.allocateSync(3 * 2 ** 20, { hugePages: 'auto' }).disposeSync();
      assert.deepEqual(asked, [
        [2n ** 22n, 4, 1],
        [3n * 2n ** 20n, 0, 0],
      ]);
      const refused = (): unknown => DmaBuffer.allocateSync(1, { hugePages: '2M', populate: true });
      const { syscall, reason } = await vfioFailure(refused, 'EFAULT');
      assert.deepEqual([syscall, reason], ['madvise', 'hugetlb-limit']);
    });
  });

  it('names the call that failed', async () => {
    const calls = ['memfd_create', 'ftruncate', 'fcntl', 'mmap', 'madvise'];
    for (const [step, call] of calls.entries()) {
      const memoryAllocateSync = (): number => -(12 + 4096 * step);
      await withBinding({ memoryAllocateSync }, async () => {
        const { syscall } = await vfioFailure(() => DmaBuffer.allocateSync(page), 'ENOMEM');
        assert.equal(syscall, call);
      });
    }
    const kernel = await vfioFailure(() => DmaBuffer.allocateSync(2 ** 52), 'ENOMEM');
    assert.equal(kernel.syscall, 'mmap');
  });

  it('is unmapped before it is given up, and stays where that fails', async () => {
    const { ioas, fd } = fakeIoas();
    const calls: string[] = [];
    let answer: bigint | number = -35;
    const fakes = {
      ioasMapMemorySync: (): bigint => 0x1000n,
      ioasUnmap: (): Promise<bigint | number> => {
        calls.push('unmap');
        return Promise.resolve(answer);
      },
      detachBuffer: (): Answer => {
        calls.push('detach');
        return 0;
      },
    };
    await withBinding(fakes, async () => {
      const buffer = DmaBuffer.allocateSync(page);
      const view = new Uint8Array(buffer.buffer);
      const mapping = ioas.mapSync(buffer);
      await failure(() => buffer.dispose(), 'EDEADLK');
      assert.deepEqual([calls, mapping.mapped, view.length], [['unmap'], true, page]);
      await failure(() => ioas.mapSync(buffer), 'ERR_VFIO_CLOSED');
      answer = BigInt(page);
      await buffer.dispose();
      assert.deepEqual([calls, mapping.mapped], [['unmap', 'unmap', 'detach'], false]);
    });
    fd.closeSync();
  });

  it('is given up where somebody else unmapped it', async () => {
    const { ioas, fd } = fakeIoas();
    const ENOENT = -2;
    const fakes = {
      ioasMapMemorySync: (): bigint => 0x1000n,
      ioasUnmap: (): Promise<number> => Promise.resolve(ENOENT),
      ioasUnmapSync: (): number => ENOENT,
    };
    await withBinding(fakes, async () => {
      const buffer = DmaBuffer.allocateSync(page);
      const first = ioas.mapSync(buffer);
      const second = ioas.mapSync(buffer);
      first.unmapSync();
      await buffer.dispose();
      assert.deepEqual([first.mapped, second.mapped, ioas.mappings], [false, false, []]);
    });
    fd.closeSync();
  });

  it('is unmapped in the kernel also while the address space is being closed', async () => {
    const { ioas, fd } = fakeIoas();
    const unmapped: bigint[] = [];
    let destroyed: (answer: number) => void = () => undefined;
    const fakes = {
      ioasMapMemorySync: (): bigint => 0x1000n,
      ioasUnmap: (_fd: NativeFd, _ioas: number, iova: bigint): Promise<bigint> => {
        unmapped.push(iova);
        return Promise.resolve(4096n);
      },
      destroy: (): Promise<number> => new Promise((resolve) => (destroyed = resolve)),
    };
    await withBinding(fakes, async () => {
      const mapping = ioas.mapSync(DmaBuffer.allocateSync(page));
      const closing = failure(() => ioas.close(), 'EBUSY');
      await mapping.unmap();
      destroyed(-16);
      await closing;
      assert.deepEqual([unmapped, mapping.mapped, ioas.id], [[0x1000n], false, 1]);
    });
    fd.closeSync();
  });

  it('serves a pool’s blocks from chunks, one for all who wait', async () => {
    const { ioas, fd } = fakeIoas();
    let next = 0n;
    const fakes = {
      ioasMapMemory: (): Promise<bigint> => Promise.resolve((next += 0x10000n)),
      ioasMapMemorySync: (): bigint => (next += 0x10000n),
      ioasUnmap: (): Promise<bigint> => Promise.resolve(1n),
    };
    await withBinding(fakes, async () => {
      const pool = new DmaPool(ioas, { chunkSize: 8192 });
      const blocks = await Promise.all(Array.from({ length: 5 }, () => pool.allocate(4096)));
      assert.equal(new Set(blocks.map(({ iova }) => iova)).size, 5);
      assert.equal(ioas.mappings.length, 3, 'two blocks a chunk');
      blocks[0]?.bytes.fill(1);
      assert.ok(blocks[1]?.bytes.every((byte) => byte === 0));
      const late = failure(async () => {
        for (;;) await pool.allocate(8192);
      }, 'ERR_VFIO_CLOSED');
      await pool.close();
      await late;
      assert.deepEqual([ioas.mappings, blocks[0]?.bytes.length], [[], 0]);
      await failure(() => pool.allocateSync(1), 'ERR_VFIO_CLOSED');
    });
    fd.closeSync();
  });

  it('serves blocks of any size and alignment, whose addresses are those of their bytes', async () => {
    const { ioas, fd } = fakeIoas();
    let next = BigInt(page);
    // As the kernel chooses: whole pages, at no better place.
    const mapped = (_fd: unknown, _ioas: unknown, _flags: unknown, ...rest: unknown[]): bigint => {
      const iova = next;
      next += (rest[2] as bigint) + BigInt(page);
      return iova;
    };
    const fakes = {
      ioasMapMemory: (...args: unknown[]): Promise<bigint> =>
        Promise.resolve(mapped(...(args as [unknown, unknown, unknown]))),
      ioasMapMemorySync: (...args: unknown[]): bigint =>
        mapped(...(args as [unknown, unknown, unknown])),
      ioasUnmap: (): Promise<bigint> => Promise.resolve(1n),
    };
    await withBinding(fakes, async () => {
      const pool = new DmaPool(ioas);
      const wanted: [size: number, alignment: bigint][] = [
        [1, 64n],
        [65536, 64n],
        [1_000_000, 4096n],
        [100, 65536n],
        [3 * page, 2n ** 21n],
        [2 ** 21, 2n ** 21n],
      ];
      const blocks = [];
      for (const [size, alignment] of wanted) {
        for (const block of [
          await pool.allocate(size, alignment),
          pool.allocateSync(size, alignment),
        ]) {
          assert.equal(block.iova % alignment, 0n, `${size} at ${alignment}`);
          assert.deepEqual([block.size, block.bytes.length, block.mapped], [size, size, true]);
          blocks.push(block);
        }
      }
      // No two of them share a byte, for devices or for this program.
      const ends = blocks
        .map(({ iova, size }) => [iova, iova + BigInt(size)] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1));
      for (const [at, [start]] of ends.entries()) assert.ok(start >= (ends[at - 1]?.[1] ?? 0n));
      for (const [at, { bytes }] of blocks.entries()) bytes.fill(at + 1);
      for (const [at, { bytes }] of blocks.entries())
        assert.ok(bytes.every((one) => one === at + 1));
      // What an alignment took more than was needed serves others.
      const { length } = ioas.mappings;
      for (let at = 0; at < 20; at++) await pool.allocate(page);
      assert.equal(ioas.mappings.length, length);
      const [first, second] = [await pool.allocate(100), await pool.allocate(100)];
      assert.equal(second.iovaOf(99), second.iova + 99n);
      await failure(() => second.iovaOf(100), 'ERR_OUT_OF_RANGE');
      const { iova } = first;
      pool.release(first);
      await failure(() => first.iovaOf(0), 'ERR_VFIO_CLOSED');
      await failure(() => {
        pool.release(first);
      }, 'ERR_OUT_OF_RANGE');
      const again = await pool.allocate(64);
      assert.equal(again.iova, iova);
      await failure(() => {
        pool.release(first);
      }, 'ERR_OUT_OF_RANGE');
      await failure(() => {
        pool.release({ iova } as never);
      }, 'ERR_INVALID_ARG_TYPE');
      const other = new DmaPool(ioas);
      await failure(() => {
        other.release(again);
      }, 'ERR_OUT_OF_RANGE');
      await failure(() => pool.allocate(64, 3n), 'ERR_OUT_OF_RANGE');
      await pool.close();
      await failure(() => again.iovaLow(0), 'ERR_VFIO_CLOSED');
      assert.equal(again.bytes.length, 0);
    });
    fd.closeSync();
  });

  it('is given back by a pool that cannot map it', async () => {
    const { ioas, fd } = fakeIoas();
    const ENOMEM = -12;
    const fakes = { ioasMapMemory: () => Promise.resolve(ENOMEM), ioasMapMemorySync: () => ENOMEM };
    const memory = (): string[] => openFds().filter((target) => target.includes('vfio-dma'));
    await withBinding(fakes, async () => {
      const pool = new DmaPool(ioas);
      const before = memory();
      await failure(() => pool.allocate(1), 'ENOMEM');
      await new Promise(setImmediate); // the addon's call has the memory until its turn ends
      assertNoMore(memory(), before);
      await failure(() => pool.allocateSync(1), 'ENOMEM');
      assertNoMore(memory(), before);
      pool.closeSync();
    });
    fd.closeSync();
  });

  it('is not kept of a file that is not mapped after all', async () => {
    const roots = fakeVfio();
    const path = `${roots.devRoot}/file`;
    writeFileSync(path, new Uint8Array(2 * page));
    const file = openSync(path, 'r+');
    const part = { fd: file, offset: 0, length: 2 * page };
    const { ioas, fd } = fakeIoas();
    // As of a container in which no device is open.
    const empty = { containerVersion: () => 0, containerInfo: () => EINVAL };
    await withBinding(empty, async () => {
      using container = Container.open(roots);
      const space = container.createIoas();
      const iova = 2n ** 64n - BigInt(page);
      const onlyOne = (): void => {
        assert.equal(openFds().filter((target) => target === path).length, 1);
      };
      const refused: [() => unknown, string][] = [
        [() => ioas.mapSync(part, { iova }), 'ERR_OUT_OF_RANGE'],
        [() => ioas.map(part, { iova }), 'ERR_OUT_OF_RANGE'],
        [() => space.mapSync(part, { iova }), 'ERR_OUT_OF_RANGE'],
        [() => space.mapSync(part), 'EINVAL'],
        [() => space.map(part), 'EINVAL'],
      ];
      for (const [map, code] of refused) {
        await failure(map, code);
        onlyOne();
      }
      // Asked once, and so not of a descriptor that is closed.
      await failure(() => ioas.mapSync(part), 'ENOTTY');
      fd.closeSync();
      await failure(() => ioas.mapSync(part), 'ERR_VFIO_CLOSED');
      await failure(() => ioas.map(part), 'ERR_VFIO_CLOSED');
      onlyOne();
    });
    closeSync(file);
  });

  it('is unmapped again where a map ends after it was disposed of', async () => {
    const { ioas, fd } = fakeIoas();
    let mapped: (iova: bigint) => void = () => undefined;
    const unmapped: bigint[] = [];
    const fakes = {
      ioasMapMemory: (): Promise<bigint> => new Promise((resolve) => (mapped = resolve)),
      ioasUnmap: (_fd: NativeFd, _ioas: number, iova: bigint): Promise<bigint> => {
        unmapped.push(iova);
        return Promise.resolve(BigInt(page));
      },
    };
    await withBinding(fakes, async () => {
      const buffer = DmaBuffer.allocateSync(page);
      const mapping = failure(() => ioas.map(buffer), 'ERR_VFIO_CLOSED');
      await buffer.dispose();
      mapped(0x7000n);
      await mapping;
      assert.deepEqual([unmapped, ioas.mappings], [[0x7000n], []]);
    });
    fd.closeSync();
  });
});
