import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { consoleTail, lastLines } from '../../lab/console-log.ts';

const lines = (count: number): string[] => Array.from({ length: count }, (_, at) => `line ${at}`);

describe('the kernel console in an error', () => {
  it('is shown from the trouble on, however long the stack after it', () => {
    const panic = '[    4.4] Kernel panic - not syncing: sysrq triggered crash';
    const shown = lastLines([...lines(100), panic, ...lines(100)]);
    assert.equal(shown[0], panic);
    assert.equal(shown.length, 40);
  });

  it('is its end where there was none', () => {
    assert.deepEqual(lastLines(lines(100)), lines(100).slice(60));
    assert.deepEqual(lastLines(lines(3)), lines(3));
  });

  it('is told of a VM that ended before it had one', async () => {
    const file = '/nowhere/console.log';
    const said =
      'the kernel console ended with:\n  (nothing was printed)\nall of it: /nowhere/console.log';
    assert.equal(await consoleTail(file), said);
  });
});
