import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

const text = readFileSync(new URL('SECURITY.md', root), 'utf8').replaceAll(/\s*\n\s+/g, ' ');

/** The promises: what the lists say before the section of what is not promised. */
const promises = text.slice(0, text.indexOf('## What is not promised')).match(/^- .*$/gm) ?? [];

/** The tests that a promise names, by file. */
function testsOf(promise: string): { file: string; titles: string[] }[] {
  const [, tests = ''] = promise.split(' Tests: ');
  return [...tests.matchAll(/`(test\/[^`]+)`: ([^`]*)/g)].map(([, file = '', titles = '']) => ({
    file,
    titles: [...titles.matchAll(/“([^”]+)”/g)].map(([, title = '']) => title),
  }));
}

/** Whether a file has a test of that title, as its source spells it. */
function hasTest(source: string, title: string): boolean {
  return ["'", '`', '"'].some((quote) => source.includes(quote + title + quote));
}

describe('SECURITY.md', () => {
  it('has promises, and each has a test', () => {
    assert.ok(promises.length > 20, `${promises.length} promises`);
    for (const promise of promises) {
      const tests = testsOf(promise);
      assert.ok(tests.length > 0 && tests.every(({ titles }) => titles.length > 0), promise);
    }
  });

  it('names tests that there are, by their titles', () => {
    const missing = promises.flatMap(testsOf).flatMap(({ file, titles }) => {
      const url = new URL(file, root);
      if (!existsSync(url)) return [file];
      const source = readFileSync(url, 'utf8');
      return titles.filter((title) => !hasTest(source, title)).map((title) => `${file}: ${title}`);
    });
    assert.deepEqual(missing, []);
  });
});
