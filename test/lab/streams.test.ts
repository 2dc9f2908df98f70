import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { after, describe, it } from 'mocha';

import { lab, qemuOf, startLab } from './vm.ts';
import { firstWords } from '../support/first_words.ts';

const folders: string[] = [];

function folderIn(parent: string, name = 'vfio-lab-test-'): string {
  const folder = mkdtempSync(join(parent, name));
  folders.push(folder);
  return folder;
}

after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

describe('the lab passes on', () => {
  it('every byte of stdin, stdout and stderr apart, and the exit status', async () => {
    const input = randomBytes(1 << 20);
    const { stdout, stderr, status } = await lab(
      // What stays behind must hold up nothing.
      ['--', 'sh', '-c', 'cat; printf "on stderr" >/dev/stderr; sleep 1000 & exit 7'],
      { input },
    );
    assert.equal(stderr, 'on stderr');
    assert(stdout.equals(input));
    assert.equal(status, 7);
  });

  it('a signal as 128 + its number, and says nothing of its own', async () => {
    const { stdout, stderr, status } = await lab(['sh', '-c', 'kill -9 $$']);
    assert.deepEqual([stdout.length, stderr, status], [0, '', 137]);
  });

  it('results, variables and words; what is written elsewhere is forgotten', async () => {
    const results = join(folderIn(tmpdir(), 'vfio lab,test-'), 'made by the lab');
    const elsewhere = folderIn(tmpdir());
    const script = `
      printf %s "$2" >"$VFIO_LAB_RESULTS/word" && printf %s "$A" >"$1/A" &&
      echo x >"${elsewhere}/x" && cat "${elsewhere}/x" && echo "$VFIO_LAB$UNSET" && date +%s`;
    const args = ['--results', results, '--env', "A=it's", 'sh', '-c', script];
    const { stdout, stderr, status } = await lab([...args, 'sh', results, '$HOME\n"']);
    assert.deepEqual([stderr, status], ['', 0]);
    const [x, variable, date] = stdout.toString().split('\n');
    assert.deepEqual([x, variable], ['x', '1']);
    assert(Math.abs(Number(date) - Date.now() / 1000) < 300, 'the clock');
    assert.equal(readFileSync(join(results, 'word'), 'utf8'), '$HOME\n"');
    assert.equal(readFileSync(join(results, 'A'), 'utf8'), "it's");
    assert(!existsSync(join(elsewhere, 'x')));
  });
});

describe('the lab runs in a checkout', () => {
  it('below /dev/shm, /run and /tmp, with spaces in its name', async () => {
    const checkouts = ['/dev/shm', '/run', '/tmp'].map((parent) => {
      const checkout = join(folderIn(parent), "a person's checkout");
      mkdirSync(checkout);
      writeFileSync(join(checkout, 'script.mjs'), 'console.log(process.cwd())');
      return checkout;
    });
    const [cwd = '', ...others] = checkouts;
    const script = `
      run() { node script.mjs && echo written >"new file" && cat "new file"; }
      run; for other; do cd "$other" && run; done`;
    const { stdout, stderr, status } = await lab(['sh', '-c', script, 'sh', ...others], { cwd });
    assert.deepEqual([stderr, status], ['', 0]);
    assert.equal(stdout.toString(), checkouts.map((one) => `${one}\nwritten\n`).join(''));
    assert(!checkouts.some((one) => existsSync(join(one, 'new file'))));
  });
});

describe('the lab ends', () => {
  it('at the deadline, and says where the kernel console is kept', async () => {
    const { stderr, status } = await lab(['--deadline', '4', 'sleep', '1000']);
    assert.equal(status, 124);
    assert.match(stderr, /deadline of 4 s/);
    const file = /all of it: (.*)/.exec(stderr)?.[1];
    assert(file !== undefined && existsSync(file));
  });

  it('when its kernel tells twice that a processor lost its timer, long before the command does', async () => {
    const stall = "<3>rcu: rcu_preempt kthread timer wakeup didn't happen for 5251 jiffies";
    const program = `echo "${stall}" >/dev/kmsg; echo "${stall}" >/dev/kmsg; sleep 1000`;
    const { stderr, status } = await lab(['sh', '-c', program]);
    assert.equal(status, 125);
    assert.match(stderr, /lost its timer, and the guest hung/);
  });

  it('when one of its processors does nothing any more, and its kernel says nothing', async () => {
    const program = 'pkill -STOP -P 1 -f "^sh -c while echo .alive.* 1$" && sleep 1000';
    const { stderr, status } = await lab(['--silence', '20', 'sh', '-c', program]);
    assert.equal(status, 125, stderr);
    assert.match(stderr, /processor 1 does nothing any more, and the guest hung/);
  });

  it('when its kernel panics, and shows how', async () => {
    const { stderr, status } = await lab(['sh', '-c', 'echo c >/proc/sysrq-trigger']);
    assert.equal(status, 125);
    assert.match(stderr, /the VM ended before the command did/);
    assert.match(stderr, /Kernel panic/);
  });

  it('not when its VM dies while it boots: it boots another', async function () {
    // Seen once in many runs: the second boot stood still, as the emulator's boots now and then do.
    this.retries(2);
    const child = startLab(['--deadline', '300', 'echo', 'booted']);
    assert(child.stdout && child.stderr);
    const told = text(child.stderr);
    const said = text(child.stdout);
    process.kill(await qemuOf(child), 'SIGKILL');
    assert.equal(await said, 'booted\n', await told);
  });

  it('at SIGTERM, without leaving QEMU behind', async () => {
    const child = startLab(['sh', '-c', 'echo ready; sleep 1000']);
    assert(child.stdout);
    await firstWords(child.stdout);
    const qemu = await qemuOf(child);
    child.kill('SIGTERM');
    const [status] = (await once(child, 'close')) as [number | null];
    assert.equal(status, 143);
    assert(!existsSync(`/proc/${qemu}`));
  });
});
