import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'mocha';
import { systemError } from '../../lib/core/errors.ts';
import { run } from '../../lib/core/steps.ts';
import { explain } from '../../lib/diagnose/explain.ts';
import {
  describeDevice as factsOf,
  findCdev,
  Iommufd,
  openCdev,
  openCdevSync,
  VfioDevice,
  VfioError,
  type VfioFacts,
} from '../../lib/index.ts';
import { systemRoots } from '../../lib/locate/roots.ts';
import { sata, smbus, withBothOnVfio, withSiblingOnHost } from '../support/chip_set.ts';
import { describeLab, type TestDevice } from '../support/devices.ts';
import { explainedFailure, failure, searchedFailure } from '../support/errors.ts';
import { fakeVfio } from '../support/fake_vfio.ts';
import { firstWords } from '../support/first_words.ts';
import { hasModule } from '../support/hotplug.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';

const main = new URL('dist/cli/main.js', root).pathname;

/** A process that has opened the device, until it is killed. */
async function holder({ bus, address }: TestDevice): Promise<ChildProcess> {
  const file = new URL('build-test/programs/holder.js', root).pathname;
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  const child = spawn(process.execPath, [file, bus, address], { stdio: [...stdio] });
  assert.ok(child.stdout);
  await firstWords(child.stdout);
  return child;
}

