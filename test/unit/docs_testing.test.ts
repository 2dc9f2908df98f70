import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { blocksOf } from '../support/readme.ts';
import { root } from '../support/root.ts';

describe('docs/testing.md', () => {
  let folder: string;

  /** Runs Node there; answers what it wrote. */
  function run(...args: string[]): string {
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      cwd: folder,
      encoding: 'utf8',
      env,
    });
    assert.equal(status, 0, stdout + stderr);
    return stdout;
  }

  before(() => {
    const [, driver = '', test = ''] = blocksOf('docs/testing.md', 'ts');
    assert.match(driver, /export async function sum/);
    const [config = ''] = blocksOf('docs/testing.md', 'json');
    // Below the checkout, where its own name is the package.
    folder = mkdtempSync(join(root.pathname, 'build-types/docs-'));
    writeFileSync(join(folder, 'sum_driver.ts'), driver);
    writeFileSync(join(folder, 'sum_driver.test.ts'), test);
    writeFileSync(join(folder, 'tsconfig.json'), config);
  });

  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('has a driver and a test that pass as they are', () => {
    assert.match(run('--import=tsx', '--test', 'sum_driver.test.ts'), /pass 3/);
  });

  it('has options of the compiler with which they pass', () => {
    run(new URL('node_modules/typescript/bin/tsc', root).pathname);
    assert.match(run('--test', 'out/sum_driver.test.js'), /pass 3/);
  });
});
