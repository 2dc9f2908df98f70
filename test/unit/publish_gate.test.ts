import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { root } from '../support/root.ts';

const gate = fileURLToPath(new URL('scripts/publish-gate.mjs', root));
const x64 = 'prebuilds/linux-x64/vfio.glibc.node';
const arm64 = 'prebuilds/linux-arm64/vfio.glibc.node';

/** The head of a shared object for this machine: what the gate looks at. */
function elf(machine: number): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.write('\x7fELF\x02\x01\x01', 'latin1');
  bytes.writeUInt16LE(3, 16);
  bytes.writeUInt16LE(machine, 18);
  return bytes;
}

describe('the gate before publishing', () => {
  let folder: string;
  let files: Map<string, string | Buffer>;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vfio-gate-'));
    files = new Map<string, string | Buffer>([
      ['package.json', '{ "name": "vfio", "version": "1.2.3" }'],
      [x64, elf(62)],
      [arm64, elf(183)],
    ]);
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  function publish(tag: string): [status: number | null, complaint: string] {
    for (const [path, content] of files) {
      const file = join(folder, 'package', path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
    }
    const tarball = join(folder, 'vfio.tgz');
    const packed = spawnSync('tar', ['-czf', tarball, '-C', folder, 'package']);
    assert.equal(packed.status, 0, packed.stderr.toString());
    const { status, stderr } = spawnSync(process.execPath, [gate, tarball, tag], {
      encoding: 'utf8',
    });
    return [status, stderr];
  }

  it('opens for a package with both binaries and the version of its tag', () => {
    assert.deepEqual(publish('v1.2.3'), [0, '']);
  });

  for (const binary of [x64, arm64]) {
    it(`is shut where ${binary} is missing`, () => {
      files.delete(binary);
      assert.deepEqual(publish('v1.2.3'), [1, `not published: ${binary} is missing\n`]);
    });
  }

  it('is shut where a binary is for another machine', () => {
    files.set(arm64, elf(62));
    const [status, complaint] = publish('v1.2.3');
    assert.equal(status, 1);
    assert.match(complaint, /linux-arm64.* is no 64-bit ELF shared object for AArch64/);
  });

  it('is shut where a binary is none', () => {
    files.set(x64, '');
    const [status, complaint] = publish('v1.2.3');
    assert.equal(status, 1);
    assert.match(complaint, /linux-x64.* is no 64-bit ELF shared object for x86-64/);
  });

  it('is shut for a tag of another version', () => {
    for (const tag of ['v1.2.4', '1.2.3', 'main']) {
      const complaint = `not published: the tag is ${tag}, and the package is of version 1.2.3\n`;
      assert.deepEqual(publish(tag), [1, complaint]);
    }
  });

  it('names its arguments where they are wrong', () => {
    const { status, stderr } = spawnSync(process.execPath, [gate], { encoding: 'utf8' });
    assert.deepEqual([status, stderr.startsWith('usage: ')], [2, true]);
  });
});
