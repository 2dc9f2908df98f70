import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { blocksOf } from '../support/readme.ts';
import { root } from '../support/root.ts';

describe('docs/testing.md', () => {
  it('has a driver and a test that pass as they are', () => {
    const [, driver = '', test = ''] = blocksOf('docs/testing.md', 'ts');
    assert.match(driver, /export async function sum/);
    // Below the checkout, where its own name is the package.
    const folder = mkdtempSync(join(root.pathname, 'build-types/docs-'));
    try {
      writeFileSync(join(folder, 'sum_driver.ts'), driver);
      writeFileSync(join(folder, 'sum_driver.test.ts'), test);
      const args = ['--import=tsx', '--test', join(folder, 'sum_driver.test.ts')];
      const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
      const { status, stdout } = spawnSync(process.execPath, args, {
        cwd: root.pathname,
        encoding: 'utf8',
        env,
      });
      assert.equal(status, 0, stdout);
      assert.match(stdout, /pass 3/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
