import assert from 'node:assert/strict';
import { constants } from 'node:os';
import * as errno from '../../lib/core/errno.ts';

describe('core/errno.ts', () => {
  it('has the numbers of this platform, negative', () => {
    const known: Record<string, number> = constants.errno;
    const here = Object.fromEntries(
      Object.keys(errno).map((name) => [name, -(known[name] ?? NaN)]),
    );
    assert.deepEqual({ ...errno }, here);
  });
});
