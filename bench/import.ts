// Times `import 'vfio'` as whole processes, beside a Node that does nothing, in turns.
//
//   npm run bench:import [-- rounds]
import { spawnSync } from 'node:child_process';
import { interleave, type Way } from '../lib/cli/bench/rounds.ts';
import { summary } from '../lib/cli/bench/statistics.ts';
import { root } from '../test/support/root.ts';
import { milliseconds, positionals, ratio, showTables } from './table.ts';

function wayOf(code: string): Way<number> {
  const args = ['--input-type=module', '-e', code];
  const run = (): number => {
    const start = process.hrtime.bigint();
    const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'ignore' });
    if (status !== 0) throw new Error(`node -e "${code}": exit status ${status}`);
    return Number(process.hrtime.bigint() - start);
  };
  return { run: (count) => Promise.resolve(Array.from({ length: count }, run)), rounds: [] };
}

const rounds = Number(positionals()[0] ?? 40);
const [nothing, vfio] = [wayOf('0'), wayOf("import 'vfio'")];
await interleave([nothing, vfio], { warmUp: 3, rounds, turn: 1 });
const base = summary(nothing.rounds).median;
const all = summary(vfio.rounds).median;
showTables(`importing, ${rounds} processes of each in turn, medians`, [
  {
    name: 'import',
    header: ['', 'ms', '÷ Node alone'],
    rows: [
      ['Node alone', milliseconds(base), '1.00'],
      ["and `import 'vfio'`", milliseconds(all), ratio(all, base)],
      ['what that adds', milliseconds(all - base), ratio(all - base, base)],
    ],
  },
]);
