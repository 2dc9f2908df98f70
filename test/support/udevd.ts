import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';

/** The program; undefined where it is not installed. */
export const udevd: string | undefined = [
  '/lib/systemd/systemd-udevd',
  '/usr/lib/systemd/systemd-udevd',
].find((file) => existsSync(file));

/**
 * Runs the body while a udevd runs, with the rules that are there when it begins. It hears of no
 * event before it listens, and tells nobody when it does.
 */
export async function withUdevd(body: (daemon: ChildProcess) => Promise<void>): Promise<void> {
  if (udevd === undefined) throw new Error('udev is not installed');
  const daemon = spawn(udevd, [], { stdio: 'ignore' });
  const ended = once(daemon, 'exit');
  try {
    await body(daemon);
  } finally {
    daemon.kill();
    await ended;
  }
}
