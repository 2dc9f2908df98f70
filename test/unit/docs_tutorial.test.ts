import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { blocksIn } from '../support/papers.ts';
import { root } from '../support/root.ts';

/** What of the folder is in the package. */
const examples = ['examples/edu.ts', 'examples/models/edu.ts'];

describe('docs/tutorial.md', () => {
  it('has a program that runs the first one over its model, and prints what is there', () => {
    const blocks = blocksIn('docs/tutorial.md');
    const program = blocks.find(({ note }) => note?.kind === 'by')?.code ?? '';
    const printed = blocks.find(({ language }) => language === 'text')?.code;
    // Below the checkout, where its own name is the package.
    const folder = mkdtempSync(join(root.pathname, 'build-types/tutorial-'));
    try {
      for (const file of examples) cpSync(new URL(file, root), join(folder, file));
      writeFileSync(join(folder, 'over_model.ts'), program);
      const args = ['--import=tsx', join(folder, 'over_model.ts')];
      const { status, stdout, stderr } = spawnSync(process.execPath, args, {
        cwd: root.pathname,
        encoding: 'utf8',
      });
      assert.deepEqual([status, stdout, stderr], [0, printed, '']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
