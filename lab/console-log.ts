import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

const KEPT = 20;
const SHOWN_LINES = 40;
/** Where the trouble begins, if the kernel had some: what follows are its registers and stack. */
const TROUBLE = /Kernel panic|Oops:|BUG: /;

/** Names a new file for a guest's kernel console and forgets the oldest ones. */
export async function newConsoleLog(cache: string): Promise<string> {
  const folder = join(cache, 'logs');
  await mkdir(folder, { recursive: true });
  // The names begin with the time, so they sort by age.
  const old = (await readdir(folder)).sort().slice(0, -KEPT);
  await Promise.all(old.map((name) => rm(join(folder, name), { force: true })));
  const time = new Date().toISOString().replaceAll(/[:.]/g, '-');
  return join(folder, `${time}-${process.pid}.log`);
}

/** The end of a console log, for a person who is told that something went wrong. */
export async function consoleTail(file: string): Promise<string> {
  const text = (await consoleText(file)).replaceAll('\r', '').trimEnd();
  const lines = text === '' ? ['(nothing was printed)'] : lastLines(text.split('\n'));
  return `the kernel console ended with:\n${lines.map((line) => `  ${line}`).join('\n')}\nall of it: ${file}`;
}

/** Nothing where QEMU has not made the file. */
export async function consoleText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** From the first trouble on, or the last lines. */
export function lastLines(lines: readonly string[]): readonly string[] {
  const trouble = lines.findIndex((line) => TROUBLE.test(line));
  if (trouble === -1) return lines.slice(-SHOWN_LINES);
  return lines.slice(trouble, trouble + SHOWN_LINES);
}
