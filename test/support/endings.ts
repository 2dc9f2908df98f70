import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { bashArgs } from './bash.ts';
import type { CommandRun } from './command_runs.ts';
import { root } from './root.ts';

export interface Ended {
  status: number | null;
  out: string;
  err: string;
}

/** Descriptor 3 becomes a pipe that nobody reads any more. */
export const noReader =
  'd=$(mktemp -d); mkfifo $d/p; exec 4<>$d/p; exec 3>$d/p; exec 4>&-; rm -r $d;';

/** Runs a line of bash; its status is that of the first command of a pipe. */
export function bash(line: string): Ended {
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 1 << 24 } as const;
  const script = `${line}; exit \${PIPESTATUS[0]}`;
  const { status, stdout, stderr } = spawnSync('bash', bashArgs(script), options);
  return { status, out: stdout, err: stderr };
}

/** A command line of `vfio`, whose program is `main`. */
export function commandLine(main: string, name: string, { args, env = {} }: CommandRun): string {
  const variables = Object.entries(env).map(([variable, value]) => `${variable}='${value}'`);
  return [...variables, `'${process.execPath}'`, `'${main}'`, name, ...args].join(' ');
}

type Stream = 'out' | 'err';

/** How a stream can be spoiled, and whether what it was to get is lost with that. */
const spoilings: { name: string; redirect: (fd: number) => string; isLoss: boolean }[] = [
  { name: 'a full disk', redirect: (fd) => `${fd}>/dev/full`, isLoss: true },
  { name: 'no reader', redirect: (fd) => `${fd}>&3`, isLoss: false },
  // Node opens /dev/null in its place before the program begins, so nobody can tell.
  { name: 'closed', redirect: (fd) => `${fd}>&-`, isLoss: false },
];

const all: Stream[][] = [['out'], ['err'], ['out', 'err']];

/**
 * Runs a command line with each of its streams, and both, spoiled in each way, or only these. The other stream gets
 * what it gets otherwise; the status is the same too, but for what was lost on a full disk; and
 * nobody is shown a stack.
 */
export function assertEndings(command: string, spoiled: readonly Stream[][] = all): Ended {
  const usual = bash(command);
  assertNoStack(usual, command);
  for (const { name, redirect, isLoss } of spoilings) {
    for (const streams of spoiled) {
      const redirects = streams.map((stream) => redirect(stream === 'out' ? 1 : 2)).join(' ');
      const what = `${command}: ${streams.join(' and ')}: ${name}`;
      const ended = bash(`${noReader} ${command} ${redirects}`);
      const isLost = isLoss && streams.some((stream) => usual[stream] !== '');
      assert.equal(ended.status, usual.status === 0 && isLost ? 1 : usual.status, what);
      assertNoStack(ended, what);
      if (!streams.includes('out')) {
        assert.equal(withoutClock(ended.out), withoutClock(usual.out), what);
      }
      if (!streams.includes('err')) {
        const done = usual.status === 0 ? '; the command itself did not fail' : '';
        const lost = `vfio: the output was not written: ENOSPC: no space left on device, write${done}\n`;
        assert.equal(ended.err, isLost ? usual.err + lost : usual.err, what);
      }
    }
  }
  return usual;
}

/** `vfio top` prints at its head what time it is. */
function withoutClock(text: string): string {
  return text.replace(/^(vfio top +)\d\d:\d\d:\d\d/, '$1now');
}

function assertNoStack({ out, err, status }: Ended, what: string): void {
  assert.doesNotMatch(`${out}\n${err}`, /^\s+at .*:\d+:\d+\)?$|node:internal|^Node\.js v/m, what);
  // A signal's is 128 and more.
  assert.ok(status !== null && status < 126, what);
}
