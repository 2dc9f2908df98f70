// Runs the device tests in the lab, over every way to open a device. Where the lab itself fails, as QEMU
// 7.2 does now and then by a crash of its own, it is not a test that failed: they run once more.
import { spawn } from 'node:child_process';
import { Buffer } from 'node:buffer';
import { once } from 'node:events';

/** The lab's exit status where the VM died, or never came up. */
const labFailed = 125;

const noiommu = 'intel_iommu=off vfio.enable_unsafe_noiommu_mode=1';

/** Those of a row run side by side: what a lane prints is shown when it has ended. */
const rows = [
  [['cdev', ['--deadline', '1800', '--nvme', '2', 'npm', 'run', 'test:device']]],
  [
    ['group', [...byBackend('group'), 'npm', 'run', 'test:backend']],
    ['compat', [...byBackend('compat'), 'npm', 'run', 'test:backend']],
  ],
  [
    [
      'group, of the distribution’s kernel',
      ['--stock', ...byBackend('group'), 'npm', 'run', 'test:backend'],
    ],
    ['noiommu', ['--memory', '1024', '--append', noiommu, 'npm', 'run', 'test:noiommu']],
  ],
];

function byBackend(backend) {
  return ['--deadline', '1800', '--nvme', '2', '--env', `VFIO_TEST_BACKEND=${backend}`];
}

for (const row of rows) {
  const isAlone = row.length === 1;
  const statuses = await Promise.all(row.map(([name, args]) => lane(name, args, isAlone)));
  const failed = statuses.find((status) => status !== 0);
  if (failed !== undefined) process.exit(failed);
}

async function lane(name, args, isAlone) {
  let status = await run(name, args, isAlone);
  if (status === labFailed) {
    console.error(`test:device: the VM died (${name}), not a test; once more`);
    status = await run(name, args, isAlone);
  }
  return status;
}

async function run(name, args, isAlone) {
  const lab = ['run', '--silent', 'lab', '--', ...args];
  const stdio = isAlone ? 'inherit' : ['ignore', 'pipe', 'pipe'];
  const child = spawn('npm', lab, { stdio });
  const printed = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (text) => printed.push(text));
  const [status] = await once(child, 'close');
  if (!isAlone) process.stdout.write(`\n# ${name}\n${Buffer.concat(printed)}`);
  return status ?? 1;
}
