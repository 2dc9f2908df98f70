import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { type Binding, binding, type NativeFd } from '../../lib/core/binding.ts';
import { type SteppedName, systemCalls } from '../../lib/core/call.ts';
import { DmaBuffer, Iommufd } from '../../lib/index.ts';
import { Eventfd } from '../../lib/interrupt/eventfd.ts';
import { InterruptVector } from '../../lib/interrupt/vector.ts';
import { Mailbox } from '../../lib/region/mailbox.ts';
import type { Section } from '../../lib/trace/request.ts';
import { StderrLines } from '../../lib/trace/stderr_lines.ts';
import { requestsOf, tracedBinding } from '../../lib/trace/traced_binding.ts';
import { vfio } from '../support/cli.ts';
import { withBinding } from '../support/fake_binding.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';
import { tree } from '../support/tree.ts';

/** The addon's own bookkeeping, of which the kernel hears nothing, and waits of the loop. */
const untold = [
  ...['hold', 'fdNumber', 'pageSize', 'mailbox', 'exposeMapping', 'mappingAddress'],
  ...['detachBuffer', 'prepare', 'preparedValues', 'preparedRelease', 'dmaPollState'],
  ...['noticesWatch', 'noticesTell', 'noticesOfDevice', 'noticesOfMapping'],
  ...['mapMail', 'mapMemoryByMail', 'mapMemoryFileByMail', 'unmapByMail', 'memoryBuffer'],
  ...['memoryAddress', 'memoryFile', 'fdOffer', 'fdTake', 'memoryOffer'],
  ...['memoryTake', 'sharedCountNew', 'sharedCountOffer', 'sharedCountTake', 'sharedCountDrop'],
  ...['eventfdWatch', 'eventfdUnwatch', 'eventfdMethod', 'eventfdRef', 'fdPoll', 'socketKind'],
  ...['socketPeer', 'irqsJoin', 'irqsClaim', 'irqsUnclaim', 'irqsOwner'],
];

const device = 7 as NativeFd;

/** The lines of what `body` does with a binding of which some functions are others. */
async function linesOf(
  fakes: Partial<Binding>,
  body: (traced: Binding) => unknown,
  sections: readonly Section[] = ['vfio'],
): Promise<string[]> {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  const out = Object.fromEntries(sections.map((section) => [section, write]));
  const native = { ...binding(), fdNumber: (fd: NativeFd) => fd + 14, ...fakes };
  await body(tracedBinding(native, out));
  return lines.map((line) => line.replace(/ [\d.]+ (µs|ms|s)( …)?$/, ' TIME$2'));
}

