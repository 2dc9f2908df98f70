// Times `import 'vfio'` of the installed package as whole processes, beside a Node that does
// nothing, in turns.
//
//   npm run bench:import [-- --rounds=40 <path of another node> …]

import { execFileSync, spawnSync } from 'node:child_process';
import { interleave, summary, type Way } from '../lib/cli/bench/rounds.ts';
import { install, withTarball } from './installed.ts';
import { milliseconds, option, positionals, ratio, showTables } from './table.ts';

const rounds = Number(option('rounds') ?? 40);
const env = { ...process.env };

delete env['NODE_COMPILE_CACHE'];

function wayOf(node: string, cwd: string, code: string): Way<number> {
  const args = ['--input-type=module', '-e', code];
  const run = (): number => {
    const start = process.hrtime.bigint();
    const { status } = spawnSync(node, args, { cwd, env, stdio: 'ignore' });
    if (status !== 0) throw new Error(`node -e "${code}": exit status ${status}`);
    return Number(process.hrtime.bigint() - start);
  };
  return { run: (count) => Promise.resolve(Array.from({ length: count }, run)), rounds: [] };
}

async function rowOf(node: string, project: string): Promise<string[]> {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  const [nothing, vfio] = [wayOf(node, project, '0'), wayOf(node, project, "import 'vfio'")];
  await interleave([nothing, vfio], { warmUp: 3, rounds, turn: 1 });
  const base = summary(nothing.rounds).median;
  const all = summary(vfio.rounds).median;
  return [version, milliseconds(base), milliseconds(all), ratio(all - base, base)];
}

const rows: string[][] = [];

await withTarball(async (folder, tarball) => {
  const project = install(folder, tarball);
  for (const node of [process.execPath, ...positionals()]) rows.push(await rowOf(node, project));
});

showTables(`importing the installed package, ${rounds} processes of each in turn, medians`, [
  {
    name: 'import',
    header: ['Node', 'alone, ms', "and `import 'vfio'`, ms", 'what that adds ÷ alone'],
    rows,
  },
]);
