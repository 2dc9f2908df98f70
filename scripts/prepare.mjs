// npm runs this after `npm ci` in a checkout and before packing: it builds the addon and dist/.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

if (process.platform !== 'linux') {
  console.warn('vfio: the addon is for Linux only; building the JavaScript alone');
}
const builds = process.platform === 'linux' ? ['build:native', 'build:ts'] : ['build:ts'];
const statuses = await Promise.all(builds.map(run));
process.exitCode = statuses.find((status) => status !== 0) ?? 0;

async function run(script) {
  const child = spawn('npm', ['run', '--silent', script], { stdio: 'inherit' });
  const [status] = await once(child, 'exit');
  return status ?? 1;
}
