import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { after, afterEach, before, it } from 'mocha';
import { findCdev, listDevicesSync, VfioError } from '../../lib/index.ts';
import { findGroup } from '../../lib/locate/find_cdev.ts';
import { vfio } from '../support/cli.ts';
import { describeLab, type TestDevice } from '../support/devices.ts';
import { skip } from '../support/skip.ts';
import { udevd, withUdevd } from '../support/udevd.ts';
import { root } from '../support/root.ts';

// The rules under a real udevd. The lab's root is a layer in memory: what is written is forgotten.

const group = 'vfiolab';
const gid = 987;
/** A user in no group but the one that it is given. */
const nobody = 65534;

const isLab = process.env['VFIO_LAB'] === '1';

/** A node, and its device in sysfs, where an event of it can be asked for. */
interface Node {
  path: string;
  /** The kernel's name, which udev has for `%k`. */
  name: string;
  uevent: string;
}

function nodeAt(path: string, sysfs: string): Node {
  return { path, name: sysfs.split('/').at(-1) ?? '', uevent: `${sysfs}/uevent` };
}

/** The device's own node, where the kernel makes cdevs. */
function cdevOf(spec: TestDevice): Node | undefined {
  try {
    const { path, name } = findCdev(spec);
    return nodeAt(path, `/sys/class/vfio-dev/${name}`);
  } catch (error) {
    if (error instanceof VfioError && error.code === 'ERR_VFIO_NO_CDEV') return undefined;
    throw error;
  }
}

function groupOf(spec: TestDevice): Node {
  const { path, name } = findGroup(spec);
  return nodeAt(path, `/sys/class/vfio/${name}`);
}

function iommufd(): Node[] {
  const sysfs = '/sys/class/misc/iommu';
  return existsSync(sysfs) ? [nodeAt('/dev/iommu', sysfs)] : [];
}

function nodesOf(spec: TestDevice): Node[] {
  return [cdevOf(spec), groupOf(spec)].filter((node) => node !== undefined);
}

const rulesFolder = '/etc/udev/rules.d';
const rulesFile = `${rulesFolder}/70-vfio-${group}.rules`;
/** A rule of the tests, the last: its link says that udevd is done with a node. */
const markerFile = `${rulesFolder}/99-vfio-test.rules`;

let phase = 0;

/** Has udevd, started with the rules that are there now, go over these nodes. */
async function applyRules(nodes: readonly Node[]): Promise<void> {
  const link = `vfio-test-${++phase}`;
  const marked = ['vfio-dev', 'vfio', 'misc'].map(
    (subsystem) => `SUBSYSTEM=="${subsystem}", SYMLINK+="${link}-%k"\n`,
  );
  writeFileSync(markerFile, marked.join(''));
  try {
    await withUdevd(async (daemon) => {
      for (const { name, uevent } of nodes) {
        while (!existsSync(`/dev/${link}-${name}`)) {
          assert.equal(daemon.exitCode, null, 'udevd ended');
          writeFileSync(uevent, 'change');
          await delay(200);
        }
      }
    });
  } finally {
    rmSync(markerFile);
  }
}

function rightsOf({ path }: Node): string {
  const { mode, gid: owner } = statSync(path);
  return `${(mode & 0o777).toString(8)} ${owner}`;
}

const given = `660 ${gid}`;

/** How a member of the group fares, and by which nodes. */
function openAsMember(spec: TestDevice, backends: readonly string[]): string[] {
  const file = new URL('build-test/programs/way_opener.js', root).pathname;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [file, spec.bus, spec.address, ...backends],
    { uid: nobody, gid, encoding: 'utf8' },
  );
  assert.equal(status, 0, stderr);
  return stdout.trim().split('\n');
}

/** The ways that this kernel has. */
function waysOf(spec: TestDevice): string[] {
  return cdevOf(spec) ? ['cdev', 'group'] : ['group'];
}

function opened(spec: TestDevice): string[] {
  return waysOf(spec).map((way) => `opened by its ${way}`);
}