describe('the trace', () => {
  it('tells every function of the addon that asks the kernel for something', () => {
    const requests = requestsOf(binding());
    const names = Object.keys(binding()).map((name) => name.replace(/Sync$/, ''));
    const known = [...Object.keys(requests), ...untold, 'waitForChange'];
    const forgotten = new Set(names.filter((name) => !known.includes(name)));
    assert.deepEqual([...forgotten], []);
    assert.deepEqual(
      untold.filter((name) => name in requests || !(name in binding())),
      [],
    );
  });

  it('decodes what the kernel says of a device, and calls its regions by their names from then on', async () => {
    const fakes: Partial<Binding> = {
      getDeviceInfo: (_device, _bytes, room) => {
        room.set([24, 3, 9, 5]);
        return 0;
      },
      getRegionInfos: (_device, _count, results, room) => {
        room.set([32, 7, 0, 0, 0x1000, 0, 0, 0]);
        results.set([0, -22]);
        return 0;
      },
      pread: (_device, _high, _low, _offset, bytes) => {
        bytes.set([0x86, 0x80]);
        return 2;
      },
      setIrqs: () => Promise.resolve(0),
    };
    const lines = await linesOf(fakes, async (traced) => {
      traced.getDeviceInfo(device, 24, new Uint32Array(8));
      traced.getRegionInfos(device, 2, new Int32Array(2), new Uint32Array(16));
      traced.pread(device, 0, 0, 4, new Uint8Array(2));
      await traced.setIrqs(device, 32, 2, 0, 0);
    });
    assert.deepEqual(lines, [
      'VFIO_DEVICE_GET_INFO(fd 21) = {flags: RESET|PCI, num_regions: 9, num_irqs: 5} TIME',
      'VFIO_DEVICE_GET_REGION_INFO(fd 21, bar0) = {size: 0x1000, offset: 0x0, flags: READ|WRITE|MMAP} (1 of 2) TIME',
      'VFIO_DEVICE_GET_REGION_INFO(fd 21, bar1) = EINVAL (invalid argument) (2 of 2) TIME',
      'pread(fd 21, bar0+0x4, 2 bytes) = 2 8680 TIME',
      'VFIO_DEVICE_SET_IRQS(fd 21, msix, DATA_NONE|ACTION_TRIGGER, start 0, count 0) = 0 TIME',
    ]);
  });

  it('names the errno of a call that fails, in both forms, and what the addon refused', async () => {
    const fakes: Partial<Binding> = {
      resetSync: () => -11,
      reset: () => Promise.resolve(-11),
      attachSync: () => undefined,
      detach: () => Promise.resolve(-65536 - 11),
    };
    const lines = await linesOf(fakes, async (traced) => {
      assert.equal(traced.resetSync(device), -11);
      assert.equal(await traced.reset(device), -11);
      assert.equal(traced.attachSync(device, 3), undefined);
      await traced.detach(device);
    });
    const failed = 'VFIO_DEVICE_RESET(fd 21) = EAGAIN (resource temporarily unavailable) TIME';
    assert.deepEqual(lines.slice(0, 3), [
      failed,
      failed,
      'VFIO_DEVICE_ATTACH_IOMMUFD_PT(fd 21, pt_id 3) = refused by the addon: no call was made TIME',
    ]);
    assert.match(lines[3] ?? '', /EAGAIN .*no thread: the call was not made/);
  });

  it('names the system call that failed, of functions that make several', async () => {
    const names = Object.keys(systemCalls) as SteppedName[];
    const cases = names.flatMap((name) =>
      systemCalls[name].map((call, at) => ({ name, call, at })),
    );
    for (const { name, call, at } of cases) {
      const lines = await linesOf({ [name]: () => -(4096 * at + 13) }, (traced) => {
        (traced as unknown as Record<string, (...args: unknown[]) => unknown>)[name]?.(1, 2, 3);
      });
      assert.match(
        lines[0] ?? '',
        new RegExp(`= EACCES \\(permission denied, of ${call}\\) TIME$`),
      );
    }
    const noThread = await linesOf({ memoryAllocate: () => Promise.resolve(-65547) }, (traced) =>
      traced.memoryAllocate(4096n, 0, 0),
    );
    assert.match(noThread[0] ?? '', /= EAGAIN .*no thread: the call was not made/);
  });

  it('knows every function of the addon that makes several system calls', () => {
    const folder = fileURLToPath(new URL('native/', root));
    const sources = readdirSync(folder).filter((name) => name.endsWith('.cc'));
    const text = sources.map((name) => readFileSync(join(folder, name), 'utf8')).join('');
    // So the comment of each says what it answers.
    const found = text.matchAll(/^\/\/ (\w+)\([^)]*\) -> .*or the step that failed/gm);
    const names = [...found].map(([, name]) => name);
    assert.deepEqual(names.sort(), Object.keys(systemCalls).sort());
  });

  it('tells what KVM refused, of a binding alone, and both errnos of a closing', async () => {
    const fakes: Partial<Binding> = {
      bindSync: () => -8192 - 13,
      resetSync: () => -8192 - 13,
      closeSync: () => -(5 + 4096 * 28),
    };
    const lines = await linesOf(fakes, (traced) => {
      traced.bindSync(device, 8 as NativeFd);
      traced.resetSync(device);
      traced.closeSync(device, 8 as NativeFd);
    });
    assert.match(
      lines[0] ?? '',
      /= EACCES \(permission denied, of KVM: the device was not bound\)/,
    );
    assert.doesNotMatch(lines[1] ?? '', /KVM/);
    assert.equal(
      lines[2],
      'close(fd 21, then fd 22) = EIO (i/o error), then ENOSPC (no space left on device) TIME',
    );
  });

  it('names the request of which it is asked whether the kernel knows it', async () => {
    const requests: number[] = [];
    const iommufdProbe = (_fd: NativeFd, request: number): number => {
      requests.push(request);
      return -25;
    };
    const lines = await linesOf({ iommufdProbe }, async (traced) => {
      using iommufd = Iommufd.open({ devRoot: tree({ iommu: { pointsTo: '/dev/null' } }) });
      await withBinding(traced, () => {
        assert.equal(iommufd.mapsFiles, false);
      });
    });
    assert.equal(requests.length, 1);
    assert.match(
      lines[0] ?? '',
      /^ioctl\(fd \d+, IOMMU_IOAS_MAP_FILE, no struct.*\) = ENOTTY \(.*\) TIME$/,
    );
  });

  it('says of a call that it goes on for long', async () => {
    let end: ((answer: number) => void) | undefined;
    const reset = (): Promise<number> => new Promise((resolve) => (end = resolve));
    const lines: string[] = [];
    let waited: (() => void) | undefined;
    const told = new Promise<void>((resolve) => (waited = resolve));
    const write = (line: string): void => {
      lines.push(line);
      waited?.();
    };
    const traced = tracedBinding({ ...binding(), fdNumber: () => 21, reset }, { vfio: write });
    const answer = traced.reset(device);
    // The trace's own clock keeps no program alive.
    const alive = setInterval(() => undefined, 1000);
    await told;
    clearInterval(alive);
    assert.match(lines[0] ?? '', /^VFIO_DEVICE_RESET\(fd 21\) has not answered for \d.* s …$/);
    end?.(0);
    await answer;
    assert.match(lines[1] ?? '', /^VFIO_DEVICE_RESET\(fd 21\) = 0 \d.* s$/);
  });

  it('shows no token, and nothing that a terminal would obey', async () => {
    const token = Uint8Array.from({ length: 16 }, () => 0xab);
    const fakes: Partial<Binding> = {
      bindSync: () => 1,
      featureSync: (_device, _flags, bytes) => bytes,
      groupGetDeviceSync: () => -1,
      open: () => -2,
    };
    const lines = await linesOf(fakes, (traced) => {
      traced.bindSync(device, 8 as NativeFd, token);
      traced.featureSync(device, 0x20000, token);
      traced.groupGetDeviceSync(device, '0000:3b:00.0 vf_token=abababab');
      traced.open('/dev/\u001b[31m\n', 2);
    });
    assert.doesNotMatch(lines.join('\n'), /abab/);
    assert.equal(
      lines[3],
      String.raw`open("/dev/\x1b[31m\x0a", O_RDWR) = ENOENT (no such file or directory) TIME`,
    );
  });

  it('lets no text of others end its quotes', async () => {
    const lines = await linesOf({ open: () => -2 }, (traced) => {
      traced.open('/x", O_RDWR) = fd 3 1 µs\\', 2);
      traced.open('\\x1b\u001b', 2);
    });
    assert.deepEqual(lines, [
      String.raw`open("/x\", O_RDWR) = fd 3 1 µs\\", O_RDWR) = ENOENT (no such file or directory) TIME`,
      String.raw`open("\\x1b\x1b", O_RDWR) = ENOENT (no such file or directory) TIME`,
    ]);
  });

  it('lets calls be where it cannot tell them', async () => {
    const getDeviceInfo = (): number => 0;
    const lines = await linesOf({ getDeviceInfo }, (traced) => {
      assert.equal(traced.getDeviceInfo(device, 24, new Uint32Array(1)), 0);
    });
    assert.match(lines[0] ?? '', /^VFIO_DEVICE_GET_INFO\(fd 21\) = <the trace could not tell this/);
  });

  it('wraps what is asked for, and leaves all else as it is', () => {
    const native = binding();
    const traced = tracedBinding(native, { 'vfio-sysfs': () => undefined });
    assert.equal(traced.read32, native.read32);
    assert.equal(traced.resetSync, native.resetSync);
    assert.notEqual(traced.readSmallFile, native.readSmallFile);
    assert.equal(traced.getDeviceInfo, native.getDeviceInfo);
    const all = tracedBinding(native, { vfio: () => undefined });
    assert.equal(all.read32, native.read32);
    assert.notEqual(all.resetSync, native.resetSync);
  });

  it('tells accesses from what is in the mailbox', async () => {
    const lines = await linesOf(
      {},
      (traced) => {
        const words = new Uint32Array(traced.mailbox());
        new Float64Array(traced.mailbox(), 0, 1)[0] = 0x1c;
        words[4] = 4711;
        traced.read32();
      },
      ['vfio-access'],
    );
    assert.deepEqual(lines, ['read32(mapping 4711+0x1c) = refused TIME']);
  });

  it('says which memory is polled, and when its handle goes', async () => {
    const lines = await linesOf(
      {},
      async (traced) => {
        await withBinding(traced, () => {
          using memory = DmaBuffer.allocateSync(4096);
          const entries = { offset: 64, stride: 16, count: 4, mask: 1, value: 1 };
          const poll = memory.pollEntries(entries);
          poll.poll();
        });
      },
      ['vfio', 'vfio-access'],
    );
    const handle = /= memory (\d+) TIME$/.exec(lines[0] ?? '')?.[1] ?? 'none';
    const [, prepared, polled, released] = lines;
    assert.match(
      prepared ?? '',
      new RegExp(`^prepare poll\\(memory ${handle}\\+0x40, stride 16\\) = poll \\d+ TIME$`),
    );
    assert.match(
      polled ?? '',
      new RegExp(`^poll memory\\(memory ${handle}\\+0x40\\) = \\d+ new TIME$`),
    );
    assert.equal(released, `release(memory ${handle}) = 0 TIME`);
  });

  it('learns how regions are called as long as a device is open, where accesses are told', async () => {
    const fakes: Partial<Binding> = {
      getDeviceInfo: (_device, _bytes, room) => {
        room.set([24, 2, 9, 5]);
        return 0;
      },
      getRegionInfo: (_device, _index, _bytes, room) => {
        room.set([32, 7, 0, 0, 0x1000, 0, 0, 0]);
        return 0;
      },
      closeSync: () => 0,
      pread32: () => undefined,
    };
    const access = (traced: Binding): void => {
      new Mailbox(traced.mailbox()).aimAt(device, 0, 0, 4);
      traced.pread32();
    };
    const lines = await linesOf(
      fakes,
      (traced) => {
        traced.getDeviceInfo(device, 24, new Uint32Array(8));
        traced.getRegionInfo(device, 0, 32, new Uint32Array(8));
        access(traced);
        traced.closeSync(device);
        access(traced);
      },
      ['vfio-access'],
    );
    assert.deepEqual(
      lines.map((line) => /, (.*)\)/.exec(line)?.[1]),
      ['bar0+0x4', '0x0+0x4'],
    );
  });
});

