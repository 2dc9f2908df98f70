import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { blocksOf } from '../support/readme.ts';
import { root } from '../support/root.ts';

describe('docs/tutorial.md', () => {
  const examples = ['edu', 'edu_interrupt'].map((name) =>
    readFileSync(new URL(`examples/${name}.ts`, root), 'utf8'),
  );

  it('shows what is in the examples, as it is there', () => {
    const blocks = blocksOf('docs/tutorial.md', 'ts');
    assert.ok(blocks.length > 0);
    for (const block of blocks) {
      assert.ok(
        examples.some((example) => `\n${example}`.includes(`\n${block}`)),
        `neither example has:\n${block}`,
      );
    }
  });
});