describeLab('udev rules', ['edu', 'testdev'], ({ edu, testdev }) => {
  const others = readdirSync(rulesFolder);
  let all: Node[];
  let rights: Map<string, Stats>;

  before(function () {
    if (!isLab) skip(this, 'the lab: npm run test:lab');
    if (udevd === undefined) skip(this, 'udev: apt-get install -y udev');
    appendFileSync('/etc/group', `${group}:x:${gid}:\n`);
    mkdirSync(rulesFolder, { recursive: true });
    all = [...nodesOf(edu), ...nodesOf(testdev), ...iommufd()];
    rights = new Map(all.map(({ path }) => [path, statSync(path)]));
  });
  afterEach(() => {
    rmSync(rulesFile, { force: true });
    for (const [path, { mode, uid, gid: owner }] of rights) {
      chownSync(path, uid, owner);
      chmodSync(path, mode & 0o777);
    }
  });
  after(() => {
    if (rights.size > 0) assert.deepEqual(readdirSync(rulesFolder), others);
  });

  async function install(...args: string[]): Promise<string> {
    const { status, out, err } = await vfio(['udev', '--group', group, '--install', ...args]);
    assert.deepEqual([status, err], [0, '']);
    assert.match(out, new RegExp(`^${rulesFile}: written\n`));
    return readFileSync(rulesFile, 'utf8');
  }

  it('are needed: without them a member of the group opens nothing', async () => {
    await applyRules(all);
    for (const node of nodesOf(edu)) assert.equal(rightsOf(node), '600 0');
    const answers = openAsMember(edu, waysOf(edu));
    for (const answer of answers) assert.match(answer, /^(?:cdev|group): EACCES \/dev\//);
  });

  it('give all devices to the group, whose members open them', async () => {
    await install();
    await applyRules(all);
    assert.deepEqual(
      all.map(rightsOf),
      all.map(() => given),
    );
    for (const spec of [edu, testdev])
      assert.deepEqual(openAsMember(spec, waysOf(spec)), opened(spec));
  });

  it('give a device that is named by its address, and no other', async () => {
    const text = await install(edu.address);
    assert.ok(text.includes(edu.address) && !text.includes(testdev.address));
    await applyRules(all);
    const mine = [...nodesOf(edu), ...iommufd()];
    assert.deepEqual(
      mine.map(rightsOf),
      mine.map(() => given),
    );
    for (const node of nodesOf(testdev)) assert.equal(rightsOf(node), '600 0');
    assert.deepEqual(openAsMember(edu, waysOf(edu)), opened(edu));
    for (const answer of openAsMember(testdev, waysOf(testdev))) assert.match(answer, /EACCES/);
  });

  it('give a device after it was bound anew, whatever its numbers are then', async () => {
    await install(edu.address);
    const driver = '/sys/bus/pci/drivers/vfio-pci';
    // The first number that is free is the one that was freed last but by another device.
    for (const { address } of [edu, testdev]) writeFileSync(`${driver}/unbind`, address);
    for (const { address } of [testdev, edu]) writeFileSync(`${driver}/bind`, address);
    const nodes = [...nodesOf(edu), ...nodesOf(testdev)];
    rights = new Map(
      [...nodes, ...iommufd()].map(({ path }) => [path, rights.get(path) ?? statSync(path)]),
    );
    await applyRules(nodes);
    for (const node of nodesOf(edu)) assert.equal(rightsOf(node), given);
    for (const node of nodesOf(testdev)) assert.equal(rightsOf(node), '600 0');
  });

  it('have the mode that is asked for', async () => {
    await install('--mode', '0664', edu.address);
    await applyRules(nodesOf(edu));
    for (const node of nodesOf(edu)) assert.equal(rightsOf(node), `664 ${gid}`);
  });

  it('are what udevadm verify takes, and the commands that are printed are udevadm’s', async function () {
    const env = { ...process.env, SYSTEMD_IGNORE_CHROOT: '1' };
    const udevadm = (...args: string[]): number | null =>
      spawnSync('udevadm', args, { env, stdio: 'ignore' }).status;
    // What is misspelt is refused before udevd, which does not run now, is asked.
    const { out } = await vfio(['udev', '--group', group, '--install']);
    const [, ...printed] = out.split('\n').filter((line) => line.startsWith('  udevadm '));
    assert.equal(printed.length, 2);
    for (const line of printed) {
      const args = line
        .trim()
        .split(' ')
        .slice(1)
        .filter((word) => word !== '--settle');
      assert.equal(udevadm(...args, '--dry-run'), 0, line);
    }
    if (udevadm('verify', '--help') !== 0) skip(this, 'udevadm verify: systemd 254');
    assert.equal(udevadm('verify', rulesFile), 0);
  });

  it('are refused for a bridge, with what is behind it', async () => {
    const { status, out, err } = await vfio(['udev', '0000:00:04.0', '--group', 'root']);
    assert.deepEqual([status, out], [1, '']);
    assert.match(err, /^vfio udev: 0000:00:04\.0 is a bridge or a port, which VFIO does not take/);
    assert.match(err, /^hint: name what is behind it: 0000:/m);
  });

  it('name devices of all buses that the lab has', async () => {
    const bound = listDevicesSync().filter(({ boundToVfio }) => boundToVfio);
    assert.ok(bound.length > 3);
    const text = await install(...bound.map(({ address }) => address));
    for (const { address } of bound) assert.ok(text.includes(`KERNELS=="${address}"`));
    const last = bound.at(-1);
    assert.ok(last);
    const spec: TestDevice = { name: 'last', kind: 'any', bus: last.bus, address: last.address };
    const nodes = nodesOf(spec);
    const before = nodes.map((node) => [node.path, statSync(node.path)] as const);
    for (const [path, stats] of before) rights.set(path, stats);
    await applyRules(nodes);
    for (const node of nodes) assert.equal(rightsOf(node), given);
  });
});
