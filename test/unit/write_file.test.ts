import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { type OwnFile, writeOwnFile } from '../../lib/cli/write_file.ts';
import { vfioFailure } from '../support/errors.ts';
import { put, tree } from '../support/tree.ts';

function ownFile(folder: string, text = 'ours: new\n'): OwnFile {
  return { folder, name: 'file', text, isOurs: (there) => there.startsWith('ours') };
}

describe('a file that a command writes', () => {
  it('is written whole, for all to read, and leaves nothing beside it', async () => {
    const folder = tree({ other: 'kept' });
    const umask = process.umask(0o077);
    try {
      assert.equal(await writeOwnFile(ownFile(folder)), 'written');
    } finally {
      process.umask(umask);
    }
    const path = join(folder, 'file');
    assert.equal(readFileSync(path, 'utf8'), 'ours: new\n');
    assert.equal(statSync(path).mode & 0o777, 0o644);
    assert.deepEqual(readdirSync(folder).sort(), ['file', 'other']);
  });

  it('is replaced where it is ours, by another file and not in place', async () => {
    const folder = tree({ file: 'ours: old\n' });
    const path = join(folder, 'file');
    const before = statSync(path).ino;
    assert.equal(await writeOwnFile(ownFile(folder)), 'replaced');
    assert.notEqual(statSync(path).ino, before);
    assert.equal(await writeOwnFile(ownFile(folder)), 'unchanged');
    assert.equal(readFileSync(path, 'utf8'), 'ours: new\n');
  });

  it('is left alone where another wrote it, and where it is no file', async () => {
    const folder = tree({ 'theirs/file': 'theirs\n', 'empty/file': '', 'folder/file/in': '' });
    mkdirSync(join(folder, 'link'));
    symlinkSync('/dev/null', join(folder, 'link/file'));
    put(folder, { 'toOurs/target': 'ours: a target\n', 'toOurs/file': { pointsTo: 'target' } });
    for (const name of ['theirs', 'empty', 'folder', 'link', 'toOurs']) {
      const error = await vfioFailure(() => writeOwnFile(ownFile(join(folder, name))), 'EEXIST');
      assert.match(error.message, new RegExp(`${name}/file is there already`));
      assert.match(error.hint ?? '', /--dir/);
    }
    assert.equal(readFileSync(join(folder, 'theirs/file'), 'utf8'), 'theirs\n');
    assert.deepEqual(readdirSync(join(folder, 'link')), ['file']);
  });

  it('makes its folder where it is told to, and says else that it is not there', async () => {
    const folder = join(tree({ kept: '' }), 'a/b');
    const error = await vfioFailure(() => writeOwnFile(ownFile(folder)), 'ENOENT');
    assert.match(error.message, /a\/b\/file was not written: ENOENT/);
    assert.match(error.hint ?? '', /a\/b has to be there/);
    assert.equal(await writeOwnFile({ ...ownFile(folder), makeFolder: true }), 'written');
  });

  it('says that its folder is none', async () => {
    const folder = join(tree({ kept: '' }), 'kept');
    const error = await vfioFailure(() => writeOwnFile(ownFile(folder)), 'ENOTDIR');
    assert.match(error.message, /kept\/file was not written: ENOTDIR/);
  });
});
