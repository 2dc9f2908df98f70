import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { delimiter } from 'node:path';
import { text } from 'node:stream/consumers';

import { LabError } from './failure.ts';

export interface CommandOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Bytes for the command's stdin. */
  input?: string | Buffer;
}

/** Runs a command of the host and returns its stdout. What it printed is shown if it fails. */
export async function run(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const child = spawn(file, args, {
    cwd: options.cwd,
    // Messages are matched nowhere, but numbers and dates should not depend on the locale.
    env: { ...process.env, LC_ALL: 'C', PATH: searchPath().join(delimiter), ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const closed = once(child, 'close');
  child.stdin.on('error', () => {
    // A command that does not read its input to the end says so by its exit status.
  });
  child.stdin.end(options.input);
  try {
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
    if (child.exitCode !== 0) throw commandFailed(file, args, child, stdout + stderr);
    return stdout;
  } catch (error) {
    if (isMissing(error)) {
      throw new LabError(`${file} is not installed`, undefined, { cause: error });
    }
    throw error;
  }
}

function commandFailed(
  file: string,
  args: readonly string[],
  child: { exitCode: number | null; signalCode: NodeJS.Signals | null },
  output: string,
): LabError {
  const how = child.signalCode ?? `exit status ${child.exitCode ?? 'unknown'}`;
  const tail = output.trimEnd().split('\n').slice(-30).join('\n');
  return new LabError(`${[file, ...args].join(' ')}: ${how}\n${tail}`);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** A user's PATH often lacks the sbin folders, where modprobe and depmod are. */
export function searchPath(env: NodeJS.ProcessEnv = process.env): string[] {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return [...folders, '/usr/sbin', '/sbin'];
}
