// Run by main.ts, a process for each soak: runs the one that argv names, and prints its line.
import { soaks } from './all.ts';
import { leaks } from './leaks.ts';
import { runSoak } from './soak.ts';

const [name = '', rounds = '', leak = ''] = process.argv.slice(2);
const soak = soaks[name];
if (soak === undefined) throw new Error(`there is no soak ${name}`);

let said = performance.now();
const { seconds, gauges, seen, faults } = await runSoak(soak, {
  rounds: Number(rounds),
  leak: leaks[leak],
  onProgress(done) {
    if (performance.now() - said < 5000) return;
    said = performance.now();
    process.send?.(done);
  },
});
const came = Object.entries(seen).map(([what, count]) => `${what} ${count}`);
const verdict = faults.length === 0 ? 'flat' : 'NOT FLAT';
console.log(`${name}: ${rounds} rounds, ${seconds.toFixed(0)} s: ${gauges}: ${verdict}`);
if (came.length > 0) console.log(`  ${came.join(', ')}`);
for (const fault of faults) console.log(`  ${fault}`);
process.exit(faults.length === 0 ? 0 : 1);