describe('the trace of interrupts', () => {
  const what = 'vector 1 of msix of 0000:3b:00.0';

  it('has each count that is delivered, before who listens hears of it', async () => {
    const heard: (number | string)[] = [];
    const write = (line: string): void => {
      if (line.startsWith('interrupt')) heard.push(line);
    };
    const traced = tracedBinding(binding(), { 'vfio-access': write });
    await withBinding(traced, async () => {
      const event = Eventfd.open(what);
      const vector = InterruptVector.of({ name: 'msix', index: 2 }, 1, event);
      const line = `interrupt(${what}, fd ${vector.fd}) = `;
      let next: (() => void) | undefined;
      vector.on('interrupt', function (this: unknown, count) {
        assert.equal(this, vector);
        heard.push(count);
        next?.();
      });
      // The library delivers the first, the addon alone the next ones.
      for (const count of [1, 3, 2]) {
        const told = new Promise<void>((resolve) => (next = resolve));
        binding().eventfdWrite(event.native, count);
        await told;
      }
      vector.removeAllListeners();
      const wait = vector.wait();
      binding().eventfdWrite(event.native, 7);
      heard.push(await wait);
      vector.end();
      assert.deepEqual(
        heard,
        [1, 3, 2, 7].flatMap((count) => [`${line}${count}`, count]),
      );
    });
  });

  it('has what tells that an eventfd cannot be read, and what is no interrupt', async () => {
    let callback: ((answer: number) => void) | undefined;
    const eventfdWatch: Binding['eventfdWatch'] = (_fd, called) => {
      callback = called;
      return 0;
    };
    const lines = await linesOf(
      { eventfdWatch },
      (traced) => {
        const answers: number[] = [];
        traced.eventfdWatch(device, (answer) => void answers.push(answer), 'the wake-up eventfd');
        callback?.(-5);
        assert.deepEqual(answers, [-5]);
      },
      ['vfio-access'],
    );
    assert.deepEqual(lines, ['event(the wake-up eventfd, fd 21) = EIO (i/o error)']);
  });

  it('leaves the way of an interrupt as it is where nobody asked for it', () => {
    const native = binding();
    const traced = tracedBinding(native, { vfio: () => undefined, 'vfio-sysfs': () => undefined });
    assert.equal(traced.eventfdWatch, native.eventfdWatch);
    assert.equal(traced.eventfdMethod, native.eventfdMethod);
  });
});

