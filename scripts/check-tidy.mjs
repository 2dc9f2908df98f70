// npm run check:tidy [-- file…]: clang-tidy, by .clang-tidy, over all of native/ or those files.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { requireCommands } from './commands.mjs';
import { runOrExit } from './run.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
requireCommands('check:tidy', { 'clang-tidy': 'clang-tidy', cmake: 'cmake', 'g++': 'g++' });
// For compile_commands.json alone: nothing is built.
runOrExit('cmake', ['--preset', 'tidy', '--log-level=ERROR']);

const asked = process.argv.slice(2);
const sources = readdirSync('native').filter((name) => name.endsWith('.cc'));
const files = asked.length > 0 ? asked : sources.map((name) => `native/${name}`);
const waiting = [...files];
const failed = [];
await Promise.all(Array.from({ length: availableParallelism() }, work));
console.log(`check:tidy: ${files.length} files, ${failed.length} with findings`);
process.exitCode = failed.length > 0 ? 1 : 0;

async function work() {
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    const options = ['--quiet', '-p', 'build-tidy', file];
    const child = spawn('clang-tidy', options, { stdio: ['ignore', 'pipe', 'ignore'] });
    let said = '';
    child.stdout.on('data', (text) => (said += text));
    const [status] = await once(child, 'close');
    if (status === 0) continue;
    failed.push(file);
    console.log(said);
  }
}
