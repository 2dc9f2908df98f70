import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

const quoted = (path: string): string => `'${fileURLToPath(new URL(path, root))}'`;
const node = `'${process.execPath}' --import tsx`;
const vfio = `${node} ${quoted('lib/cli/main.ts')}`;
const writer = `${node} ${quoted('test/support/cli_writer.ts')}`;
/** More than a pipe holds, 64 KiB. */
const sizes = [1024, 1 << 20];

interface Ran {
  status: number | null;
  out: string;
  err: string;
}

/** Runs a line of bash; `$status` is the status of the first command of a pipe. */
function bash(line: string): Ran {
  const script = `${line}; exit \${PIPESTATUS[0]}`;
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 1 << 24 } as const;
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script], options);
  return { status, out: stdout, err: stderr };
}

/** Descriptor 3 becomes a pipe that nobody reads any more. */
const noReader = 'd=$(mktemp -d); mkfifo $d/p; exec 4<>$d/p; exec 3>$d/p; exec 4>&-; rm -r $d;';

const quiet: Ran = { status: 0, out: '', err: '' };

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
        'vfio: the output was not written: ENOSPC: no space left on device, write\n',
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
