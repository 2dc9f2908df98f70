// Runs the benchmarks and writes their tables and pictures into docs/performance.md, each between
// the marks that name it.
//
//   npm run bench:docs [-- <benchmark> …]     all, or those; on a machine with nothing else to do
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { root } from '../test/support/root.ts';
import type { Table } from './table.ts';

interface Benchmark {
  /** Options of the lab; without them it runs on this machine. */
  lab?: string[];
  program: string[];
  env?: NodeJS.ProcessEnv;
}

const docs = new URL('docs', root).pathname;
const openSvg = `--svg=${docs}/open.svg`;

const benchmarks: Record<string, Benchmark> = {
  open: { lab: ['--results', docs], program: ['node', 'build-test/bench/open.js', openSvg] },
  path: { program: ['node', 'build-test/bench/path.js'] },
  syscalls: { lab: [], program: ['node', 'build-test/bench/syscalls.js'] },
  fleet: { lab: ['--nvme', '24'], program: ['node', 'build-test/bench/fleet.js'] },
  memory: {
    lab: ['--nvme', '24'],
    program: ['node', '--expose-gc', 'build-test/bench/memory.js'],
  },
  list: { program: ['node', 'build-test/bench/list.js'] },
  import: { program: ['node', '--import', 'tsx', 'bench/import.ts'] },
  install: { program: ['node', '--import', 'tsx', 'bench/install.ts'] },
  mmio: { program: ['node', 'build-test/bench/mmio.js'] },
  region: { lab: [], program: ['node', 'build-test/bench/region.js'] },
  nvme: { lab: ['--nvme', '2'], program: ['node', 'build-test/bench/nvme.js'] },
  'nvme-null': { program: ['node', 'build-test/bench/nvme_null.js'] },
  interrupt: { program: ['node', 'build-test/bench/interrupt.js'] },
  map: {
    program: ['node', 'build-test/bench/map.js'],
    env: { LD_PRELOAD: new URL('build-baseline/iommufd.so', root).pathname },
  },
  dma: { lab: ['--memory', '6144'], program: ['node', 'build-test/bench/dma.js'] },
  dirty: { lab: ['--kernel', '7.3'], program: ['node', 'build-test/bench/dirty.js'] },
};

function tablesOf({ lab, program, env }: Benchmark): Table[] {
  const command = [...program, '--json'];
  const inLab = ['npx', 'tsx', 'lab/main.ts', '--deadline', '1800', ...(lab ?? []), '--'];
  const [file = '', ...args] = lab === undefined ? command : [...inLab, ...command];
  const { status, stdout, error } = spawnSync(file, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${file} ${args.join(' ')}: exit status ${status}`);
  const line = stdout.trimEnd().split('\n').at(-1) ?? '';
  return (JSON.parse(line) as { tables: Table[] }).tables;
}

function markdown({ header, rows }: Table): string {
  const rule = header.map((_, at) => (at === 0 ? '---' : '---:'));
  return [header, rule, ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

/** The text with the table in the place that is marked for it. */
function placed(text: string, table: Table): string {
  const begin = `<!-- bench: ${table.name} -->`;
  const start = text.indexOf(begin);
  const end = text.indexOf('<!-- end -->', start);
  if (start < 0 || end < 0) throw new Error(`docs/performance.md has no place for ${table.name}`);
  return `${text.slice(0, start)}${begin}\n\n${markdown(table)}\n\n${text.slice(end)}`;
}

const wanted = process.argv.slice(2);
const file = `${docs}/performance.md`;
for (const [name, benchmark] of Object.entries(benchmarks)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`${name} …`);
  const tables = tablesOf(benchmark);
  writeFileSync(file, tables.reduce(placed, readFileSync(file, 'utf8')));
}
spawnSync('npx', ['prettier', '--write', file], { cwd: root });