describe('NODE_DEBUG', () => {
  const index = fileURLToPath(new URL('lib/index.ts', root));
  const program = `import { listDevicesSync } from ${JSON.stringify(index)}; listDevicesSync();`;

  function stderrOf(sections: string | undefined, code = program): string {
    const env = { ...process.env, NODE_DEBUG: sections };
    const args = ['--import', 'tsx', '--input-type=module', '--eval', code];
    const options = { env, encoding: 'utf8', cwd: fileURLToPath(root) } as const;
    const { status, stderr } = spawnSync(process.execPath, args, options);
    assert.equal(status, 0, stderr);
    return stderr;
  }

  it('asks for sections, by name or by a star, and for none', () => {
    assert.match(stderrOf('vfio-sysfs'), /^VFIO-SYSFS \d+: read entries\(\["\/sys\/bus"\]/m);
    assert.match(stderrOf('VFIO*'), /^VFIO-SYSFS \d+: /m);
    assert.doesNotMatch(stderrOf('vfio'), /VFIO-SYSFS/);
    assert.doesNotMatch(stderrOf(undefined), /VFIO/);
  });

  it('says which thread a line is of, where that is a worker', () => {
    const boot = `import('tsx/esm/api')
      .then(({ register }) => (register(), import(${JSON.stringify(index)})))
      .then(({ listDevicesSync }) => listDevicesSync())`;
    const started = `
      import { Worker } from 'node:worker_threads';
      ${program}
      new Worker(${JSON.stringify(boot)}, { eval: true });`;
    const lines = stderrOf('vfio-sysfs', started).split('\n');
    assert.ok(lines.some((line) => /^VFIO-SYSFS \d+: /.test(line)));
    assert.ok(lines.some((line) => /^VFIO-SYSFS \d+ thread \d+: /.test(line)));
  });
});

describe('the lines of the trace', () => {
  /** What was written, where each write is answered so: how many bytes, or why none. */
  function writtenOf(answers: (number | string | undefined)[], lines: string[]): string {
    let written = '';
    const write = (_fd: number, bytes: Buffer, at: number): number => {
      const answer = answers.shift();
      if (typeof answer === 'string') throw Object.assign(new Error(answer), { code: answer });
      const taken = bytes.subarray(at, answer === undefined ? undefined : at + answer);
      written += taken.toString();
      return taken.length;
    };
    const output = new StderrLines('VFIO 1', write as never);
    for (const line of lines) output.write(line);
    assert.equal(answers.length, 0);
    return written;
  }

  it('are written as a whole, however little the reader takes at once', () => {
    assert.equal(writtenOf(['EAGAIN', 1, 'EAGAIN', 2], ['ab: c', 'd']), 'ab: c\nd\n');
  });

  it('are lost where there is no room, which the next says', () => {
    const lines = ['one', 'two', 'three'];
    const said = 'VFIO 1: … lines of the trace lost';
    assert.equal(writtenOf(['ENOSPC', 'ENOSPC'], lines), `${said}: 2\nthree\n`);
    assert.equal(writtenOf([2, 'ENOSPC'], lines), `on\n${said}: 1\ntwo\nthree\n`);
  });

  it('end where nobody reads them', () => {
    assert.equal(writtenOf([undefined, 'EPIPE'], ['one', 'two', 'three']), 'one\n');
  });

  it('end no program whose reader of standard error is gone', async () => {
    const index = fileURLToPath(new URL('lib/index.ts', root));
    const program = `
      import { once } from 'node:events';
      import { DmaBuffer } from ${JSON.stringify(index)};
      DmaBuffer.allocateSync(4096);
      await once(process.stdin, 'data');
      for (let i = 0; i < 5; i++) {
        DmaBuffer.allocateSync(4096);
        await new Promise((resolve) => setImmediate(resolve));
      }
      console.log('done');
      process.stdin.destroy();`;
    const args = ['--import', 'tsx', '--input-type=module', '--eval', program];
    const env = { ...process.env, NODE_DEBUG: 'vfio' };
    const child = spawn(process.execPath, args, { env, cwd: fileURLToPath(root) });
    let out = '';
    child.stdout.on('data', (text: Buffer) => (out += text.toString()));
    const closed = once(child, 'close');
    const [first] = (await once(child.stderr, 'data')) as [Buffer];
    assert.match(first.toString(), /^VFIO \d+: memfd_create\+mmap\(/);
    child.stderr.destroy();
    await once(child.stderr, 'close');
    child.stdin.end('go on\n');
    assert.deepEqual(await closed, [0, null]);
    assert.equal(out, 'done\n');
  });
});

describe('vfio trace', () => {
  it('takes a command of vfio, or a program behind --', async () => {
    for (const [argv, said] of [
      [['trace'], /<command…> is missing/],
      [['trace', '--'], /a program is missing behind --/],
      [['trace', 'node', 'x.js'], /a program stands behind --, as in vfio trace -- node x\.js/],
      [['trace', '--sysfs=1', 'list'], /--sysfs takes no value/],
    ] as const) {
      const { status, err } = await vfio([...argv]);
      assert.equal(status, 2, argv.join(' '));
      assert.match(err, said);
    }
    assert.match(
      (await vfio(['trace', '--help'])).out,
      /^Usage: vfio trace \[options\] <command…>/,
    );
  });

  /** Says when it hears of SIGINT, and on SIGTERM how often that was; then asks for SIGTERM. */
  const listener = `
    let count = 0;
    process.on('SIGINT', () => {
      count++;
      // What comes to both is with the other before this; that passes this one on.
      process.kill(process.ppid, 'SIGTERM');
    });
    process.on('SIGTERM', () => {
      console.log('SIGINT: ' + count);
      process.exit(3);
    });
    setInterval(() => undefined, 1000);
    console.log('ready');`;

  /** What the listener said, run by `program`, once `interrupt` was called. */
  async function heard(
    [program = '', ...args]: string[],
    interrupt: (child: ChildProcessWithoutNullStreams) => void,
  ): Promise<string> {
    const child = spawn(program, args, { cwd: fileURLToPath(root), detached: true });
    let out = '';
    const closed = once(child, 'close');
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (text: Buffer) => {
        out += text.toString();
        if (out.includes('ready')) resolve();
      });
      child.once('close', () => {
        resolve();
      });
    });
    interrupt(child);
    const overdue = setTimeout(() => process.kill(-Number(child.pid), 'SIGKILL'), 60_000);
    assert.deepEqual(await closed, [3, null], out);
    clearTimeout(overdue);
    return out;
  }

  const tracing = (): string[] => {
    const file = join(tree({ 'listener.js': listener }), 'listener.js');
    const main = fileURLToPath(new URL('lib/cli/main.ts', root));
    return [process.execPath, '--import', 'tsx', main, 'trace', '--', process.execPath, file];
  };

  it('passes on SIGINT that is sent to it alone', async () => {
    const out = await heard(tracing(), (child) => child.kill('SIGINT'));
    assert.match(out, /SIGINT: 1\n/);
  });

  it('does not pass on the SIGINT of a terminal, which reaches the program by itself', async function () {
    if (spawnSync('script', ['--version']).error) skip(this, 'script of util-linux');
    const command = tracing().map((word) => `'${word}'`);
    const words = ['script', '-qec', `exec ${command.join(' ')}`, '/dev/null'];
    const out = await heard(words, (child) => child.stdin.write('\u0003'));
    assert.match(out, /SIGINT: 1\r?\n/);
  });

  it('gives a program the environment, and has its exit status', async () => {
    const exit = (code: string): string[] => ['trace', '--', process.execPath, '-e', code];
    assert.equal((await vfio(exit('process.exit(7)'))).status, 7);
    assert.equal((await vfio(exit('process.kill(process.pid, 9)'))).status, 137);
    const asks = "process.exit(process.env.NODE_DEBUG === 'vfio,vfio-access' ? 0 : 1)";
    const [name = '', ...program] = exit(asks);
    assert.equal((await vfio([name, '--accesses', ...program])).status, 0);
    const absent = await vfio(['trace', '--', '/nowhere/program']);
    assert.equal(absent.status, 1);
    assert.match(absent.err, /^vfio trace: .*ENOENT/);
  });
});
