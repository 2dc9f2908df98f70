import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, it } from 'mocha';
import { build } from 'esbuild';
import { commands } from '../../lib/cli/commands.ts';
import { runOf, runsAnywhere } from '../support/command_runs.ts';
import { assertEndings, bash, commandLine, type Ended, noReader } from '../support/endings.ts';
import { root } from '../support/root.ts';

const quoted = (path: string): string => `'${fileURLToPath(new URL(path, root))}'`;
const node = `'${process.execPath}' --import tsx`;
const vfio = `${node} ${quoted('lib/cli/main.ts')}`;
const writer = `${node} ${quoted('test/support/cli_writer.ts')}`;
/** More than a pipe holds, 64 KiB. */
const sizes = [1024, 1 << 20];

const quiet: Ended = { status: 0, out: '', err: '' };

describe('the output of vfio', () => {
  for (const size of sizes) {
    it(`ends quietly where its reader is gone: ${size} bytes`, () => {
      assert.deepEqual(bash(`${noReader} ${writer} ${size} >&3`), quiet);
      const head = bash(`${writer} ${size} | head -1`);
      assert.deepEqual(head, { status: 0, out: `${'x'.repeat(1023)}\n`, err: '' });
      assert.deepEqual(bash(`${noReader} ${writer} 0 ${size} 2>&3`), quiet);
    });

    it(`says that the disk is full: ${size} bytes`, () => {
      const { status, err } = bash(`${writer} ${size} > /dev/full`);
      assert.equal(status, 1);
      assert.equal(
        err,
        'vfio: the output was not written: ENOSPC: no space left on device, write; the command itself did not fail\n',
      );
      assert.deepEqual(bash(`${writer} 0 ${size} 2> /dev/full`), { ...quiet, status: 1 });
      assert.deepEqual(bash(`${writer} ${size} > /dev/full 2>&1`), { ...quiet, status: 1 });
    });

    it(`is complete in a pipe, a file and a terminal: ${size} bytes`, () => {
      const folder = mkdtempSync(join(tmpdir(), 'vfio-test-'));
      assert.equal(bash(`${writer} ${size} | cat`).out.length, size);
      assert.equal(bash(`${writer} ${size} > ${folder}/out`).status, 0);
      assert.equal(readFileSync(join(folder, 'out'), 'utf8').length, size);
      const inTerminal = bash(
        `script --quiet --return --command "${writer} ${size}" /dev/null </dev/null`,
      );
      assert.equal(inTerminal.status, 0);
      assert.equal(inTerminal.out.replaceAll('\r', '').length, size);
      rmSync(folder, { recursive: true });
    });
  }

  it('says that the disk is full where only a part found room', () => {
    // The help is one write of more than the 1,024 bytes that this process may have in a file.
    const folder = mkdtempSync(join(tmpdir(), 'vfio-test-'));
    const { status, err } = bash(
      `trap '' XFSZ; ulimit -f 1; ${vfio} bench open --help > ${folder}/out`,
    );
    assert.equal(status, 1);
    assert.match(err, /^vfio: the output was not written: EFBIG: .*\n$/);
    rmSync(folder, { recursive: true });
  });

  it('is so of the command line itself', () => {
    assert.deepEqual(bash(`${noReader} ${vfio} --help >&3`), quiet);
    const full = bash(`${vfio} --help > /dev/full`);
    assert.deepEqual([full.status, full.err.split('\n').length], [1, 2]);
    const refused = bash(`${vfio} frobnicate 2>/dev/full`);
    assert.deepEqual(refused, { ...quiet, status: 2 });
    const gone = bash(`${noReader} ${vfio} frobnicate 2>&3`);
    assert.deepEqual(gone, { ...quiet, status: 2 });
  });
});

describe('the output of every command', () => {
  const addon = { VFIO_ADDON_PATH: fileURLToPath(new URL('build/Release/vfio.node', root)) };
  let folder: string;
  let main: string;

  // Compiled once: loading TypeScript takes longer than a command does.
  before(async () => {
    const parent = fileURLToPath(new URL('build-test', root));
    mkdirSync(parent, { recursive: true });
    folder = mkdtempSync(join(parent, 'cli-'));
    main = join(folder, 'main.js');
    await build({
      ...{ entryPoints: [fileURLToPath(new URL('lib/cli/main.ts', root))], outdir: folder },
      ...{ bundle: true, platform: 'node', format: 'esm', target: 'node20.19' },
    });
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  for (const command of commands) {
    it(`ends without a stack, whatever becomes of its streams: vfio ${command.name}`, () => {
      const { args, env } = runOf(runsAnywhere, command);
      const line = (...more: readonly string[]): string =>
        commandLine(main, command.name, { args: more, env: { ...addon, ...env } });
      const { out, err } = assertEndings(line(...args));
      assert.ok(out !== '' || err !== '', 'it says something');
      const help = assertEndings(line('--help'), [['out']]);
      assert.deepEqual([help.status, help.err], [0, '']);
      const misuse = assertEndings(line('--frobnicate'), [['err']]);
      assert.deepEqual([misuse.status, misuse.out], [2, '']);
    });
  }

  it('is so where a folder is its output, or its input is closed', () => {
    const help = commandLine(main, 'list', { args: ['--help'], env: addon });
    const folderAsOutput = bash(`${help} 1</tmp`);
    assert.equal(folderAsOutput.status, 1);
    assert.match(folderAsOutput.err, /^vfio: the output was not written: E[A-Z]+: .*\n$/);
    const closed = bash(`${help} <&-`);
    assert.deepEqual([closed.status, closed.err], [0, '']);
  });
});
