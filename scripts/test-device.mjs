// Runs the device tests in the lab. Where the lab itself fails, as QEMU 7.2 does now and then by a
// crash of its own, it is not a test that failed: they run once more.
import { spawnSync } from 'node:child_process';

/** The lab's exit status where the VM died, or never came up. */
const labFailed = 125;

let status = run();
if (status === labFailed) {
  console.error('test:device: the VM died, not a test; once more');
  status = run();
}
process.exit(status);

function run() {
  const lab = ['run', '--silent', 'lab', '--', '--nvme', '2', 'npm', 'run', 'test:device'];
  const { status, error } = spawnSync('npm', lab, { stdio: 'inherit' });
  if (error) throw error;
  return status ?? 1;
}
