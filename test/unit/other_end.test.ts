import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { otherEndGone } from '../../lib/core/other_end.ts';
import { FdChannel } from '../../lib/index.ts';
import { openFds } from '../support/proc.ts';
import { tree } from '../support/tree.ts';

/** Both ends of a pipe. */
function pipe(): [reader: number, writer: number] {
  const path = join(tree({}), 'pipe');
  assert.equal(spawnSync('mkfifo', [path]).status, 0);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return [reader, openSync(path, constants.O_WRONLY)];
}

/** Not while the other end is there, whatever is written; then it is told. */
async function assertTold(number: number, use: () => void, close: () => void): Promise<void> {
  let isTold = false;
  const told = otherEndGone(number, new AbortController().signal).then(() => {
    isTold = true;
  });
  use();
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  assert.equal(isTold, false);
  close();
  await told;
}

describe('the other end of an output', () => {
  it('is told when it is gone: a pipe', async () => {
    const [reader, writer] = pipe();
    const use = (): void => {
      writeSync(writer, 'text');
      readSync(reader, new Uint8Array(4));
      writeSync(writer, 'unread');
    };
    await assertTold(writer, use, () => {
      closeSync(reader);
    });
    // Also where it was gone before.
    await otherEndGone(writer, new AbortController().signal);
    closeSync(writer);
  });

  it('is told when it is gone: a socket, also one to which something was sent', async () => {
    const [near, far] = FdChannel.pair();
    await assertTold(
      near.fd,
      () => void far.send(Uint8Array.of(1)),
      () => {
        far.closeSync();
      },
    );
    near.closeSync();
  });

  it('is not waited for any longer when it need not be', async () => {
    const [reader, writer] = pipe();
    const pipes = (): number => openFds().filter((target) => target.endsWith('/pipe')).length;
    const before = pipes();
    const enough = new AbortController();
    const waiting = otherEndGone(writer, enough.signal);
    enough.abort();
    await assert.rejects(waiting, { name: 'AbortError' });
    assert.equal(pipes(), before);
    closeSync(reader);
    closeSync(writer);
  });
});
