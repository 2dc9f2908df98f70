import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { hintOf as cliHintOf } from '../../lib/cli/words.ts';
import { binding } from '../../lib/core/binding.ts';
import type { Roots } from '../../lib/core/location.ts';
import { findHolders } from '../../lib/diagnose/holders.ts';
import {
  Container,
  describeDevice,
  findCdev,
  identify,
  Iommufd,
  openCdev,
  openCdevSync,
  VfioDevice,
  type VfioError,
} from '../../lib/index.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeAddress, fakeNode, fakeVfio, putFile, putNode } from '../support/fake_vfio.ts';
import { put, tree } from '../support/tree.ts';

/** A sysfs that shows nothing: it is not there, or something empty is mounted over it. */
function withoutSysfs(how: 'absent' | 'empty'): Roots {
  const roots = fakeVfio();
  rmSync(roots.sysfsRoot, { recursive: true });
  if (how === 'empty') mkdirSync(roots.sysfsRoot);
  return roots;
}

/** It claims nothing of the device and the node, and says what it could not look at. */
function assertHidden(error: VfioError, path: string): void {
  assert.deepEqual([error.reason, error.facts], ['sysfs-absent', { path, code: 'ENOENT' }]);
  assert.ok(error.message.includes(path), error.message);
  assert.doesNotMatch(`${error.message} ${error.hint}`, /there is no|sudo rm|modprobe/);
}

describe('what cannot be looked at', () => {
  for (const how of ['absent', 'empty'] as const) {
    it(`is not said to be missing where sysfs is ${how}`, async () => {
      const roots = withoutSysfs(how);
      putNode(roots, fakeNode, '/dev/null');
      const node = `${roots.devRoot}/${fakeNode}`;
      const fd = openSync('/dev/null', 'r');
      const lookups = [
        () => findCdev(fakeAddress, roots),
        () => describeDevice(fakeAddress, roots),
        () => openCdev(fakeAddress, roots),
        () => VfioDevice.open(fakeAddress, roots),
        () => VfioDevice.openSync(fakeAddress, { ...roots, backend: 'group' }),
        () => findCdev(node, roots),
        () => findCdev(fd, roots),
        () => openCdevSync(node, roots),
      ];
      for (const look of lookups) {
        assertHidden(await vfioFailure(look, 'ERR_VFIO_NO_DEVICE'), roots.sysfsRoot);
      }
      assertHidden(await vfioFailure(() => Iommufd.open(roots), 'ENOENT'), roots.sysfsRoot);
      rmSync(join(roots.devRoot, 'vfio/vfio'));
      assertHidden(await vfioFailure(() => Container.open(roots), 'ENOENT'), roots.sysfsRoot);
      const unknown = await vfioFailure(() => identify(fd, roots), 'ERR_VFIO_NOT_VFIO');
      assert.match(unknown.message, /cannot be told: .* is not there, or is empty$/);
      closeSync(fd);
    });
  }

  it('is a bus that something is mounted over, and a device whose folder is hidden', async () => {
    const roots = fakeVfio();
    const bus = `${roots.sysfsRoot}/bus/pci`;
    rmSync(`${roots.sysfsRoot}/devices`, { recursive: true });
    const look = (): unknown => findCdev(fakeAddress, roots);
    assertHidden(await vfioFailure(look, 'ERR_VFIO_NO_DEVICE'), `${bus}/devices/${fakeAddress}`);
    rmSync(`${bus}/devices`, { recursive: true });
    assertHidden(await vfioFailure(look, 'ERR_VFIO_NO_DEVICE'), `${bus}/devices`);
    // A kernel without the bus has no folder of it.
    rmSync(bus, { recursive: true });
    put(roots.sysfsRoot, { 'bus/platform/uevent': '' });
    const error = await vfioFailure(look, 'ERR_VFIO_NO_DEVICE');
    assert.deepEqual([error.reason, error.certainty], ['no-device', 'certain']);
  });

  it('is a file of sysfs that may not be read', async () => {
    const EACCES = -13;
    const roots = fakeVfio();
    await withBinding({ listFolder: () => EACCES }, async () => {
      const error = await vfioFailure(() => findCdev(fakeAddress, roots), 'EACCES');
      assert.equal(error.reason, 'sysfs-absent');
      assert.match(error.hint ?? '', /^it is there, and this process may not look: ls -ld /);
      assert.match(cliHintOf(error) ?? '', /^it is there, and this process may not look/);
    });
  });

  it('is the folder of a group, and one of its devices', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    putNode(roots, 'iommu', '/dev/null');
    const group = 'kernel/iommu_groups/7';
    put(roots.sysfsRoot, {
      [`bus/pci/devices/${fakeAddress}/iommu_group`]: { pointsTo: `../../../${group}` },
      'module/iommufd/parameters/allow_unsafe_interrupts': 'N\n',
    });
    const members = `${roots.sysfsRoot}/bus/pci/devices/${fakeAddress}/iommu_group/devices`;
    const refuse = { bindSync: () => -1 };
    await withBinding(refuse, async () => {
      const open = (): unknown => VfioDevice.openSync(fakeAddress, roots);
      assertHidden(await vfioFailure(open, 'EPERM'), members);
      mkdirSync(join(roots.sysfsRoot, group, 'devices'), { recursive: true });
      symlinkSync('../hidden', join(roots.sysfsRoot, group, 'devices/0000:3b:00.1'));
      assertHidden(await vfioFailure(open, 'EPERM'), members);
    });
  });

  it('is the other processes, where /proc does not show them', async () => {
    const { listFolder } = binding();
    const soon = performance.now() + 10_000;
    const search = { numbers: ['1:7'], targets: [] };
    const own = String(process.pid);
    for (const names of [[own, 'self'], -2]) {
      const hiding = (path: string): string[] | number | undefined =>
        path === '/proc' ? names : listFolder(path);
      await withBinding({ listFolder: hiding }, async () => {
        assert.equal((await findHolders(search, undefined, soon)).searched, false);
      });
    }
    // As where /proc is mounted with hidepid=1.
    const findEntries = (folders: string[]): Promise<number[]> =>
      Promise.resolve(folders.map(() => -1));
    await withBinding({ findEntries }, async () => {
      const { hidden, holders } = await findHolders(search, undefined, soon);
      assert.ok(hidden > 0);
      assert.deepEqual(holders, []);
    });
  });
});

