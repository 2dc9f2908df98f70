import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { whyNotCompiled } from '../support/emulation.ts';
import { moduleAt, runWithFailingLibc } from '../support/failing_libc.ts';
import { fakeVfio, putNode } from '../support/fake_vfio.ts';

/** A sanitizer brings a malloc of its own, which cannot be made to fail here. */
const isWatched = process.env['LD_PRELOAD']?.includes('libasan') === true;

function itByOurMalloc(title: string, test: () => void): void {
  if (isWatched) it.skip(`${title} (the malloc of libc)`, test);
  else it(title, test);
}

const why = whyNotCompiled('gcc');

/** Answers what a program printed as JSON. */
function resultOf(program: string): unknown {
  return JSON.parse(runWithFailingLibc(program).stdout);
}

/** Roots with an iommufd's node that is /dev/full, as JSON. */
function roots(): string {
  const made = fakeVfio('1:7');
  putNode(made, 'iommu', '/dev/full');
  return JSON.stringify(made);
}

/** For programs. */
const errorOf = `
  async function errorOf(call: () => unknown) {
    try {
      await call();
      return 'no error';
    } catch (error) {
      return { ...(error as object), message: (error as Error).message };
    }
  }
`;

(why === undefined ? describe : describe.skip)(
  `what fails below the library${why === undefined ? '' : ` (${why})`}`,
  () => {
    it('is called a lack of threads, where that is so, and nothing that the kernel refused', () => {
      const result = resultOf(`
        import { DmaBuffer, listDevices } from ${moduleAt('lib/index.ts')};
        ${errorOf}
        process.env.NO_THREADS = '1';
        const allocate = await errorOf(() => DmaBuffer.allocate(4096));
        const list = await errorOf(() => listDevices());
        const blocking = DmaBuffer.allocateSync(4096).size;
        delete process.env.NO_THREADS;
        const later = (await DmaBuffer.allocate(4096)).size;
        process.env.NO_THREADS = '1';
        const queued = await Promise.all([1, 2, 3].map(() => DmaBuffer.allocate(4096)));
        console.log(JSON.stringify({ allocate, list, blocking, later, queued: queued.length }));
      `) as Record<string, { code: string; message: string; hint: string }>;
      const { allocate, list, ...rest } = result;
      for (const [error, call] of [
        [allocate, 'memfd_create'],
        [list, 'readFolders'],
      ] as const) {
        assert.ok(error);
        const { message, hint, ...fields } = error;
        assert.deepEqual(fields, { code: 'ERR_VFIO_NO_THREAD' });
        assert.match(
          message,
          new RegExp(
            `^there is no thread for ${call}.*, which was not called: EAGAIN: .*, pthread_create$`,
          ),
        );
        assert.match(hint, /RLIMIT_NPROC.*pids\.max/);
      }
      assert.deepEqual(rest, { blocking: 4096, later: 4096, queued: 3 });
    });

    it('does not keep what is closed open, nor fail its closing, without a thread', () => {
      const result = resultOf(`
        import { existsSync } from 'node:fs';
        import { Iommufd } from ${moduleAt('lib/index.ts')};
        process.env.NO_THREADS = '1';
        const iommufd = Iommufd.open(${roots()});
        const file = '/proc/self/fd/' + iommufd.fd;
        const before = existsSync(file);
        await iommufd.close();
        console.log(JSON.stringify([before, existsSync(file)]));
      `);
      assert.deepEqual(result, [true, false]);
    });

    it('is told of each of two descriptors that are closed in one call, by its name', () => {
      const result = resultOf(`
        import { OwnedFd } from ${moduleAt('lib/core/owned_fd.ts')};
        const open = (path: string) => OwnedFd.open(path, 'a file');
        const [full, alsoFull, zero] = ['/dev/full', '/dev/../dev/full', '/dev/zero'];
        process.env.NO_CLOSE = full;
        const told = [];
        for (const [first, second] of [[full, zero], [zero, full], [full, alsoFull]]) {
          await open(first).closeBefore(open(second)).catch((error) => {
            told.push((error.errors ?? [error]).map(({ code, path }) => [code, path].join()));
          });
        }
        console.log(JSON.stringify(told));
      `);
      const [full, alsoFull] = ['EIO,/dev/full', 'EIO,/dev/../dev/full'];
      assert.deepEqual(result, [[full], [full], [full, alsoFull]]);
    });

    it('is a warning, and ends no program, where closing what was dropped fails', () => {
      const { stdout, stderr } = runWithFailingLibc(`
        import { once } from 'node:events';
        import { setImmediate } from 'node:timers/promises';
        import { Iommufd } from ${moduleAt('lib/index.ts')};
        import { Eventfd } from ${moduleAt('lib/interrupt/eventfd.ts')};
        import { binding, replaceBinding } from ${moduleAt('lib/core/binding.ts')};
        const codes: unknown[] = [];
        process.on('warning', (warning: any) => codes.push(warning.code));
        function open() {
          Iommufd.open(${roots()});
          Eventfd.open('an eventfd');
        }
        open();
        const native = binding();
        replaceBinding({ ...native, closeSync: (fd, next) => native.closeSync(fd, next) === 0 ? -5 : 0 });
        process.env.NO_CLOSE = '/dev/full';
        const failed = () => codes.filter((code) => code === 'VFIO_CLOSE_FAILED').length;
        for (let at = 0; at < 500 && failed() < 2; at++) {
          (globalThis as any).gc();
          await setImmediate();
        }
        console.log(failed());
      `);
      assert.equal(stdout, '2\n', stderr);
      assert.match(stderr, /closing what was dropped failed: EIO: i\/o error, close '.*iommu'/);
    });

    it('leaves a mapping for another try, where munmap fails', () => {
      const result = resultOf(`
        import { readFileSync } from 'node:fs';
        import { binding } from ${moduleAt('lib/core/binding.ts')};
        const native = binding() as any;
        const size = 7 * native.pageSize();
        const memory = native.memoryAllocateSync(BigInt(size), 0, 0);
        const file = native.dup(native.memoryFile(memory));
        const maps = () => readFileSync('/proc/self/maps', 'utf8').split('memfd:vfio-dma').length - 1;
        const before = maps();
        const answers = [];
        for (const unmap of [native.unmap, native.unmapSync]) {
          const mapping = native.map(file, 0, 0, 0, size, 0, 0);
          process.env.NO_MUNMAP = String(size);
          answers.push(await unmap(mapping), native.poll32Sync(mapping, 0, 0, 0, 0) ?? 'refused');
          answers.push(native.exposeMapping(mapping) ?? 'refused', maps() - before);
          delete process.env.NO_MUNMAP;
          answers.push(await unmap(mapping), maps() - before, (await unmap(mapping)) ?? 'refused');
        }
        console.log(JSON.stringify(answers));
      `);
      const ENOMEM = -12;
      const once = [ENOMEM, 'refused', 'refused', 1, 0, 0, 'refused'];
      assert.deepEqual(result, [...once, ...once]);
    });

    itByOurMalloc(
      'is ENOMEM, and ends no program, where there is not the memory that a caller asks for',
      () => {
        const result = resultOf(`
        import { binding } from ${moduleAt('lib/core/binding.ts')};
        const native = binding() as any;
        const fd = native.open('/dev/null', 2);
        const bytes = new Uint8Array(64 << 20);
        const longs = BigUint64Array.of(0n, 1n << 44n, 4096n);
        const [ranges, areas] = [new BigUint64Array((1 << 20) + 1), new BigUint64Array(1 << 20)];
        process.env.NO_MEMORY = String(1 << 20);
        const answers = {
          pwrite: await native.pwrite(fd, 0, 0, 0, bytes),
          feature: native.featureSync(fd, 0, bytes),
          writeData: await native.writeData(fd, bytes),
          readData: await native.readData(fd, 64 << 20),
          dmaLoggingReport: native.dmaLoggingReportSync(fd, longs),
          dmaLoggingStart: native.dmaLoggingStartSync(fd, ranges),
          exportDmabuf: native.exportDmabufSync(fd, 0, areas),
          setIrqsBool: native.setIrqsBoolSync(fd, 32, 0, 0, bytes),
          hwptGetDirtyBitmap: native.hwptGetDirtyBitmapSync(fd, 1, 0, 0n, 1n << 36n, 4096n, 1 << 18),
        };
        delete process.env.NO_MEMORY;
        console.log(JSON.stringify(answers));
      `);
        const expected = Object.keys(result as object).map((name) => [name, -12]);
        assert.deepEqual(result, Object.fromEntries(expected));
        assert.equal(expected.length, 9);
      },
    );
  },
);
