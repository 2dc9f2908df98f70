// Times the way from the sysfs lookup to the closed descriptors, step by step, by every backend
// that the kernel has: the C program bench/baseline/open.c, its like in Python (cdev only), the
// blocking form and the promise form, some rounds each in turn.
//
//   npm run bench:open                                  in the lab, its edu
//   node build-test/bench/open.js [<device>] [--backend=…] [--rounds=N] [--svg=FILE] [--json]
//                                                  a device of the lab by name, or by address

import { writeFileSync } from 'node:fs';
import {
  type Backend,
  backends,
  backendText,
  forms,
  openAndClose,
  probe,
  type Round,
  Watches,
} from '../lib/cli/bench/paths.ts';
import { machineText, thisMachine } from '../lib/cli/bench/report.ts';
import {
  interleave,
  repeat,
  type Row,
  summary,
  timesOf,
  type Way,
} from '../lib/cli/bench/rounds.ts';
import { type Fill, openSvg } from '../lib/cli/bench/svg.ts';
import { parseAddress } from '../lib/locate/address.ts';
import { locateDevice } from '../lib/locate/find_cdev.ts';
import { devices } from '../test/support/devices.ts';
import { BaselineRounds } from './baseline.ts';
import { microseconds, option, positionals, ratio, showTables, type Table } from './table.ts';

interface NamedWay extends Way {
  backend: Backend;
  name: string;
  fill: Fill;
}

const [name = 'edu'] = positionals();
const known = devices.find((device) => device.name === name);
const spec = known ?? parseAddress(name);
const { sysfsPath } = locateDevice(spec);
const rounds = Number(option('rounds') ?? '200');
/** Rounds in a row before it is another's turn: in between, caches are somebody else's. */
const turn = Math.min(100, rounds);
using watches = new Watches();
const baselines: BaselineRounds[] = [];

function baseline(backend: Backend, name: string, fill: Fill, program: BaselineRounds): NamedWay {
  baselines.push(program);
  return { backend, name, fill, rounds: [], run: (count) => program.rounds(count) };
}

function ours(backend: Backend): NamedWay[] {
  return forms.map((form): NamedWay => {
    const run = (count: number): Promise<Round[]> =>
      repeat(count, () => openAndClose(backend, form, spec, watches));
    return { backend, name: form, fill: form === 'sync' ? 'solid' : 'hollow', rounds: [], run };
  });
}

const wanted = backends.filter((backend) => (option('backend') ?? backend) === backend);
const { found, missing } = await probe(wanted, [spec]);
const ways = [
  ...found.flatMap((backend) => [
    baseline(backend, 'C', 'hatched', BaselineRounds.inC('open', [backend, sysfsPath])),
    ...ours(backend),
  ]),
  ...(found.includes('cdev')
    ? [baseline('cdev', 'Python', 'dotted', BaselineRounds.inPython('open', [sysfsPath]))]
    : []),
];

// Until the engine has optimised everything: in the lab's emulated machine every new piece of
// machine code costs much more than it would elsewhere.
if (known?.kind === 'edu') {
  for (const backend of found) {
    await repeat(800, () => openAndClose(backend, 'sync', spec, watches));
  }
}

await interleave(ways, { warmUp: Math.min(100, rounds), rounds, turn });

for (const each of baselines) await each.end();

/** Medians of the steps by one backend, of C in µs, of the others as parts of C's. */
function stepsTable(backend: Backend): Table {
  const [c, ...others] = ways
    .filter((way) => way.backend === backend)
    .map((way) => ({ name: way.name, times: timesOf(way.rounds) }));
  const median = (times: Map<Row, number[]> | undefined, row: Row): number =>
    summary(times?.get(row) ?? []).median;
  const rows = [...(c?.times.keys() ?? [])].map((row) => {
    const base = median(c?.times, row);
    return [row, microseconds(base), ...others.map(({ times }) => ratio(median(times, row), base))];
  });
  const header = ['step', 'C, µs', ...others.map((way) => `${way.name} ÷ C`)];
  return { name: `open-${backend}`, header, rows };
}

/** The whole of each way against that of C by the same backend. */
function totalsTable(): Table {
  const totals = ways.map((way) => {
    const total = timesOf(way.rounds).get('total') ?? [];
    return { ...way, ...summary(total) };
  });
  const rows = totals.map(({ backend, name, median, p99, min }) => {
    const c = totals.find((way) => way.backend === backend && way.name === 'C');
    if (c === undefined) throw new Error(`nothing in C by ${backend}`);
    const ratios = [ratio(median, c.median), ratio(p99, c.p99), ratio(min, c.min)];
    return [`${backend} ${name}`, microseconds(median), ...ratios];
  });
  return { name: 'open-total', header: ['way', 'µs', 'median ÷ C', 'p99 ÷ C', 'min ÷ C'], rows };
}

const svg = option('svg');
const machine = thisMachine();

if (svg !== undefined) {
  const series = ways.map((way) => ({
    ...way,
    group: `${way.backend}: ${backendText[way.backend]}`,
  }));
  writeFileSync(svg, openSvg(machine, rounds, series));
}

const title = [
  `open to close of ${spec.address}, ${rounds} rounds of each way; ${machineText(machine)}`,
  ...missing.map(({ backend, why }) => `no ${backend}: ${why}`),
].join('\n');

showTables(title, [...found.map(stepsTable), totalsTable()]);
