import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

export const CHECKOUT: string = join(import.meta.dirname, '../..');

export interface LabResult {
  stdout: Buffer;
  stderr: string;
  status: number | null;
}

export interface LabSettings {
  input?: Buffer;
  cwd?: string;
}

/** Starts the lab as `npm run lab` does, but in any folder. */
export function startLab(args: readonly string[], cwd: string = CHECKOUT): ChildProcess {
  const tsx = join(CHECKOUT, 'node_modules/.bin/tsx');
  return spawn(tsx, [join(CHECKOUT, 'lab/main.ts'), ...args], { cwd, stdio: 'pipe' });
}

export async function lab(
  args: readonly string[],
  { input, cwd }: LabSettings = {},
): Promise<LabResult> {
  const child = startLab(args, cwd);
  const { stdin, stdout, stderr } = child;
  if (!stdin || !stdout || !stderr) throw new Error('spawn made no pipes');
  stdin.end(input);
  const closed = once(child, 'close') as Promise<[number | null]>;
  const [out, error, [status]] = await Promise.all([buffer(stdout), buffer(stderr), closed]);
  return { stdout: out, stderr: error.toString(), status };
}
