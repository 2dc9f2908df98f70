import assert from 'node:assert/strict';
import fs, { closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { release } from 'node:os';
import { describe, it } from 'mocha';
import { type Binding, binding } from '../../lib/core/binding.ts';
import { EBUSY, ENOENT, EPERM } from '../../lib/core/errno.ts';
import { systemError, VfioError } from '../../lib/core/errors.ts';
import type { Roots } from '../../lib/core/location.ts';
import type { VfioFacts } from '../../lib/core/reasons.ts';
import {
  Container,
  findCdev,
  identify,
  Iommufd,
  listDevices,
  listDevicesSync,
  VfioDevice,
} from '../../lib/index.ts';
import { run } from '../../lib/core/steps.ts';
import { explain } from '../../lib/diagnose/explain.ts';
import { searchedFailure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeAddress, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { type Entry, put } from '../support/tree.ts';

/** Runs `body` with one of Node's functions answering for some paths what `fake` does. */
async function withFs<T>(
  name: 'readFileSync' | 'readlinkSync',
  isMeant: (path: string) => boolean,
  fake: () => string,
  body: () => T | Promise<T>,
): Promise<T> {
  const real = fs[name] as (...args: unknown[]) => unknown;
  const replaced = (path: unknown, ...more: unknown[]): unknown =>
    isMeant(String(path)) ? fake() : real(path, ...more);
  Object.assign(fs, { [name]: replaced });
  try {
    return await body();
  } finally {
    Object.assign(fs, { [name]: real });
  }
}

function missing(): never {
  throw Object.assign(new Error('ENOENT'), { code: 'ENOENT', errno: ENOENT });
}

/** The list of the kernel's modules; undefined where there is none, as in a container. */
function withModules<T>(list: string | undefined, body: () => T): Promise<T> {
  const isList = (path: string): boolean => path === `/lib/modules/${release()}/modules.dep`;
  return withFs('readFileSync', isList, () => list ?? missing(), body);
}

const classes = ['class', 'class/misc'] as const;

/** Something empty is mounted over a folder, or it is not there. */
function hide({ sysfsRoot }: Roots, folder: string, how: 'absent' | 'empty'): void {
  rmSync(`${sysfsRoot}/${folder}`, { recursive: true, force: true });
  if (how === 'empty') mkdirSync(`${sysfsRoot}/${folder}`, { recursive: true });
}

function assertUnseen({ reason, facts, hint, message }: VfioError, path: string): void {
  assert.deepEqual([reason, facts], ['sysfs-absent', { path, code: 'ENOENT' }]);
  assert.doesNotMatch(`${message} ${hint}`, /modprobe|has no|stale/);
}

const loadable = 'kernel/drivers/iommu/iommufd/iommufd.ko.xz: kernel/lib/interval_tree.ko.xz\n';

describe('a node that is not there, or another, where the classes of sysfs are hidden', () => {
  for (const folder of classes) {
    for (const how of ['absent', 'empty'] as const) {
      it(`has the kernel say nothing of iommufd and containers: ${folder} is ${how}`, async () => {
        const roots = fakeVfio();
        rmSync(`${roots.devRoot}/vfio/vfio`);
        hide(roots, folder, how);
        const path = `${roots.sysfsRoot}/${folder}`;
        for (const open of [
          () => withModules(loadable, () => Iommufd.open(roots)),
          () => Container.open(roots),
        ]) {
          assertUnseen(await vfioFailure(open, 'ENOENT'), path);
        }
      });
    }
  }
});

describe('a refused bind, where what tells its cause is hidden', () => {
  const folder = 'kernel/iommu_groups/7';
  const sibling = `${folder}/devices/0000:3b:00.1`;
  const group: Record<string, Entry> = {
    [`bus/pci/devices/${fakeAddress}/iommu_group`]: { pointsTo: `../../../${folder}` },
    [`${folder}/devices/${fakeAddress}/vfio-dev/vfio7/dev`]: '1:3\n',
  };
  /** Everybody is looked at, and nobody has anything. */
  const nobody: Partial<Binding> = {
    findEntries: (folders) => Promise.resolve(folders.map(() => [])),
  };

  /** What is found out of EPERM of a request. */
  async function refused(request: string, files: Record<string, Entry>) {
    const roots = fakeVfio();
    put(roots.sysfsRoot, { ...group, ...files });
    const node = findCdev(fakeAddress, roots);
    const error = systemError({ errno: EPERM, syscall: 'ioctl', request });
    const subject = { roots, node, device: node.device };
    const told = await withBinding(nobody, () => run(explain(error, () => subject)));
    assert.ok(told instanceof VfioError);
    return { roots, told };
  }

  it('is the parameter itself, where nobody else is in the group', async () => {
    const { roots, told } = await refused('VFIO_DEVICE_BIND_IOMMUFD', {});
    const path = `${roots.sysfsRoot}/module/iommufd/parameters/allow_unsafe_interrupts`;
    assertUnseen(told, path);
  });

  it('is no other iommufd where the kernel makes no cdevs: a sibling has no numbers then', async () => {
    const { told } = await refused('VFIO_SET_IOMMU', {
      [`${sibling}/subsystem`]: { pointsTo: '../../../../bus/pci' },
      [`${sibling}/vfio-dev/vfio8/uevent`]: '',
      'module/vfio_iommu_type1/parameters/allow_unsafe_interrupts': 'N\n',
    });
    assert.deepEqual([told.reason, told.certainty], ['unsafe-interrupts', 'certain']);
  });

  /** The group's node answers EBUSY, and nobody has that open. */
  async function busyNode(
    files: Record<string, Entry>,
    isWhole?: (error: VfioError) => boolean,
  ): Promise<VfioError> {
    const roots = fakeVfio();
    const link = `bus/pci/devices/${fakeAddress}/iommu_group`;
    put(roots.sysfsRoot, {
      [link]: { pointsTo: `../../../${folder}` },
      'class/vfio/7/dev': '1:5\n',
    });
    put(roots.sysfsRoot, files);
    putNode(roots, 'vfio/7', '/dev/zero');
    const { open } = binding();
    const fakes: Partial<Binding> = {
      ...nobody,
      containerVersion: () => 0,
      open: (path, flags) => (path.endsWith('/vfio/7') ? EBUSY : open(path, flags)),
    };
    const opening = { ...roots, backend: 'group', timeout: 0 } as const;
    return withBinding(fakes, () =>
      searchedFailure(() => VfioDevice.open(fakeAddress, opening), 'EBUSY', isWhole),
    );
  }

  it('is held by nobody knows whom, where the devices of the group are hidden', async () => {
    for (const files of [{}, { [`${folder}/type`]: 'DMA\n' }]) {
      // Of the group's holders the search comes to its end; that of the cdevs’ holders cannot.
      const error = await busyNode(files, ({ reason }) => reason === 'held-by-cdev');
      assert.deepEqual([error.reason, error.certainty], ['held-by-cdev', 'likely']);
      assert.deepEqual(error.facts, { holders: [], hidden: 0, searched: false });
      assert.match(error.message, /is bound already$/);
    }
  });

  it('is held by a cdev only where the kernel makes any', async () => {
    const member = `${folder}/devices/${fakeAddress}`;
    const without = await busyNode({ [`${member}/vfio-dev/vfio7/uevent`]: '' });
    assert.equal(without.reason, 'held-by-group');
    const having = await busyNode({ [`${member}/vfio-dev/vfio7/dev`]: '1:7\n' });
    assert.deepEqual([having.reason, (having.facts as VfioFacts['held-by-cdev']).searched], ['held-by-cdev', true]); // prettier-ignore
  });
});

describe('identify', () => {
  it('has no path for a descriptor whose link is not to be seen', async () => {
    const fd = openSync('/proc/self/status', 'r');
    const isLink = (path: string): boolean => path.startsWith('/proc/');
    const { path } = await withFs('readlinkSync', isLink, missing, () =>
      vfioFailure(() => identify(fd), 'ERR_VFIO_NOT_VFIO'),
    );
    assert.equal(path, undefined);
    closeSync(fd);
  });

  it('claims nothing of a cdev whose device’s folder is hidden', async () => {
    const { sysfsRoot } = fakeVfio();
    rmSync(`${sysfsRoot}/devices`, { recursive: true });
    const fd = openSync('/dev/null', 'r');
    const { message } = await vfioFailure(() => identify(fd, { sysfsRoot }), 'ERR_VFIO_NOT_VFIO');
    assert.match(message, /cannot be told: \S+\/dev\/char\/1:3\/device does not exist$/);
    closeSync(fd);
  });
});

describe('what the host has of a device, where that is not to be seen', () => {
  const device = `devices/pci0000:3a/${fakeAddress}`;

  /** The error of a device with a driver of the host, and these files. */
  async function notBound(files: Record<string, Entry>): Promise<VfioError> {
    const roots = fakeVfio();
    rmSync(`${roots.sysfsRoot}/${device}/vfio-dev`, { recursive: true });
    put(roots.sysfsRoot, {
      [`${device}/driver`]: { pointsTo: '../../../bus/pci/drivers/host' },
      [`${device}/iommu_group`]: { pointsTo: '../../../kernel/iommu_groups/7' },
      ...files,
    });
    const error = await vfioFailure(() => findCdev(fakeAddress, roots), 'ERR_VFIO_NOT_BOUND_TO_VFIO'); // prettier-ignore
    assert.equal(error.reason, 'not-bound');
    return error;
  }

  const unseenOf = ({ facts }: VfioError): unknown => (facts as VfioFacts['not-bound']).unseen;

  it('is an interface of another network namespace, also beside one of this, and behind a controller of another class', async () => {
    const below = `${device}/usb1/1-1/net`;
    const own = {
      [`${below}/eth7/operstate`]: 'down\n',
      'class/net/eth7': { pointsTo: `../../${below}/eth7` },
    };
    const others = { [`${below}/hidden/operstate`]: 'up\n' };
    const { listFolder } = binding();
    // So does sysfs: its list has the interfaces of one's own namespace, its count of folders all.
    const filtering: Partial<Binding> = {
      listFolder: (path) => {
        const names = listFolder(path);
        return typeof names === 'object' ? names.filter((name) => name !== 'hidden') : names;
      },
    };
    await withBinding(filtering, async () => {
      assert.equal(unseenOf(await notBound(own)), undefined);
      for (const files of [others, { ...own, ...others }]) {
        const error = await notBound(files);
        assert.deepEqual(unseenOf(error), ['net']);
        assert.match(error.hint ?? '', files === others ? /^no network interfaces of 0000:3b:00\.0 are to be seen from here; see on the host/ : /^not all use of the network interfaces of 0000:3b:00\.0 is to be seen from here; see on the host/); // prettier-ignore
      }
    });
  });

  it('is whether a disk is mounted', async () => {
    const disk = { 'class/block/sda': { pointsTo: `../../${device}/sda` } };
    assert.equal(unseenOf(await notBound(disk)), undefined);
    const isMounts = (path: string): boolean => path === '/proc/self/mountinfo';
    for (const fake of [missing, () => '']) {
      const error = await withFs('readFileSync', isMounts, fake, () => notBound(disk));
      assert.deepEqual(unseenOf(error), ['block']);
      assert.match(
        error.hint ?? '',
        /^not all use of the disks of 0000:3b:00\.0 is to be seen from here; see on the host/,
      );
    }
  });
});

describe('an IOMMU, and the devices there are', () => {
  it('are not counted where the classes of sysfs are hidden', async () => {
    for (const how of ['absent', 'empty'] as const) {
      const roots = fakeVfio();
      rmSync(`${roots.sysfsRoot}/devices/pci0000:3a/${fakeAddress}/vfio-dev`, { recursive: true });
      hide(roots, 'class', how);
      const error = await vfioFailure(() => findCdev(fakeAddress, roots), 'ERR_VFIO_NOT_BOUND_TO_VFIO'); // prettier-ignore
      assert.deepEqual([error.reason, error.facts], ['no-iommu-group', { driver: null, iommus: null }]); // prettier-ignore
    }
  });

  it('are not listed as none where sysfs has no bus', async () => {
    for (const how of ['absent', 'empty'] as const) {
      const roots = fakeVfio();
      hide(roots, 'bus', how);
      assertUnseen(await vfioFailure(() => listDevices(roots), 'ENOENT'), `${roots.sysfsRoot}/bus`);
    }
  });

  it('are not listed as none where the list of a bus is hidden', async () => {
    const roots = fakeVfio();
    hide(roots, 'bus/pci', 'empty');
    const folder = `${roots.sysfsRoot}/bus/pci/devices`;
    assertUnseen(await vfioFailure(() => listDevices(roots), 'ENOENT'), folder);
    assertUnseen(await vfioFailure(() => listDevicesSync(roots), 'ENOENT'), folder);
  });

  it('are none where the kernel has not got the bus', async () => {
    const roots = fakeVfio();
    hide(roots, 'bus/pci', 'absent');
    mkdirSync(`${roots.sysfsRoot}/bus/platform/devices`, { recursive: true });
    assert.deepEqual(await listDevices(roots), []);
  });
});
