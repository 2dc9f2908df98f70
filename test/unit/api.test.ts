import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

const reviewed = new URL('test/api.d.ts.txt', root);

/** index.d.ts and all that it reaches, each file after its name. */
function publicTypes(file = 'dist/index.d.ts', seen = new Set<string>()): string {
  if (seen.has(file)) return '';
  seen.add(file);
  const text = readFileSync(new URL(file, root), 'utf8').replace(/^\/\/# source.*\n?/m, '');
  const imports = [...text.matchAll(/from '(\.[^']+)\.ts'/g)].map(([, path]) => path ?? '');
  const reached = imports.map((path) => {
    const { pathname } = new URL(`${path}.d.ts`, new URL(file, 'file:///'));
    return publicTypes(pathname.slice(1), seen);
  });
  return [`// ---- ${file}\n`, text, ...reached].join('');
}

describe('the public types', () => {
  it('are the reviewed ones (accept a change with: npm run api:accept)', () => {
    const now = publicTypes();
    if (process.env['VFIO_ACCEPT_API'] === '1') writeFileSync(reviewed, now);
    assert.equal(now, existsSync(reviewed) ? readFileSync(reviewed, 'utf8') : '');
  });
});