describe('a node that is not a device’s own', () => {
  const nodes = [
    ['iommu', 'iommu', Iommufd, 'the iommufd'],
    ['vfio/vfio', 'vfio', Container, 'the container'],
  ] as const;
  for (const [below, name, what, whose] of nodes) {
    it(`is proved, and named where it is something else: ${below}`, async () => {
      const roots = fakeVfio();
      const path = `${roots.devRoot}/${below}`;
      const open = async (): Promise<VfioError> =>
        vfioFailure(() => what.open(roots), 'ERR_VFIO_NODE_MISMATCH');
      const before = readdirSync('/proc/self/fd').length;
      rmSync(path, { force: true });
      putFile(roots, below);
      const file = await open();
      assert.deepEqual([file.path, file.reason], [path, 'stale-node']);
      assert.match(file.message, /is not a character device/);
      assert.doesNotMatch(file.hint ?? '', /sudo rm/);
      putNode(roots, below, '/dev/zero');
      put(roots.sysfsRoot, { [`class/misc/${name}/dev`]: '10:125\n' });
      const other = await open();
      assert.match(other.message, new RegExp(`sysfs says that ${whose} is 10:125, but .* 1:5`));
      assert.deepEqual(other.facts, { path, expected: '10:125', found: '1:5' });
      assert.equal(readdirSync('/proc/self/fd').length, before);
    });
  }

  it('is a container only where it speaks VFIO', async () => {
    const roots = fakeVfio();
    const error = await vfioFailure(() => Container.open(roots), 'ERR_VFIO_NODE_MISMATCH');
    assert.match(error.message, /is a character device, and no container of VFIO/);
  });

  it('is not there, and the kernel has it or not: the container', async () => {
    const roots = fakeVfio();
    rmSync(join(roots.devRoot, 'vfio/vfio'));
    const open = (): unknown => Container.open(roots);
    const missing = await vfioFailure(open, 'ENOENT');
    assert.deepEqual([missing.reason, missing.certainty], ['container-absent', 'likely']);
    assert.match(missing.hint ?? '', /modprobe vfio/);
    put(roots.sysfsRoot, { 'class/misc/vfio/dev': '10:196\n' });
    assert.equal((await vfioFailure(open, 'ENOENT')).reason, 'node-absent');
  });
});

describe('a device that is somewhere else', () => {
  it('is named where it is in another domain', async () => {
    const root = tree({
      'bus/pci/devices/10000:3b:00.0/subsystem': { pointsTo: '../../../../bus/pci' },
      'bus/pci/devices/0001:3b:00.0/subsystem': { pointsTo: '../../../../bus/pci' },
      'bus/pci/devices/0001:3b:00.1/subsystem': { pointsTo: '../../../../bus/pci' },
    });
    const look = (): unknown => findCdev('3b:00.0', { sysfsRoot: root });
    const error = await vfioFailure(look, 'ERR_VFIO_NO_DEVICE');
    const elsewhere = ['0001:3b:00.0', '10000:3b:00.0'];
    assert.deepEqual(error.facts, { bus: 'pci', address: '0000:3b:00.0', elsewhere });
    assert.match(error.message, /; there is 0001:3b:00\.0 and 10000:3b:00\.0$/);
  });

  it('is one of a group, where the group’s node was given', async () => {
    const roots = fakeVfio();
    put(roots.sysfsRoot, { 'kernel/iommu_groups/12/devices/0000:3b:00.0/x': '' });
    put(roots.sysfsRoot, { 'kernel/iommu_groups/12/devices/0000:3b:00.1/x': '' });
    const look = (): unknown => findCdev(`${roots.devRoot}/vfio/12`, roots);
    const error = await failure(look, 'ERR_INVALID_ARG_VALUE');
    assert.match(error.message, /vfio\/12 is the node of the IOMMU group 12/);
    assert.match(error.message, /0000:3b:00\.0, 0000:3b:00\.1/);
  });
});
