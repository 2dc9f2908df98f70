import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import {
  type OwnFile,
  requireNamedFile,
  writeNamedFile,
  writeOwnFile,
} from '../../lib/cli/write_file.ts';
import { bashArgs } from '../support/bash.ts';
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

describe('a file that a command line names', () => {
  it('is written by another name first, with the mode that it had', async () => {
    const folder = tree({ 'old.svg': 'a much longer text than the new one' });
    const path = join(folder, 'old.svg');
    chmodSync(path, 0o640);
    const before = statSync(path);
    await writeNamedFile(path, 'new');
    const { ino, mode, uid } = statSync(path);
    assert.notEqual(ino, before.ino);
    assert.deepEqual([readFileSync(path, 'utf8'), mode, uid], ['new', before.mode, before.uid]);
    const umask = process.umask(0o027);
    try {
      await writeNamedFile(join(folder, 'new.svg'), 'new');
    } finally {
      process.umask(umask);
    }
    assert.equal(statSync(join(folder, 'new.svg')).mode & 0o777, 0o640);
    assert.deepEqual(readdirSync(folder).sort(), ['new.svg', 'old.svg']);
  });

  it('is where links lead, and the links stay', async () => {
    const folder = tree({
      'there/old': 'old',
      link: { pointsTo: 'there/old' },
      dangling: { pointsTo: 'there/new' },
    });
    for (const name of ['link', 'dangling']) await writeNamedFile(join(folder, name), name);
    assert.equal(readlinkSync(join(folder, 'link')), 'there/old');
    assert.equal(readFileSync(join(folder, 'there/old'), 'utf8'), 'link');
    assert.equal(readFileSync(join(folder, 'there/new'), 'utf8'), 'dangling');
  });

  it('is not replaced where it is no file, but written to', async () => {
    const folder = tree({ kept: '' });
    const pipe = join(folder, 'pipe');
    assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
    const [text] = await Promise.all([readFile(pipe, 'utf8'), writeNamedFile(pipe, 'through')]);
    assert.equal(text, 'through');
    assert.ok(statSync(pipe).isFIFO());
    const full = await vfioFailure(() => writeNamedFile('/dev/full', 'x'), 'ENOSPC');
    assert.match(full.message, /^\/dev\/full was not written: ENOSPC: no space left on device$/);
    assert.ok(statSync('/dev/full').isCharacterDevice());
  });

  it('is told of by its own name, where it could not be written', async () => {
    const folder = tree({ 'kept/in': '' });
    for (const [path, code, hint] of [
      [join(folder, 'absent/a.svg'), 'ENOENT', /absent has to be there: mkdir -p/],
      [join(folder, 'kept/in/a.svg'), 'ENOTDIR', /in has to be a folder/],
      [join(folder, 'kept'), 'EISDIR', /name a file in it/],
    ] as const) {
      const error = await vfioFailure(() => writeNamedFile(path, 'x'), code);
      assert.ok(error.message.startsWith(`${path} was not written: ${code}: `), error.message);
      assert.doesNotMatch(error.message, /, (open|write)/);
      assert.match(error.hint ?? '', hint);
      if (code !== 'EISDIR') await vfioFailure(() => requireNamedFile(path), code);
    }
    await requireNamedFile(join(folder, 'new'));
    assert.deepEqual(readdirSync(folder), ['kept']);
  });

  it('is as it was where only a part found room', () => {
    // This process may have 512 bytes in a file.
    const folder = tree({ 'old.svg': 'old' });
    const program = fileURLToPath(new URL('../../lib/cli/write_file.ts', import.meta.url));
    const script = `import { writeNamedFile } from '${program}';
      await writeNamedFile('${folder}/old.svg', 'x'.repeat(5000)).catch((e) => console.log(e.message + ' -- ' + e.hint));`;
    const { stdout, stderr } = spawnSync(
      'bash',
      bashArgs(
        `trap '' XFSZ; ulimit -f 1; exec '${process.execPath}' --import tsx --input-type=module -e "$0"`,
        script,
      ),
      { encoding: 'utf8', env: { ...process.env, TSX_DISABLE_CACHE: '1' } },
    );
    assert.match(stdout, /old\.svg was not written: EFBIG: .* -- .*ulimit -f/, stderr);
    assert.equal(readFileSync(join(folder, 'old.svg'), 'utf8'), 'old');
    assert.deepEqual(readdirSync(folder), ['old.svg']);
  });
});
