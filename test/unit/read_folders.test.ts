import assert from 'node:assert/strict';
import { constants as os } from 'node:os';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import { binding } from '../../lib/core/binding.ts';
import { tree } from '../support/tree.ts';

const { EINVAL, EISDIR, ENOENT, ENOTDIR } = os.errno;

describe('readFolders', () => {
  const entries = ['text', 'link@', 'names/', 'names/inner', './', 'names', 'text@', 'text/', ''];

  it('reads files, links and folders of many folders, and says why it could not', async () => {
    const root = tree({
      'a/text': 'één\n',
      'a/link': { pointsTo: '../somewhere/else' },
      'a/names/inner': 'x'.repeat(5000),
      'b/text': '',
    });
    const folders = [`${root}/a`, `${root}/b`, `${root}/c`, `${root}/b/text`];
    const contents = binding().readFoldersSync(folders, entries);
    assert.ok(Array.isArray(contents));
    const folder = (at: number): unknown[] =>
      contents.slice(at * entries.length, (at + 1) * entries.length);
    const [text, link, names, inner, own, ...errors] = folder(0);
    assert.deepEqual([text, link, names], ['één', '../somewhere/else', ['inner']]);
    assert.equal(inner, 'x'.repeat(4096));
    assert.deepEqual(new Set(own as string[]), new Set(['link', 'names', 'text']));
    assert.deepEqual(errors, [-EISDIR, -EINVAL, -ENOTDIR, -ENOENT]);
    assert.deepEqual(folder(1), ['', -ENOENT, -ENOENT, -ENOENT, ['text'], -ENOENT, -EINVAL, -ENOTDIR, -ENOENT]); // prettier-ignore
    assert.deepEqual(folder(2), entries.map(() => -ENOENT)); // prettier-ignore
    assert.deepEqual(folder(3), entries.map(() => -ENOTDIR)); // prettier-ignore
    assert.deepEqual(await binding().readFolders(folders, entries), contents);
  });

  it('says whether something is there, whatever it is', () => {
    const root = tree({ 'a/file': '', 'a/folder/inner': '' });
    const asked = ['file?', 'folder?', 'none?', 'file/inner?'];
    const answers = binding().readFoldersSync([`${root}/a`], asked);
    assert.deepEqual(answers, [0, 0, -ENOENT, -ENOTDIR]);
  });

  it('reads a file only while a link is there, where that is asked for', () => {
    const root = tree({
      'a/file': 'with',
      'a/link': { pointsTo: '../nowhere' },
      'b/file': 'without',
      'b/link': 'no link',
    });
    const asked = ['file:link', 'file', 'none:link'];
    const answers = binding().readFoldersSync([`${root}/a`, `${root}/b`], asked);
    assert.deepEqual(answers, ['with', 'with', -ENOENT, -ENOENT, 'without', -ENOENT]);
  });

  it('answers nothing where nothing was asked', async () => {
    assert.deepEqual(binding().readFoldersSync([], entries), []);
    assert.deepEqual(await binding().readFolders(['/'], []), []);
  });

  it('runs many at once, each with its own answer', async () => {
    const root = tree(
      Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`${at}`, `${at}`])),
    );
    const answers = Array.from({ length: 300 }, (_, at) =>
      Promise.resolve(binding().readFolders([root], [String(at)])),
    );
    for (const [at, answer] of (await Promise.all(answers)).entries()) {
      assert.deepEqual(answer, [String(at)]);
    }
  });

  it('refuses every wrong argument without a system call', () => {
    const throwing = Object.defineProperty([], 0, {
      get: () => {
        throw new Error('from the getter');
      },
    });
    const bad = [undefined, null, 'text', {}, [1], ['a', undefined], ['a\0b'], new Array(3)];
    for (const wrong of bad) {
      const native = binding() as unknown as Record<string, (...args: unknown[]) => unknown>;
      for (const name of ['readFolders', 'readFoldersSync']) {
        assert.equal(native[name]?.(wrong, []), undefined, inspect(wrong));
        assert.equal(native[name]?.([], wrong), undefined, inspect(wrong));
        assert.throws(() => native[name]?.(throwing, []), /from the getter/);
      }
    }
  });
});
