import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { consoleTail, lastLines } from '../../lab/console-log.ts';
import { Heartbeats, watchForStall } from '../../lab/stall.ts';
import { tree } from '../support/tree.ts';

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

describe('a guest that hangs', () => {
  const told =
    "[  876.804830] rcu: rcu_preempt kthread timer wakeup didn't happen for 5251 jiffies! g108181 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x402\n";

  it('is told by the second stall of its kernel, in whatever pieces that comes', async () => {
    const log = join(tree({}), 'console.log');
    let failed = false;
    const watching = assert
      .rejects(
        watchForStall(log, new AbortController().signal, 1),
        /lost its timer, and the guest hung/,
      )
      .then(() => (failed = true));
    // It looks each millisecond; where a busy machine keeps it from that, it has not failed either.
    const looks = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));
    await looks();
    appendFileSync(log, `a line\n${told}${told.slice(0, 50)}`);
    await looks();
    assert.equal(failed, false);
    appendFileSync(log, told.slice(50));
    await watching;
  });

  it('is told by the processor that is heard no more', async () => {
    const beats = new Heartbeats(120);
    const living = setInterval(() => {
      beats.heard('0');
    }, 1);
    beats.heard('1');
    await assert.rejects(beats.watch(new AbortController().signal, 5), /processor 1 does nothing/);
    clearInterval(living);
  });

  it('is not looked for when the command has ended', async () => {
    const over = new AbortController();
    const watching = watchForStall('/nowhere/console.log', over.signal);
    const listening = new Heartbeats(120).watch(over.signal);
    over.abort();
    await assert.rejects(watching, { name: 'AbortError' });
    await assert.rejects(listening, { name: 'AbortError' });
  });
});
