import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import {
  diagnose,
  diagnoseSync,
  type Finding,
  type FindingId,
  type FindingStatus,
} from '../../lib/index.ts';
import { smbus, withSiblingOnHost } from '../support/chip_set.ts';
import { vfio } from '../support/cli.ts';
import { describeLab, itEach } from '../support/devices.ts';
import { firstWords } from '../support/first_words.ts';
import { hasModule } from '../support/hotplug.ts';
import { withoutIommu } from '../support/iommu.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';

// What the kernel has is probed: these run on kernels with cdevs and without, with an IOMMU and
// without.

interface Report {
  vfio: string;
  node: string;
  kernel: string;
  findings: Finding[];
}

const main = new URL('dist/cli/main.js', root).pathname;
const nobody = 65534;

async function doctor(...args: string[]): Promise<{ status: number; findings: Finding[] }> {
  const { status, out, err } = await vfio(['doctor', ...args, '--json']);
  assert.equal(err, '');
  return { status, findings: (JSON.parse(out) as Report).findings };
}

/** As another process has it: a shell's limits, another user's rights. */
function doctorIn(command: string, uid: number, ...args: string[]): Report & { status: number } {
  const shell = ['-c', `${command} exec "$@"`, 'sh', process.execPath, main, 'doctor', ...args];
  const { status, stdout, stderr } = spawnSync('sh', [...shell, '--json'], {
    ...{ uid, gid: uid, encoding: 'utf8' },
  });
  assert.equal(stderr, '');
  return { status: status ?? -1, ...(JSON.parse(stdout) as Report) };
}

function the(findings: readonly Finding[], id: FindingId): Finding {
  return findings.find((finding) => finding.id === id) ?? assert.fail(`no finding ${id}`);
}

function those(findings: readonly Finding[], status: FindingStatus): string[] {
  return findings.filter((each) => each.status === status).map(({ id, what }) => `${id}: ${what}`);
}

function hasIommuGroup(address: string): boolean {
  return existsSync(`/sys/bus/pci/devices/${address}/iommu_group`);
}

describe('vfio doctor in the lab', () => {
  itEach('finds nothing bad', async ({ address, bus }) => {
    const { status, findings } = await doctor(address);
    assert.deepEqual([those(findings, 'bad'), status], [[], 0]);
    const confined = bus !== 'pci' || !withoutIommu;
    assert.equal(the(findings, 'iommu').status, withoutIommu ? 'warning' : 'ok');
    assert.equal(the(findings, 'group').status, confined ? 'ok' : 'warning');
    assert.equal(the(findings, 'device').status, 'ok');
    assert.equal(the(findings, 'driver').status, 'ok');
    assert.equal(the(findings, 'holders').status, 'ok', the(findings, 'holders').what);
    const nodes = findings.filter(({ id }) => id === 'cdev-node' || id === 'group-node');
    assert.ok(nodes.some(({ status: of }) => of === 'ok'));
    const mayBeOpened = findings.filter(({ id, subject }) => id === 'access' && subject.includes('vfio')); // prettier-ignore
    assert.ok(mayBeOpened.length > 0);
    assert.deepEqual(mayBeOpened.map((each) => each.status), mayBeOpened.map(() => 'ok')); // prettier-ignore
  });
});

