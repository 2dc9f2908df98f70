import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

export interface Where {
  cwd: string;
  env?: NodeJS.ProcessEnv;
}

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

export async function run(file: string, args: readonly string[], where: Where): Promise<Ended> {
  const child = spawn(file, args, { ...where, stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = once(child, 'close') as Promise<[number | null]>;
  const [stdout, stderr, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    closed,
  ]);
  return { status, stdout, stderr };
}

/** What a program printed, which has to end well. */
export async function output(file: string, args: readonly string[], where: Where): Promise<string> {
  const { status, stdout, stderr } = await run(file, args, where);
  assert.equal(
    status,
    0,
    `${[file, ...args].join(' ')}: status ${status ?? 'none'}\n${stdout}${stderr}`,
  );
  return stdout;
}
