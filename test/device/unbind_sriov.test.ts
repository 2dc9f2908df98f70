import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { after, afterEach, before, it } from 'mocha';
import { bindDriver, type Diagnosis, setVfs } from '../../lib/index.ts';
import { bashArgs } from '../support/bash.ts';
import { describeLab } from '../support/devices.ts';
import { firstWords } from '../support/first_words.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';

// Taking the physical function from vfio-pci removes its virtual functions, each of which waits until
// nobody has it open.

const main = new URL('dist/cli/main.js', root).pathname;

interface Run {
  status: number | null;
  out: string;
  err: string;
}

/** Those that were begun here: what hangs in the kernel is let go when the holder ends. */
const begun = new Set<ChildProcess>();

/** Runs `vfio`; fails where it does not end in a minute, as what waits for a lock does not. */
async function vfio(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  begun.add(child);
  const run: Run = { status: null, out: '', err: '' };
  child.stdout.on('data', (text: Buffer) => (run.out += text.toString()));
  child.stderr.on('data', (text: Buffer) => (run.err += text.toString()));
  const ended = once(child, 'close') as Promise<[number | null]>;
  const ending = await Promise.race([ended, setTimeout(45_000, undefined, { ref: false })]);
  assert.ok(ending, `vfio ${args.join(' ')} does not end`);
  begun.delete(child);
  return { ...run, status: ending[0] };
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await setTimeout(20);
}

describeLab('vfio unbind of a physical function', ['nvme-sriov'], (lab) => {
  const pf = lab['nvme-sriov'].address;
  const folder = `/sys/bus/pci/devices/${pf}`;
  let vf = '';
  let holder: ChildProcess | undefined;

  const isBound = (): boolean => existsSync(`${folder}/driver`);
  const state = (): string => readFileSync(`${folder}/uevent`, 'utf8');

  before(function () {
    this.timeout(120_000);
    if (!existsSync(`${folder}/vfio-dev`)) skip(this, 'cdevs');
    if (!readdirSync(`${folder}/vfio-dev`).some((name) => existsSync(`/dev/vfio/devices/${name}`)))
      skip(this, 'cdevs');
  });

  afterEach(async () => {
    await letGo();
    for (const child of begun) child.kill('SIGKILL');
    await until(() => isBound() || !/^DRIVER=/m.test(state()));
    await bindDriver(pf, { driver: 'vfio-pci', force: true });
    rmSync(`/run/vfio/bind/pci-${pf}.json`, { force: true });
  });
  after(() => {
    if (existsSync(`${folder}/virtfn0`)) writeFileSync(`${folder}/sriov_numvfs`, '0');
  });

  async function makeOne(): Promise<void> {
    const { after: made } = await setVfs(pf, 1);
    vf = made.vfs[0]?.address ?? '';
    await until(() => existsSync(`/sys/bus/pci/devices/${vf}/vfio-dev`));
  }

  /** Has it open, and does not listen to who wants it back; an unbound cdev takes no token. */
  async function hold(): Promise<number> {
    const [name = ''] = readdirSync(`/sys/bus/pci/devices/${vf}/vfio-dev`);
    const script = `exec 3<>/dev/vfio/devices/${name} && echo open && exec sleep 1000`;
    holder = spawn('bash', bashArgs(script), { stdio: ['ignore', 'pipe', 'inherit'] });
    assert.ok(holder.stdout);
    await firstWords(holder.stdout);
    return holder.pid ?? 0;
  }

  async function letGo(): Promise<void> {
    if (holder === undefined) return;
    const exit = once(holder, 'exit');
    holder.kill('SIGKILL');
    await exit;
    holder = undefined;
  }

  it('says which virtual functions go, where nobody has one', async () => {
    await makeOne();
    const rehearsed = await vfio('unbind', pf, '--dry-run');
    const note = `note: the virtual function of ${pf} goes with its driver: ${vf}`;
    assert.ok(rehearsed.err.includes(note), rehearsed.err);
    const refused = await vfio('bind', pf, '--driver', 'pci-stub');
    assert.equal(refused.status, 1);
    assert.match(refused.err, new RegExp(`sudo npx vfio sriov ${pf} --vfs 0`));
    const done = await vfio('unbind', pf);
    assert.deepEqual([done.status, done.err.includes(note)], [0, true], done.err);
    assert.ok(!existsSync(`/sys/bus/pci/devices/${vf}`));
  }).timeout(300_000);

  it('refuses, and waits by force, while somebody has one; meanwhile all that looks answers', async () => {
    await makeOne();
    const pid = await hold();
    const whom = new RegExp(
      `${pf}: its virtual function ${vf}: process ${pid} \\(sleep\\) has it open`,
    );
    const refused = await vfio('unbind', pf);
    assert.deepEqual([refused.status, refused.out], [1, '']);
    assert.match(refused.err, whom);
    assert.ok(isBound());
    const forced = await vfio('unbind', pf, '--force', '--timeout', '4000');
    assert.equal(forced.status, 1);
    const waits = `waits until ${pf}, or a virtual function of it \\(${vf}\\), is let go, by process ${pid} \\(sleep\\)`;
    assert.match(forced.err, new RegExp(waits));
    assert.match(
      forced.err,
      new RegExp(`sudo npx vfio unbind ${pf} mends it when the kernel is don`),
    );
    for (const args of [
      ['doctor', pf, '--json'],
      ['doctor', vf],
      ['list', '--all', '--json'],
      ['info', pf, '--no-open'],
      ['groups', '--json'],
      ['sriov', pf],
      ['unbind', pf, '--dry-run'],
      ['bind', pf, '--dry-run'],
    ]) {
      const { status, out, err } = await vfio(...args);
      assert.notEqual(out + err, '', args.join(' '));
      if (args[0] !== 'doctor' || args[1] !== pf) continue;
      assert.equal(status, 1, err);
      const { findings } = JSON.parse(out) as Diagnosis;
      const found = findings.find(({ id }) => id === 'holders');
      assert.match(
        found?.what ?? '',
        new RegExp(`process ${pid} \\(sleep\\); it is being taken from`),
      );
    }
    const second = await vfio('unbind', pf, '--force', '--timeout', '100');
    assert.equal(second.status, 1);
    assert.match(
      second.err,
      new RegExp(`which waits until it is let go, by process ${pid} \\(sleep\\)`),
    );
    await letGo();
    await until(() => !/^DRIVER=/m.test(state()));
    // Other tests have had it loaded.
    execFileSync('modprobe', ['-r', 'nvme']);
    // What was promised, though nothing was remembered.
    const mended = await vfio('unbind', pf);
    assert.equal(mended.status, 0, mended.err);
    assert.match(
      mended.err,
      /nothing is remembered of .*: the kernel looks for a driver of the host/,
    );
    assert.match(mended.err, /the module of its driver is not loaded; .*: sudo modprobe nvme/);
  }).timeout(600_000);
});
