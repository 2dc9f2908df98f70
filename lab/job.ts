import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Job {
  command: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string>>;
  /** As guest/boot reads them; see deviceLines. */
  devices: string;
  modules: string;
  /** What ends each of the command's output streams. */
  mark: string;
  results?: string | undefined;
  terminal?: { rows: number; columns: number; separateStderr: boolean } | undefined;
}

/** Everything the guest's init runs: the job as shell assignments, then guest/boot. */
export async function jobScript(job: Job): Promise<string> {
  const boot = await readFile(join(import.meta.dirname, 'guest/boot'), 'utf8');
  return assignments(job) + boot;
}

export function assignments(job: Job): string {
  const { terminal } = job;
  const values = {
    LAB_COMMAND: commandScript(job),
    LAB_DEVICES: job.devices,
    LAB_MODULES: job.modules,
    LAB_MARK: job.mark,
    LAB_RESULTS: job.results ?? '',
    LAB_TTY: terminal ? '1' : '',
    LAB_ROWS: `${terminal?.rows ?? ''}`,
    LAB_COLUMNS: `${terminal?.columns ?? ''}`,
    LAB_STDERR: terminal?.separateStderr ? '1' : '',
  };
  return Object.entries(values)
    .map(([name, value]) => `${name}=${quoted(value)}\n`)
    .join('');
}

/** What the guest's /bin/sh runs. `exec` keeps the command's own exit status and signals. */
function commandScript(job: Job): string {
  const exports = Object.entries(job.env).map(([name, value]) => `export ${name}=${quoted(value)}`);
  const kernel = 'export VFIO_LAB_KERNEL="$(uname -r)"';
  const change = `cd ${quoted(job.cwd)} || exit 125`;
  return [...exports, kernel, change, `exec ${job.command.map(quoted).join(' ')}`].join('\n');
}

/** One word of a POSIX shell, whatever its bytes. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
