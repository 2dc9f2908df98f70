import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { join } from 'node:path';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { root } from '../support/root.ts';
import { tree } from '../support/tree.ts';

/** For programs: waits until only so many of the descriptors that it opens are open. */
const waiting = `
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
const target = (fd: string) => { try { return readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } };
const count = () => readdirSync('/proc/self/fd').filter((fd) => target(fd) === '/dev/full').length;
async function untilClosed(kept = 0) {
  for (let at = 0; at < 1500 && count() > kept; at++) {
    (globalThis as any).gc();
    await setTimeout(20);
  }
  console.log('open:', count());
}
`;

/** Runs a program; what it was warned of. It must end with so many descriptors open. */
function warningsOf(program: string, kept: number, flags: string[] = []): string[] {
  const file = join(tree({}), 'program.mts');
  writeFileSync(file, program);
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', ...flags, file],
    { cwd: root, encoding: 'utf8' },
  );
  assert.equal(stdout, `open: ${kept}\n`, stderr);
  const warnings = stderr.split('\n').filter((line) => line.includes('VfioWarning: '));
  return warnings.map((line) => line.replace(/^.*\[VFIO_NOT_CLOSED\] VfioWarning: /, '')).sort();
}

function vfio(): string {
  const roots = fakeVfio('1:7');
  putNode(roots, fakeNode, '/dev/full');
  putNode(roots, 'iommu', '/dev/full');
  return JSON.stringify(roots);
}

const libraryAt = (path: string): string => JSON.stringify(new URL(path, root).href);

/** `function (file:line:column)` of the line in which the program has `mark`. */
function place(program: string, name: string, mark: string): string {
  const line = program.split('\n').findIndex((text) => text.includes(mark)) + 1;
  return `opened at ${name} \\(.*/program\\.mts:${line}:\\d+\\)`;
}

function assertWarnings(warnings: string[], expected: string[]): void {
  assert.equal(warnings.length, expected.length, warnings.join('\n'));
  for (const what of expected) {
    const pattern = new RegExp(`^${what}, was dropped without being closed; closing it now$`);
    assert.ok(
      warnings.some((warning) => pattern.test(warning)),
      `${what}\n${warnings.join('\n')}`,
    );
  }
}

describe('an owner that is dropped', () => {
  const cdev = `the cdev of ${fakeAddress} \\(.*/${fakeNode}\\)`;
  const iommufd = 'the iommufd \\(.*/iommu\\)';

  for (const library of ['lib/index.ts', 'dist/index.js']) {
    it(`is closed, with a warning that names where it was opened: ${library}`, () => {
      const program = `${waiting}
        import { Iommufd, openCdev, openCdevSync } from ${libraryAt(library)};
        const roots = ${vfio()};
        const address: string = '${fakeAddress}';
        interface Shifts {
          lines: number;
        }
        class Program {
          cdev: unknown;
          open() {
            this.cdev = openCdevSync(address, roots); // in a method
          }
        }
        async function main() {
          await openCdev(address, roots); // in a promise
        }
        function many() {
          [roots].map(Iommufd.open); // by another function
        }
        new Program().open();
        await main();
        many();
        openCdevSync(address, roots).closeSync();
        const kept = Iommufd.open(roots);
        await untilClosed(1);
        kept.closeSync();
      `;
      assertWarnings(warningsOf(program, 1), [
        `${cdev}, ${place(program, 'Program.open', '// in a method')}`,
        `${cdev}, ${place(program, 'main', '// in a promise')}`,
        `${iommufd}, ${place(program, 'many', '// by another function')}`,
      ]);
    });
  }

  it('is closed with a warning where it watches devices', () => {
    const program = `
      import { setTimeout } from 'node:timers/promises';
      import { watchDevices } from ${libraryAt('lib/index.ts')};
      import { ueventSockets as count } from ${libraryAt('test/support/proc.ts')};
      const before = count();
      function begin() {
        watchDevices(); // and forget
      }
      begin();
      if (count() <= before) throw new Error('it does not watch');
      for (let at = 0; at < 1500 && count() > before; at++) {
        (globalThis as any).gc();
        await setTimeout(20);
      }
      console.log('open:', count() - before);
    `;
    const at = place(program, 'begin', '// and forget');
    assertWarnings(warningsOf(program, 0), [
      `the watch of devices \\(NETLINK_KOBJECT_UEVENT\\), ${at}`,
    ]);
  });

  it('is closed with a warning where it is a duplicate, or came in a message', () => {
    const program = `${waiting}
      import { FdChannel, Iommufd } from ${libraryAt('lib/index.ts')};
      const kept = Iommufd.open(${vfio()});
      const [a, b] = FdChannel.pair();
      async function main() {
        kept.dup(); // of an iommufd
        await a.send(Uint8Array.of(1), [kept.fd]);
        await b.receive();
      }
      await main();
      await untilClosed(1);
      for (const each of [kept, a, b]) each.closeSync();
    `;
    const [message = '', duplicate = '', ...more] = warningsOf(program, 1).toReversed();
    assert.deepEqual(more, []);
    const dropped = 'was dropped without being closed; closing it now';
    assert.equal(message, `a received descriptor (by socketpair) ${dropped}`);
    const opened = place(program, 'main', '// of an iommufd');
    assert.match(
      duplicate,
      new RegExp(`^a duplicate of the iommufd \\(.*/iommu\\), ${opened}, ${dropped}$`),
    );
  });

  it('gives one warning, when a device has an iommufd of its own', () => {
    const program = `${waiting}
      import { VfioDevice } from ${libraryAt('lib/index.ts')};
      import { binding, replaceBinding } from ${libraryAt('lib/core/binding.ts')};
      import { fakeIoctls } from ${libraryAt('test/support/fake_kernel.ts')};
      replaceBinding({ ...binding(), ...fakeIoctls });
      const roots = ${vfio()};
      async function main() {
        await VfioDevice.open('${fakeAddress}', roots); // here
      }
      function mainSync() {
        VfioDevice.openSync('${fakeAddress}', roots); // there
      }
      await main();
      mainSync();
      await untilClosed();
    `;
    assertWarnings(warningsOf(program, 0), [
      `${cdev}, ${place(program, 'main', '// here')}`,
      `${cdev}, ${place(program, 'mainSync', '// there')}`,
    ]);
  });

  it('is closed, with a warning, where no code of the program opened it, or its stacks are odd', () => {
    const program = `${waiting}
      import { Iommufd, openCdev } from ${libraryAt('dist/index.js')};
      const roots = ${vfio()};
      await new Promise((done) => setImmediate(() => (openCdev('${fakeAddress}', roots), done(0))));
      const { prepareStackTrace } = Error;
      Error.prepareStackTrace = (_error, frames) => frames;
      (() => void Iommufd.open(roots))();
      await new Promise((done) => setImmediate(done));
      Error.prepareStackTrace = prepareStackTrace;
      await untilClosed();
    `;
    const warnings = warningsOf(program, 0);
    assert.equal(warnings.length, 2);
    assert.match(warnings[1] ?? '', /^the iommufd \(.*\/iommu\) was dropped without/);
  });

  it('leaves the program’s limit of frames as it was', () => {
    const program = `${waiting}
      import { Iommufd } from ${libraryAt('dist/index.js')};
      Error.stackTraceLimit = 1;
      Iommufd.open(${vfio()}).closeSync();
      if (Error.stackTraceLimit !== 1) throw new Error('another limit');
      Object.freeze(Error);
      Iommufd.open(${vfio()}).closeSync();
      await untilClosed();
    `;
    assert.deepEqual(warningsOf(program, 0), []);
  });
});