describeLab('the reason why a device is held', ['edu'], ({ edu }) => {
  it('is this process, where it bound the device before', async () => {
    await using device = await VfioDevice.open(edu);
    const second = await searchedFailure(() => VfioDevice.open(edu), 'EINVAL');
    assert.deepEqual([second.reason, second.certainty], ['held-by-cdev', 'certain']);
    assert.match(second.message, /its cdev is bound already, by this process$/);
    assert.equal(second.path, device.path);
    await using cdev = await openCdev(edu);
    assert.equal((await searchedFailure(() => cdev.bind(), 'EINVAL')).certainty, 'certain');
    const blocking = await explainedFailure(() => VfioDevice.openSync(edu), 'EINVAL');
    assert.deepEqual(blocking.facts, { holders: [], hidden: 0, searched: false });
  });

  it('is another process, named; and one of several that have it open', async () => {
    const child = await holder(edu);
    try {
      const { facts, certainty } = await searchedFailure(() => VfioDevice.open(edu), 'EINVAL');
      const expected = [{ pid: child.pid, command: 'node' }];
      assert.deepEqual((facts as VfioFacts['held-by-cdev']).holders, expected);
      assert.equal(certainty, 'certain');
      await using _other = await openCdev(edu);
      const among = await searchedFailure(() => VfioDevice.open(edu), 'EINVAL');
      assert.equal((among.facts as VfioFacts['held-by-cdev']).holders.length, 2);
      assert.equal(among.certainty, 'likely');
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await (await VfioDevice.open(edu)).close();
  });

  it('is its legacy group, open somewhere', async () => {
    const { iommuGroup } = factsOf(edu);
    const group = openSync(`/dev/vfio/${iommuGroup}`, 'r+');
    try {
      const { reason, facts, certainty } = await searchedFailure(
        () => VfioDevice.open(edu),
        'EBUSY',
      );
      assert.deepEqual([reason, certainty], ['held-by-group', 'certain']);
      assert.equal((facts as VfioFacts['held-by-group']).group, iommuGroup);
      assert.equal((facts as VfioFacts['held-by-group']).holders[0]?.pid, process.pid);
    } finally {
      closeSync(group);
    }
  });

  it('is the bound cdev, where the legacy group is opened', async () => {
    await using _device = await VfioDevice.open(edu);
    const path = `/dev/vfio/${factsOf(edu).iommuGroup}`;
    const error = await failure(() => openSync(path, 'r+'), 'EBUSY');
    const { errno } = error as NodeJS.ErrnoException;
    const explained = await searchedFailure(async () => {
      const refused = systemError({ errno: errno ?? 0, syscall: 'open', path });
      throw await run(explain(refused, () => ({ roots: systemRoots })));
    }, 'EBUSY');
    assert.deepEqual([explained.reason, explained.certainty], ['held-by-cdev', 'certain']);
  });

  it('is a VfioDevice that was made of the cdev', async () => {
    await using cdev = await openCdev(edu);
    await using _device = await cdev.bind();
    assert.equal(
      (await explainedFailure(() => cdev.fd, 'ERR_VFIO_ALREADY_BOUND')).reason,
      'already-bound',
    );
  });
});

describeLab('the reason why a node does not open', ['edu'], ({ edu }) => {
  it('is its absence, its number, its mode', async () => {
    const { path, major, minor } = findCdev(edu);
    const kept = `${path}-kept`;
    renameSync(path, kept);
    try {
      const absent = await explainedFailure(() => openCdevSync(edu), 'ENOENT');
      assert.deepEqual(absent.facts, { path, numbers: `${major}:${minor}` });
      const unknown = minor + 1000;
      execFileSync('mknod', [path, 'c', String(major), String(unknown)]);
      const stale = await explainedFailure(() => openCdevSync(edu), 'ENXIO');
      const expected = `${major}:${minor}`;
      assert.deepEqual([stale.reason, stale.facts], ['stale-node', { path, expected, found: `${major}:${unknown}` }]); // prettier-ignore
    } finally {
      rmSync(path, { force: true });
      renameSync(kept, path);
    }
  });

  it('is its mode, for an ordinary user', () => {
    const report = asNobody(edu);
    const { uid, gid } = statSync(findCdev(edu).path);
    assert.equal(report.reason, 'no-permission');
    const { mode, owner, group, uid: user } = report.facts as VfioFacts['no-permission'];
    assert.deepEqual([mode, owner, group, user], ['0600', uid, gid, 65534]);
  });

  it('is a device cgroup', async function () {
    const hasDevices = /^devices\t/m.test(readFileSync('/proc/cgroups', 'utf8'));
    if (!hasDevices) skip(this, 'a kernel with device cgroups, version 1');
    const folder = join(mkdtempSync(join(tmpdir(), 'cgroup-')), 'devices');
    mkdirSync(folder);
    execFileSync('mount', ['-t', 'cgroup', '-o', 'devices', 'none', folder]);
    const { major, minor, path } = findCdev(edu);
    try {
      mkdirSync(join(folder, 'closed'));
      writeFileSync(join(folder, 'closed/devices.deny'), `c ${major}:${minor} rwm`);
      writeFileSync(join(folder, 'closed/cgroup.procs'), String(process.pid));
      const { reason, facts } = await explainedFailure(() => openCdevSync(edu), 'EPERM');
      assert.deepEqual([reason, facts], ['device-cgroup', { path, numbers: `${major}:${minor}` }]);
    } finally {
      leaveCgroup(folder);
    }
  });
});

function leaveCgroup(folder: string): void {
  writeFileSync(join(folder, 'cgroup.procs'), String(process.pid));
  if (existsSync(join(folder, 'closed'))) execFileSync('rmdir', [join(folder, 'closed')]);
  execFileSync('umount', [folder]);
}

/** What an ordinary user is told who opens the device. */
function asNobody({ address }: TestDevice): VfioError {
  const program = `
    const { openCdevSync } = await import(${JSON.stringify(new URL('build-test/programs/vfio.js', root).href)});
    try { openCdevSync(${JSON.stringify(address)}); } catch ({ reason, facts }) {
      console.log(JSON.stringify({ reason, facts }));
    }`;
  const args = ['--input-type=module', '-e', program];
  const text = execFileSync(process.execPath, args, { uid: 65534, gid: 65534, encoding: 'utf8' });
  return JSON.parse(text) as VfioError;
}

describeLab('the reason why a group is refused', ['edu'], () => {
  it('is a sibling on its host driver, until the hint is followed', async function () {
    if (!hasModule('ahci')) skip(this, 'a kernel with the module ahci');
    await withSiblingOnHost(async () => {
      const error = await explainedFailure(() => VfioDevice.open(smbus), 'EPERM');
      assert.deepEqual([error.reason, error.certainty], ['group-not-viable', 'certain']);
      const { members } = error.facts as VfioFacts['group-not-viable'];
      const blocking = members.filter(({ verdict }) => verdict === 'host-driver');
      assert.deepEqual(blocking, [{ bus: 'pci', address: sata, driver: 'ahci', verdict: 'host-driver' }]); // prettier-ignore
      assert.ok(members.length >= 2);
      const command = /sudo npx vfio (.*) \(/.exec(error.hint ?? '')?.[1] ?? '';
      execFileSync(process.execPath, [main, ...command.split(' ')]);
      await (await VfioDevice.open(smbus)).close();
      execFileSync(process.execPath, [main, 'unbind', sata]);
      await explainedFailure(() => VfioDevice.open(smbus), 'EPERM');
    });
  });

  it('is another iommufd that has a sibling', async () => {
    await withBothOnVfio(async () => {
      await using _first = await VfioDevice.open(smbus);
      const error = await searchedFailure(() => VfioDevice.open(sata), 'EPERM');
      assert.equal(error.reason, 'group-owned');
      assert.equal((error.facts as VfioFacts['group-owned']).holders[0]?.pid, process.pid);
      const blocking = await explainedFailure(() => VfioDevice.openSync(sata), 'EPERM');
      assert.equal(blocking.certainty, 'likely');
      await using iommufd = Iommufd.open();
      await _first.close();
      await using _one = await VfioDevice.open(smbus, { iommufd });
      await using _two = await VfioDevice.open(sata, { iommufd });
    });
  });
});

describeLab('the reason why there is no cdev', ['edu'], () => {
  it('is a device without an IOMMU group', async () => {
    const device = { bus: 'platform', address: 'serial8250' };
    const error = await explainedFailure(() => findCdev(device), 'ERR_VFIO_NOT_BOUND_TO_VFIO');
    assert.equal(error.reason, 'no-iommu-group');
    assert.ok(Number((error.facts as VfioFacts['no-iommu-group']).iommus) > 0);
  });

  it('is iommufd, which is installed and was not loaded', async function () {
    const isModule = existsSync('/sys/module/iommufd/initstate');
    if (!isModule) skip(this, 'a kernel with iommufd as a module');
    // This kernel has loaded it: only its sysfs and its nodes are another's.
    const error = await explainedFailure(() => Iommufd.open(fakeVfio()), 'ENOENT');
    assert.deepEqual([error.reason, error.certainty], ['iommufd-not-loaded', 'certain']);
  });

  it('is a driver of the host', async () => {
    const run = (): unknown => findCdev('0000:00:01.0');
    const error = await explainedFailure(run, 'ERR_VFIO_NOT_BOUND_TO_VFIO');
    assert.equal(error.reason, 'not-bound');
    assert.equal((error.facts as VfioFacts['not-bound']).driver, 'virtio-pci');
  });
});
