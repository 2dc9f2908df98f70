import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import { childrenOf } from '../support/proc.ts';
import { skip } from '../support/skip.ts';

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

/** Building Linux 7.3 takes minutes: its tests run where somebody has prepared it and says so. */
export function skipUnlessPrepared(context: Mocha.Context): void {
  if (process.env['VFIO_LAB_TEST_7_3'] === '1') return;
  skip(context, 'Linux 7.3: npm run lab -- --kernel 7.3 --prepare, then VFIO_LAB_TEST_7_3=1');
}

/** The process of QEMU that a started lab has, once it has one. */
export async function qemuOf({ pid }: ChildProcess): Promise<number> {
  for (;;) {
    const qemu = descendants(pid ?? 0).find((id) => programOf(id).includes('qemu'));
    if (qemu !== undefined) return qemu;
    await setTimeout(50);
  }
}

function descendants(id: number): number[] {
  const children = childrenOf(id);
  return [...children, ...children.flatMap(descendants)];
}

/** Nothing, of a process that ended meanwhile. */
function programOf(id: number): string {
  try {
    return readFileSync(`/proc/${id}/cmdline`, 'utf8').split('\0', 1)[0] ?? '';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ESRCH') throw error;
    return '';
  }
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
