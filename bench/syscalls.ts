// Counts the system calls of opening and closing a device, by thread, in C and here, with strace.
//
//   npm run bench:syscalls                            in the lab, its edu
//   node build-test/bench/syscalls.js [<device>] [--json]   a device of the lab by name, or by address
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAddress } from '../lib/locate/address.ts';
import { locateDevice } from '../lib/locate/find_cdev.ts';
import { devices } from '../test/support/devices.ts';
import { root } from '../test/support/root.ts';
import { positionals, showTables, type Table } from './table.ts';

const [name = 'edu'] = positionals();
const spec = devices.find((device) => device.name === name) ?? parseAddress(name);
const rounds = 15;

/** A system call of the trace, when it began. */
interface Call {
  thread: string;
  name: string;
  text: string;
}

const phases = ['open', 'close'] as const;

/** The calls of each phase of a round. */
type Phases = Record<(typeof phases)[number], Call[]>;

function trace(command: string[], input: string): Call[] {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-bench-'));
  const file = join(folder, 'trace');
  const { status, stderr, error } = spawnSync(
    'strace',
    ['-f', '-X', 'raw', '-o', file, ...command],
    { input },
  );
  if (error) throw error;
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr.toString()}`);
  const lines = readFileSync(file, 'utf8').split('\n');
  rmSync(folder, { recursive: true });
  return lines.flatMap((line) => {
    const [, thread = '', text = '', name = ''] = /^(\d+)\s+((\w+)\(.*)$/.exec(line) ?? [];
    return name === '' ? [] : [{ thread, name, text }];
  });
}

/** Whether it is an ioctl of VFIO or iommufd; this one, where a number is given. */
function isIoctl({ name, text }: Call, number = '..'): boolean {
  return name === 'ioctl' && new RegExp(`, 0x3b${number},`).test(text);
}

/** VFIO_DEVICE_ATTACH_IOMMUFD_PT */
const attach = '77';

/** C works between reading how often and writing the times, and opens until it has attached. */
function roundsOfC(calls: Call[]): Phases[] {
  const found: Phases[] = [];
  let phase: keyof Phases | undefined;
  for (const call of calls) {
    if (call.text.startsWith('read(0,')) {
      found.push({ open: [], close: [] });
      phase = 'open';
    } else if (/^(newfstatat|write)\(1,/.test(call.text)) phase = undefined;
    else if (phase) found.at(-1)?.[phase].push(call);
    if (isIoctl(call, attach)) phase = 'close';
  }
  return found.filter(({ close }) => close.length > 0);
}

/** Here, marks part the phases. */
function roundsOfNode(calls: Call[]): Phases[] {
  const found: Phases[] = [];
  let phase: keyof Phases | undefined;
  for (const call of calls) {
    const mark = /"\/mark-(\w+)"/.exec(call.text)?.[1];
    if (mark === 'begin') found.push({ open: [], close: [] });
    if (mark === undefined) {
      if (phase) found.at(-1)?.[phase].push(call);
    } else phase = mark === 'begin' ? 'open' : mark === 'opened' ? 'close' : undefined;
  }
  return found;
}

const threads = ['main', 'addon', 'engine'] as const;

/** Whose a thread is. */
type Owner = (typeof threads)[number];

/** Threads of the addon are those that make its ioctls; the rest is V8's and libuv's. */
function ownersOf(calls: readonly Call[]): (call: Call) => Owner {
  const main = calls[0]?.thread;
  const addon = new Set(calls.filter((call) => isIoctl(call)).map(({ thread }) => thread));
  return ({ thread }) => (thread === main ? 'main' : addon.has(thread) ? 'addon' : 'engine');
}

interface Way {
  name: string;
  calls: Call[];
  rounds: Phases[];
}

/** The round with the fewest calls in this phase: others have some of the engine's own. */
function least({ rounds }: Way, phase: keyof Phases): Call[] {
  // The first rounds load what is loaded late; C makes one.
  const all = rounds.slice(rounds.length > 1 ? 3 : 0).map((round) => round[phase]);
  return all.toSorted((a, b) => a.length - b.length)[0] ?? [];
}

function countsTable(ways: readonly Way[]): Table {
  const rows = phases.flatMap((phase) =>
    ways.map((way) => {
      const calls = least(way, phase);
      const ownerOf = ownersOf(way.calls);
      const counts = threads.map((owner) => calls.filter((call) => ownerOf(call) === owner).length);
      const c = least(ways[0] ?? way, phase).length;
      const more = calls.length - c;
      return [`${phase}, ${way.name}`, ...counts.map(String), String(calls.length), `${more}`];
    }),
  );
  return { name: 'syscalls', header: ['', ...threads, 'all', 'more than C'], rows };
}

function namesTable(ways: readonly Way[]): Table {
  const counted = phases.flatMap((phase) =>
    ways.map((way) => {
      const counts = new Map<string, number>();
      for (const { name } of least(way, phase)) counts.set(name, (counts.get(name) ?? 0) + 1);
      return { title: `${phase}, ${way.name}`, counts };
    }),
  );
  const names = [...new Set(counted.flatMap(({ counts }) => [...counts.keys()]))];
  const rows = names.map((name) => [
    name,
    ...counted.map(({ counts }) => String(counts.get(name) ?? '')),
  ]);
  const header = ['', ...counted.map(({ title }) => title)];
  return { name: 'syscalls-names', header, rows };
}

function inC(): Way {
  const program = new URL('build-baseline/open', root).pathname;
  const { sysfsPath } = locateDevice(spec);
  const calls = trace([program, 'cdev', sysfsPath], '1\n');
  return { name: 'C', calls, rounds: roundsOfC(calls) };
}

function here(form: string): Way {
  const program = new URL('build-test/bench/syscalls_program.js', root).pathname;
  const calls = trace([process.execPath, program, form, spec.address, String(rounds)], '');
  return { name: form, calls, rounds: roundsOfNode(calls) };
}

const ways = [inC(), here('sync'), here('async')];
showTables(`system calls of opening and closing ${spec.address}`, [
  countsTable(ways),
  namesTable(ways),
]);
if (process.argv.includes('--calls')) {
  for (const way of ways) {
    for (const phase of phases) {
      console.log(`\n${phase}, ${way.name}`);
      for (const { thread, text } of least(way, phase)) console.log(`${thread} ${text}`);
    }
  }
}
