import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

function reportAt(path: string): string {
  return readFileSync(new URL(path, root), 'utf8');
}

describe('the public types', () => {
  for (const [name, title] of [
    ['vfio', 'vfio'],
    ['testing', 'vfio/testing'],
  ] as const) {
    it(`of ${title} are the reviewed ones`, () => {
      const now = reportAt(`build-types/${name}.api.md`);
      const reviewed = reportAt(`test/api/${name}.api.md`);
      assert.equal(now, reviewed, 'review the difference, and accept it with: npm run api:accept');
    });
  }
});