describeLab('vfio doctor', ['edu', 'nvme0'], ({ edu, nvme0 }) => {
  it('is text without colours and with the versions at its head, where it is no terminal', () => {
    const { status, stdout } = spawnSync(process.execPath, [main, 'doctor'], { encoding: 'utf8' });
    assert.equal(status, 0);
    const [head] = stdout.split('\n');
    assert.match(head ?? '', /^vfio \d+\.\d+\.\d+, Node v\d+\.\S+, Linux \S+ x64$/);
    assert.doesNotMatch(stdout, /\u001b/); // eslint-disable-line no-control-regex
    assert.match(stdout, new RegExp(`^ {2}ok +devices .*${edu.address} \\(vfio-pci\\)`, 'm'));
  });

  it('is in colours on a terminal, unless NO_COLOR is set', () => {
    const onTerminal = (noColour: string): string => {
      const command = `'${process.execPath}' '${main}' doctor ${edu.address}`;
      const args = ['--quiet', '--return', '--command', command, '/dev/null'];
      const env = { ...process.env, TERM: 'xterm', NO_COLOR: noColour };
      const { status, stdout } = spawnSync('script', args, { env, encoding: 'utf8' });
      assert.equal(status, 0, stdout);
      return stdout;
    };
    assert.ok(onTerminal('').includes('\u001b[32mok     \u001b[39m  driver '));
    assert.doesNotMatch(onTerminal('1'), /\u001b/); // eslint-disable-line no-control-regex
  });

  it('says the same by the library, whose blocking form does not search for holders', async () => {
    const { findings } = await diagnose(edu);
    const blocking = diagnoseSync(edu).findings;
    const ids = ({ id, subject }: Finding): string => `${id} ${subject}`;
    assert.deepEqual(findings.map(ids), blocking.map(ids));
    assert.equal(the(blocking, 'holders').status, 'unknown');
  });

  it('ends with 1 where a device is absent, and with 2 where none is named', async () => {
    const { status, findings } = await doctor('0000:7f:1f.7');
    assert.deepEqual([status, the(findings, 'device').status], [1, 'bad']);
    assert.equal((await vfio(['doctor', 'frobnicate'])).status, 2);
  });

  it('names the process that has the device open', async () => {
    const before = await doctor(edu.address);
    const node = before.findings.find(
      ({ id, subject }) => id === 'access' && /vfio\/(?:devices\/|(?:noiommu-)?\d)/.test(subject),
    );
    const holder = spawn('sh', ['-c', 'exec 3<>"$1"; echo open; read line', 'sh', node?.subject ?? '']); // prettier-ignore
    try {
      await firstWords(holder.stdout);
      const { status, findings } = await doctor(edu.address);
      const held = the(findings, 'holders');
      assert.deepEqual([status, held.status], [0, 'warning']);
      assert.match(held.what, new RegExp(`process ${holder.pid} \\(sh\\)`));
      assert.match(held.mend ?? '', new RegExp(`ps -fp ${holder.pid}`));
      const all = the((await doctor()).findings, 'devices');
      const named = `${edu.address} \\(vfio-pci, open in process ${holder.pid} \\(sh\\)\\)`;
      assert.deepEqual([all.status, new RegExp(named).test(all.what)], ['ok', true], all.what);
    } finally {
      holder.kill('SIGKILL');
      await once(holder, 'close');
    }
    assert.equal(the((await doctor(edu.address)).findings, 'holders').status, 'ok');
  });

  it('says which rights a node has that another user may not open', () => {
    const { status, findings } = doctorIn('', nobody, edu.address);
    assert.equal(status, 1);
    const refused = findings.filter(({ id, status: of }) => id === 'access' && of === 'bad');
    assert.ok(refused.length > 0);
    const ofDevice = refused.find(({ subject }) => /vfio\/(?:devices|\d|noiommu)/.test(subject));
    assert.match(ofDevice?.what ?? '', /has the mode 0600 of user 0 .* process is user 65534/);
    assert.match(ofDevice?.mend ?? '', /udev/);
    assert.notEqual(the(findings, 'holders').status, 'ok');
  });

  it('says of a user that a folder on the way to a node shuts him out, and not that nothing is known', () => {
    const folder = '/dev/vfio';
    const { mode } = statSync(folder);
    chmodSync(folder, 0o700);
    try {
      const { status, findings } = doctorIn('', nobody, edu.address);
      assert.equal(status, 1);
      for (const id of ['container', 'group-node'] as const) {
        const found = the(findings, id);
        assert.equal(found.status, 'bad', found.what);
        assert.match(found.what, /may not reach .*: \/dev\/vfio has the mode 0700 of user 0/);
        assert.match(found.mend ?? '', /sudo chmod a\+x \/dev\/vfio;/);
      }
    } finally {
      chmodSync(folder, mode);
    }
  });

  it('says that little memory may be locked, unless a capability lifts that', () => {
    const small = the(doctorIn('ulimit -l 64;', nobody).findings, 'memlock');
    assert.deepEqual([small.status, small.what.includes('is 65536 bytes')], ['warning', true]);
    const root = the(doctorIn('ulimit -l 64;', 0).findings, 'memlock');
    assert.deepEqual([root.status, root.what.includes('CAP_IPC_LOCK lifts')], ['ok', true]);
  });

  it('says that another driver is laid down', async () => {
    const override = `/sys/bus/pci/devices/${nvme0.address}/driver_override`;
    writeFileSync(override, 'nvme\n');
    try {
      const { status, findings } = await doctor(nvme0.address);
      const { what, status: found } = the(findings, 'driver-override');
      assert.deepEqual([status, found], [0, 'warning']);
      assert.match(what, /it has vfio-pci, and only nvme/);
    } finally {
      writeFileSync(override, 'vfio-pci\n');
    }
  });

  it('says what a device without a driver lacks', async function () {
    if (existsSync(`/sys/bus/pci/devices/${smbus}/driver`)) skip(this, 'a kernel without i2c_i801');
    const { status, findings } = await doctor(smbus);
    const { what, mend } = the(findings, 'driver');
    assert.deepEqual([status, the(findings, 'driver').status], [1, 'bad']);
    assert.match(what, /has no driver/);
    if (hasIommuGroup(smbus)) assert.equal(mend, `sudo npx vfio bind ${smbus}`);
    else assert.notEqual(the(findings, 'group').status, 'ok');
  });

  it('says whose driver is in the way of a group', async function () {
    if (!hasModule('ahci')) skip(this, 'a kernel with the module ahci');
    if (!hasIommuGroup(smbus)) skip(this, 'an IOMMU');
    await withSiblingOnHost(async () => {
      const { status, findings } = await doctor(smbus);
      const { what, mend, status: found } = the(findings, 'group');
      assert.deepEqual([status, found], [1, 'bad']);
      assert.match(what, /0000:00:1f\.2 \(ahci: the host's driver/);
      assert.match(mend ?? '', /0000:00:1f\.2/);
      assert.equal(the(findings, 'driver').status, 'ok');
    });
  });
});
