// `npm run check:soak`: does things so often that whatever is left behind each time is seen.
// docs/reliability.md says what is looked at.
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { parseArgs } from 'node:util';
import { EXIT_LAB_FAILED } from '../../lab/failure.ts';
import { root } from '../support/root.ts';
import { soaks } from './all.ts';
import type { Soak } from './soak.ts';

const usage = `npm run check:soak -- [options] [soak...]
  --rounds N    instead of as many as are promised
  --quick       few rounds: all soaks in two minutes
  --kernel K    of the lab: 6.12 or 7.3
  --cpus N      of the lab's VM (2): of one, QEMU was not seen to lose a timer

${Object.entries(soaks)
  .map(([name, { what, rounds }]) => `  ${name.padEnd(14)}${rounds} × ${what}`)
  .join('\n')}`;

const options = {
  rounds: { type: 'string' },
  quick: { type: 'boolean' },
  kernel: { type: 'string' },
  cpus: { type: 'string' },
  // What to leave behind, to be found.
  leak: { type: 'string' },
  help: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parse>['values'];

const parse = () => parseArgs({ allowPositionals: true, options });

/**
 * V8 gives new objects from 1 to 16 MB when it sees fit, for each of two halves: as much as a leak. In MB.
 */
const youngHeap = ['--min-semi-space-size=1', '--max-semi-space-size=1'];

/** A soak that says nothing for so long hangs. */
const silence = 600_000;

/** How often a soak is begun whose VM dies, as QEMU 7.2 does now and then. */
const attempts = 3;

const isInLab = process.env['VFIO_LAB'] === '1';

const roundsOf = ({ rounds, quick }: Soak, values: Values): number =>
  values.rounds === undefined ? (values.quick ? quick : rounds) : Number(values.rounds);

/** The exit status; 1 where a signal ended it. */
async function ended(child: ChildProcess): Promise<number> {
  const [status, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return status ?? 128 + (signal ? constants.signals[signal] : 0);
}

async function runHere(name: string, rounds: number, leak = ''): Promise<boolean> {
  const isSource = import.meta.url.endsWith('.ts');
  const program = new URL(isSource ? 'one.ts' : 'one.js', import.meta.url);
  const loader = isSource ? ['--import', 'tsx'] : [];
  const child = fork(program, [name, String(rounds), leak], {
    execArgv: ['--expose-gc', ...youngHeap, ...loader],
  });
  const timer = setTimeout(() => {
    console.log(`${name}: nothing went on for ${silence / 1000} s`);
    child.kill('SIGKILL');
  }, silence);
  child.on('message', (done: number) => {
    timer.refresh();
    if (process.stderr.isTTY) process.stderr.write(`${name}: ${done} of ${rounds}\r`);
  });
  const status = await ended(child);
  clearTimeout(timer);
  if (status > 1) console.log(`${name}: it ended with status ${status}, and no verdict`);
  return status === 0;
}

/** In a VM, by what build:test has compiled. */
async function runInLab(names: readonly string[], values: Values): Promise<boolean> {
  const machine = [
    ...(values.kernel === undefined ? [] : ['--kernel', values.kernel]),
    ...(values.cpus === undefined ? [] : ['--cpus', values.cpus]),
  ];
  const own = [
    ...(values.rounds === undefined ? [] : ['--rounds', values.rounds]),
    ...(values.quick ? ['--quick'] : []),
    ...(values.leak === undefined ? [] : ['--leak', values.leak]),
  ];
  const lab = ['--import', 'tsx', 'lab/main.ts', '--deadline', '86400', ...machine, '--'];
  const command = ['node', 'build-test/test/soak/main.js', ...own, ...names];
  for (let left = attempts; ; left--) {
    const cwd = root.pathname;
    const child = spawn(process.execPath, [...lab, ...command], { cwd, stdio: 'inherit' });
    const status = await ended(child);
    if (status !== EXIT_LAB_FAILED || left === 1) return status === 0;
    console.log(`${names.join(', ')}: the VM died; once more`);
  }
}

/** Each in a VM of its own; the quick ones in one together, since a boot takes as long as they do. */
async function runAll(names: readonly string[], values: Values): Promise<boolean> {
  const isHere = (name: string): boolean => isInLab || soaks[name]?.where === 'machine';
  const verdicts: boolean[] = [];
  for (const name of names.filter(isHere)) {
    const soak = soaks[name];
    if (soak) verdicts.push(await runHere(name, roundsOf(soak, values), values.leak));
  }
  const inLab = names.filter((name) => !isHere(name));
  const vms = values.quick ? [inLab].filter(({ length }) => length > 0) : inLab.map((one) => [one]);
  for (const some of vms) verdicts.push(await runInLab(some, values));
  return verdicts.every(Boolean);
}

async function main(): Promise<number> {
  const { values, positionals } = parse();
  const names = positionals.length > 0 ? positionals : Object.keys(soaks);
  const unknown = names.find((name) => !(name in soaks));
  const count = Number(values.rounds ?? 10);
  // Below ten there is no tenth to warm up with.
  const isWrong = unknown !== undefined || !Number.isSafeInteger(count) || count < 10;
  if (values.help || isWrong) {
    if (unknown !== undefined) console.error(`there is no soak ${unknown}`);
    else if (isWrong) console.error('--rounds takes a whole number from 10 on');
    console.error(usage);
    return isWrong ? 2 : 0;
  }
  return (await runAll(names, values)) ? 0 : 1;
}

process.exitCode = await main();
