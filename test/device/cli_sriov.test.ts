import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { after, before, it } from 'mocha';
import {
  describeSriov,
  findCdev,
  type PhysicalFunction,
  setVfs,
  setVfsSync,
  VfioDevice,
} from '../../lib/index.ts';
import { findGroup } from '../../lib/locate/find_cdev.ts';
import { backend } from '../support/backend.ts';
import { bashArgs } from '../support/bash.ts';
import { vfio, type CliRun } from '../support/cli.ts';
import { describeLab } from '../support/devices.ts';
import { explainedFailure } from '../support/errors.ts';
import { firstWords } from '../support/first_words.ts';
import { root } from '../support/root.ts';

interface Report extends PhysicalFunction {
  dryRun?: boolean;
  steps?: { kind: string; text: string }[];
}

type Holder = ChildProcessByStdio<null, Readable, null>;

describeLab('vfio sriov', ['nvme-sriov', 'edu'], (lab) => {
  const pf = lab['nvme-sriov'].address;
  const folder = `/sys/bus/pci/devices/${pf}`;
  const parameter = '/sys/module/vfio_pci/parameters/enable_sriov';
  const count = (): string => readFileSync(`${folder}/sriov_numvfs`, 'utf8').trim();
  const autoprobe = (): string => readFileSync(`${folder}/sriov_drivers_autoprobe`, 'utf8').trim();

  const clear = (): void => {
    if (count() !== '0') writeFileSync(`${folder}/sriov_numvfs`, '0');
    writeFileSync(`${folder}/sriov_drivers_autoprobe`, '1');
  };
  before(clear);
  after(clear);

  async function done(...argv: string[]): Promise<string> {
    const { status, out, err } = await vfio(['sriov', pf, ...argv]);
    assert.deepEqual([status, err], [0, '']);
    return out;
  }

  async function report(...argv: string[]): Promise<Report> {
    return JSON.parse(await done(...argv, '--json')) as Report;
  }

  async function refused(...argv: string[]): Promise<CliRun> {
    const run = await vfio(['sriov', ...argv]);
    assert.equal(run.out, '');
    return run;
  }

  /** A process that has the device's node open until it is killed; that takes no token. */
  async function holderOf(vf: PhysicalFunction['vfs'][number] | undefined): Promise<Holder> {
    assert.ok(vf);
    const find = backend === 'cdev' ? findCdev : findGroup;
    const script = `exec 3<>${find(vf.address).path} && echo open && exec sleep infinity`;
    const child = spawn('bash', bashArgs(script), { stdio: ['ignore', 'pipe', 'inherit'] });
    await firstWords(child.stdout);
    return child;
  }

  async function end(child: Holder): Promise<void> {
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }

  it('goes from 0 to 4, 2 and 0, and sysfs says so', async () => {
    const none = await report();
    assert.deepEqual([none.address, none.numVfs, none.totalVfs, none.vfs], [pf, 0, 4, []]);
    assert.equal(none.driver, 'vfio-pci');
    const four = await report('--vfs', '4');
    assert.deepEqual([four.numVfs, four.vfs.length, count()], [4, 4, '4']);
    assert.deepEqual(
      four.steps?.map(({ kind, text }) => [kind, text]),
      [['make', '4']],
    );
    for (const [at, { index, address, iommuGroup }] of four.vfs.entries()) {
      assert.equal(index, at);
      assert.notEqual(address, pf);
      assert.notEqual(iommuGroup, null);
    }
    const text = await done('--vfs', '2');
    assert.equal(count(), '2');
    const [removed, made, heading] = text.split('\n');
    assert.equal(removed, `wrote 0 to ${folder}/sriov_numvfs: 4 virtual functions were removed`);
    assert.equal(made, `wrote 2 to ${folder}/sriov_numvfs: 2 virtual functions were made`);
    assert.equal(heading, pf);
    assert.match(text, /^ {2}VFs +2 of 4$/m);
    assert.match(
      await done('--vfs', '2'),
      new RegExp(`^${pf} has 2 virtual functions already$`, 'm'),
    );
    await done('--vfs', '0');
    assert.equal(count(), '0');
    assert.deepEqual((await report()).vfs, []);
  });

  it('says what it would do, and does nothing', async () => {
    await done('--vfs', '1');
    assert.equal(
      await done('--vfs', '3', '--no-probe', '--dry-run'),
      `would write 0 to ${folder}/sriov_numvfs: 1 virtual function would be removed
would write 0 to ${folder}/sriov_drivers_autoprobe: new ones are not offered to drivers
would write 3 to ${folder}/sriov_numvfs: 3 virtual functions would be made
`,
    );
    const { dryRun, steps, numVfs } = await report('--vfs', '3', '--dry-run');
    assert.deepEqual([dryRun, steps?.length, numVfs], [true, 2, 1]);
    assert.deepEqual([count(), autoprobe()], ['1', '1']);
    await done('--vfs', '0');
  });

  it('keeps new ones from drivers where that is asked for, until it is not', async () => {
    // vfio-pci has an override for its VFs: these are offered to it in any case.
    const kept = await report('--vfs', '1', '--no-probe');
    assert.deepEqual([kept.driversAutoprobe, autoprobe(), kept.vfs.length], [false, '0', 1]);
    const again = await report('--vfs', '1', '--probe');
    assert.deepEqual([again.driversAutoprobe, autoprobe(), count()], [true, '1', '1']);
    await done('--vfs', '0');
  });

  it('keeps those of a driver of the host without one, where that is asked for', async () => {
    const give = (driver: string): void => {
      writeFileSync(`${folder}/driver_override`, driver);
      writeFileSync(`${folder}/driver/unbind`, pf);
      writeFileSync('/sys/bus/pci/drivers_probe', pf);
    };
    const { status, stderr } = spawnSync('modprobe', ['nvme'], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    give('nvme');
    try {
      const { driver, vfs } = await report('--vfs', '2', '--no-probe');
      assert.equal(driver, 'nvme');
      assert.deepEqual(
        vfs.map((vf) => [vf.driver, vf.needs]),
        [
          [null, []],
          [null, []],
        ],
      );
      assert.match(await done(), /^ {2}new VFs +are not offered to the host's drivers/m);
      await done('--vfs', '0', '--probe');
    } finally {
      clear();
      give('vfio-pci');
      // It would take what other tests plug in.
      assert.equal(spawnSync('modprobe', ['-r', 'nvme']).status, 0);
    }
    assert.equal((await report()).driver, 'vfio-pci');
  });

  it('removes none that a program has open, and names the program', async () => {
    const { vfs } = await report('--vfs', '2');
    const held = vfs[1]?.address ?? '';
    const holder = await holderOf(vfs[1]);
    try {
      for (const wanted of ['0', '1']) {
        const { status, err } = await refused(pf, '--vfs', wanted);
        assert.equal(status, 1);
        assert.match(err, /^vfio sriov: nothing was changed: /);
        assert.match(err, new RegExp(`${held}: process ${holder.pid ?? 0} \\(.+\\) has it open`));
        assert.match(err, /^hint: end that use first.*\(vfio help vfs-in-use\)$/m);
      }
      const dry = await refused(pf, '--vfs', '0', '--dry-run');
      assert.equal(dry.status, 1);
      assert.match(await done(), new RegExp(`${held} .*process ${holder.pid ?? 0} `));
      await explainedFailure(() => setVfs(pf, 0), 'ERR_VFIO_IN_USE');
      await explainedFailure(() => setVfsSync(pf, 0), 'ERR_VFIO_IN_USE');
      assert.equal(count(), '2');
    } finally {
      await end(holder);
    }
    await done('--vfs', '0');
    assert.equal(count(), '0');
  });

  it('removes none while their physical function is open, and makes some then', async () => {
    await using device = await VfioDevice.open(pf, { backend });
    const { holding, vfs } = await report('--vfs', '2');
    assert.equal(vfs.length, 2);
    assert.deepEqual(
      holding.holders.map(({ pid }) => pid),
      [process.pid],
    );
    const { status, err } = await refused(pf, '--vfs', '0');
    assert.equal(status, 1);
    assert.match(err, new RegExp(`${pf}: this process has it open, and its virtual functions`));
    assert.equal(count(), '2');
    writeFileSync(`${folder}/sriov_numvfs`, '0');
    await device.close();
  });

  it('refuses more than there can be', async () => {
    const { status, err } = await refused(pf, '--vfs', '5');
    assert.equal(status, 2);
    assert.match(
      err,
      /^vfio sriov: --vfs must be an integer from 0 to 4, as many as .* can have, not 5$/m,
    );
    assert.equal(count(), '0');
  });

  it('refuses what is no physical function', async () => {
    const plain = await refused(lab.edu.address);
    assert.equal(plain.status, 1);
    assert.match(plain.err, /is no physical function of SR-IOV: the device has no SR-IOV/);
    const { vfs } = await report('--vfs', '1');
    const virtual = await refused(vfs[0]?.address ?? '', '--vfs', '1');
    assert.equal(virtual.status, 1);
    assert.match(virtual.err, new RegExp(`it is a virtual function of ${pf}\nhint: name the`));
    await done('--vfs', '0');
    const nowhere = await refused('ffff:ff:1f.7');
    assert.equal(nowhere.status, 1);
    assert.match(nowhere.err, /there is no device ffff:ff:1f\.7/);
  });

  it('says that vfio-pci was told to make none', async () => {
    writeFileSync(parameter, 'N');
    try {
      const error = await explainedFailure(() => setVfs(pf, 1), 'ENOENT');
      assert.deepEqual([error.reason, error.certainty], ['vfs-refused', 'certain']);
      assert.match(error.message, /enable_sriov is Y, and it is N$/);
      assert.match(error.hint ?? '', /echo Y \| sudo tee \/sys\/module\/vfio_pci/);
    } finally {
      writeFileSync(parameter, 'Y');
    }
    assert.equal((await setVfs(pf, 1)).after.numVfs, 1);
    assert.equal(setVfsSync(pf, 0).after.numVfs, 0);
  });

  it('tells a user who is not root that it is for root', () => {
    const main = fileURLToPath(new URL('dist/cli/main.js', root));
    const nobody = { uid: 65534, gid: 65534, encoding: 'utf8' } as const;
    const show = spawnSync(process.execPath, [main, 'sriov', pf], nobody);
    assert.equal(show.status, 0, show.stderr);
    const { status, stderr } = spawnSync(
      process.execPath,
      [main, 'sriov', pf, '--vfs', '1'],
      nobody,
    );
    assert.equal(status, 1);
    assert.match(
      stderr,
      /EACCES: .*sriov_numvfs'.*: this process may not write that file of sysfs/,
    );
    assert.equal(count(), '0');
  });

  it('shows what describeSriov says', async () => {
    await setVfs(pf, 3);
    assert.deepEqual(await report(), await describeSriov(pf));
    await setVfs(pf, 0);
  });
});
