import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';

import { LabError } from './failure.ts';
import { note } from './progress.ts';

type Holder = ChildProcessByStdio<Writable, Readable, null>;

/**
 * Runs `work` while this process alone holds the lock on `file`. The lock is flock(2)'s and belongs
 * to a child that ends when its stdin does, so the kernel gives it up whichever way we die.
 */
export async function withLock<T>(file: string, work: () => Promise<T>): Promise<T> {
  let holder = await take(file, ['--nonblock']);
  if (!holder) {
    note('another lab is filling the cache; waiting for it');
    holder = await take(file, []);
  }
  if (!holder) throw new LabError(`cannot lock ${file}`);
  try {
    return await work();
  } finally {
    holder.stdin.end();
    if (holder.exitCode === null && holder.signalCode === null) await once(holder, 'exit');
  }
}

async function take(file: string, flags: readonly string[]): Promise<Holder | undefined> {
  const holder = spawn(
    'flock',
    [...flags, '--exclusive', file, 'sh', '-c', 'echo held; exec cat'],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      // Ctrl-C goes to the whole foreground group; the lock must outlive our own tidying up.
      detached: true,
    },
  );
  const [first] = (await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')])) as [
    unknown,
  ];
  return Buffer.isBuffer(first) ? holder : undefined;
}
