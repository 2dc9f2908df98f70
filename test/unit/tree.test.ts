import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'mocha';

const root = new URL('../..', import.meta.url);

describe('the folders of tests', () => {
  const folder = mkdtempSync(new URL('test/unit/.tmp-', root).pathname);
  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('are gone after the tests, also those of the second file that a process of mocha’s runs', () => {
    const temporary = join(folder, 'temporary');
    mkdirSync(temporary);
    // Two processes for three files: one of them runs two.
    const files = ['one', 'two', 'three'].map((name) => {
      const file = join(folder, `${name}.test.ts`);
      const body = `it('makes one', () => { console.log('made', tree({ name: '${name}' })); });`;
      const support = new URL('test/support/tree.ts', root).href;
      const imports = `import { it } from 'mocha'; import { tree } from '${support}';`;
      writeFileSync(file, `${imports}\n${body}\n`);
      return file;
    });
    const mocha = new URL('node_modules/mocha/bin/mocha.js', root).pathname;
    const flags = ['--no-config', '--require', './test/support/tree.ts', '--import=tsx'];
    const { stdout } = spawnSync(
      process.execPath,
      [mocha, ...flags, '--parallel', '--jobs', '2', ...files],
      { cwd: root, encoding: 'utf8', env: { ...process.env, TMPDIR: temporary } },
    );
    assert.equal(stdout.split('made').length, 4, stdout);
    assert.deepEqual(
      readdirSync(temporary).filter((name) => name.startsWith('vfio-test-')),
      [],
    );
  }).timeout(60_000);
});
