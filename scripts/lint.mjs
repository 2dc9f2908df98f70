// npm run lint: every check of both languages, at once; what each says is printed when it ends.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const checks = [
  'lint:format',
  'lint:types',
  'lint:code',
  'lint:imports',
  'lint:unused',
  'lint:native',
  'lint:docs',
];
const statuses = await Promise.all(checks.map(run));
process.exitCode = statuses.find((status) => status !== 0) ?? 0;

async function run(check) {
  const child = spawn('npm', ['run', '--silent', check], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text));
  const [status] = await once(child, 'close');
  console.log(`${check}: ${status === 0 ? 'passed' : 'failed'}`);
  if (status !== 0) console.log(said);
  return status ?? 1;
}
