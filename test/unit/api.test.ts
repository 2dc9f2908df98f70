import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

function reportAt(path: string): string {
  return readFileSync(new URL(path, root), 'utf8');
}

describe('the public types', () => {
  it('are the reviewed ones', () => {
    const now = reportAt('build-types/vfio.api.md');
    const reviewed = reportAt('test/api/vfio.api.md');
    assert.equal(now, reviewed, 'review the difference, and accept it with: npm run api:accept');
  });
});
