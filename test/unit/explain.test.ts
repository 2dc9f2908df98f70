import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { constants, release } from 'node:os';
import { describe, it } from 'mocha';
import { binding, type Binding } from '../../lib/core/binding.ts';
import { hintOf as cliHintOf } from '../../lib/cli/words.ts';
import {
  explained,
  ofField,
  systemError,
  VfioError,
  type VfioErrorDetails,
} from '../../lib/core/errors.ts';
import type { Roots } from '../../lib/core/location.ts';
import { wordsOf } from '../../lib/core/messages.ts';
import type { Cause, GroupMember, Holding, VfioFacts, VfioReason } from '../../lib/core/reasons.ts';
import { run } from '../../lib/core/steps.ts';
import { explain } from '../../lib/diagnose/explain.ts';
import { findHolders } from '../../lib/diagnose/holders.ts';
import { findCdev, Iommufd, openCdev, openCdevSync, VfioDevice } from '../../lib/index.ts';
import { explainedFailure, searchedFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeAddress, fakeNode, fakeVfio, putFile, putNode } from '../support/fake_vfio.ts';
import { type Entry, put, tree } from '../support/tree.ts';

const { EACCES, EBUSY, EINVAL, EPERM } = constants.errno;

const pci = 'sys/bus/pci/devices/0000:3b:00.0';

/** A PCI device with these files, and what else there is. */
function sysfs(files: Record<string, Entry>): Roots {
  const root = tree({
    [`${pci}/subsystem`]: { pointsTo: '../../../pci' },
    'sys/class/net/lo': { pointsTo: '../../devices/virtual/net/lo' },
    ...files,
  });
  return { sysfsRoot: `${root}/sys`, devRoot: `${root}/dev` };
}

describe('the reason of a failed lookup', () => {
  const group = { [`${pci}/iommu_group`]: { pointsTo: '../../../../kernel/iommu_groups/7' } };

  it('is a driver that is none of VFIO’s, with the command that changes it', async () => {
    const driver = { [`${pci}/driver`]: { pointsTo: '../../drivers/nvme' } };
    const roots = sysfs({ ...group, ...driver, [`${pci}/driver_override`]: '(null)\n' });
    const error = await explainedFailure(
      () => findCdev(fakeAddress, roots),
      'ERR_VFIO_NOT_BOUND_TO_VFIO',
    );
    assert.deepEqual([error.reason, error.certainty], ['not-bound', 'certain']);
    const facts = { bus: 'pci', address: fakeAddress, driver: 'nvme', driverOverride: null };
    assert.deepEqual(error.facts, facts);
    assert.match(error.hint ?? '', /^sudo npx vfio bind 0000:3b:00\.0 \(/);
  });

  it('is no driver, and no command to unbind it', async () => {
    const run = (): unknown => findCdev(fakeAddress, sysfs(group));
    const error = await explainedFailure(run, 'ERR_VFIO_NOT_BOUND_TO_VFIO');
    assert.equal(error.reason, 'not-bound');
    assert.doesNotMatch(error.hint ?? '', /unbind/);
  });

  it('is the IOMMU that the kernel does not use', async () => {
    const run = (): unknown => findCdev(fakeAddress, sysfs({}));
    const error = await explainedFailure(run, 'ERR_VFIO_NOT_BOUND_TO_VFIO');
    assert.deepEqual(error.facts, { driver: null, iommus: 0 });
    assert.match(
      error.hint ?? '',
      /^the kernel uses no IOMMU: vfio doctor says what switches it on here/,
    );
  });

  it('is an IOMMU that the device is not behind', async () => {
    const roots = sysfs({ 'sys/class/iommu/dmar0/x': '' });
    const error = await explainedFailure(
      () => findCdev(fakeAddress, roots),
      'ERR_VFIO_NOT_BOUND_TO_VFIO',
    );
    assert.deepEqual([error.reason, error.facts], ['no-iommu-group', { driver: null, iommus: 1 }]);
  });

  it('is a kernel without cdevs, or without them for a device without an IOMMU', async () => {
    for (const name of ['DMA', 'vfio-noiommu']) {
      const files = { [`${pci}/vfio-dev/vfio0/uevent`]: '', [`${pci}/iommu_group/name`]: name };
      const error = await explainedFailure(
        () => findCdev(fakeAddress, sysfs(files)),
        'ERR_VFIO_NO_CDEV',
      );
      assert.equal(error.reason, 'no-cdev');
      assert.equal((error.facts as VfioFacts['no-cdev']).noiommu, name === 'vfio-noiommu');
      // A kernel that has cdevs is not said to have none.
      const isBuilt = name === 'vfio-noiommu';
      assert.equal(
        error.message.includes('without CONFIG_VFIO_DEVICE_CDEV'),
        !isBuilt,
        error.message,
      );
      assert.match(error.hint ?? '', isBuilt ? /--backend noiommu/ : /only legacy groups here/);
    }
  });

  it('is the kernel for a mediated device, whose group has the name of those without an IOMMU', async () => {
    const uuid = '6d747479-0000-4000-8000-000000000001';
    const mdev = `sys/bus/mdev/devices/${uuid}`;
    const files = {
      [`${mdev}/subsystem`]: { pointsTo: '../../../mdev' },
      [`${mdev}/vfio-dev/vfio0/uevent`]: '',
      [`${mdev}/iommu_group/name`]: 'vfio-noiommu',
    };
    const error = await explainedFailure(() => findCdev(uuid, sysfs(files)), 'ERR_VFIO_NO_CDEV');
    assert.match(error.message, /without CONFIG_VFIO_DEVICE_CDEV/);
    assert.equal((error.facts as VfioFacts['no-cdev']).noiommu, false);
  });

  it('is a driver that is being taken from the device', async () => {
    const uevent = { [`${pci}/uevent`]: 'DRIVER=vfio-pci\nPCI_CLASS=20000\n' };
    const error = await explainedFailure(
      () => findCdev(fakeAddress, sysfs({ ...group, ...uevent })),
      'ERR_VFIO_NOT_BOUND_TO_VFIO',
    );
    assert.deepEqual([error.reason, error.certainty], ['being-removed', 'certain']);
    assert.deepEqual(error.facts, { bus: 'pci', address: fakeAddress, driver: 'vfio-pci' });
    assert.match(error.message, /vfio-pci lets go of it when whoever has it open closes it$/);
  });

  it('is a device that is not there', async () => {
    const error = await explainedFailure(
      () => findCdev('3c:00.0', sysfs({})),
      'ERR_VFIO_NO_DEVICE',
    );
    assert.deepEqual([error.reason, error.facts], ['no-device', { bus: 'pci', address: '0000:3c:00.0' }]); // prettier-ignore
  });
});

describe('what a hint takes from the host', () => {
  const group = { [`${pci}/iommu_group`]: { pointsTo: '../../../../kernel/iommu_groups/7' } };
  const through = (end: string): Entry => ({
    pointsTo: `../../devices/pci0000:3a/0000:3b:00.0/${end}`,
  });
  const driver = { [`${pci}/driver`]: { pointsTo: '../../drivers/nvme' } };

  async function notBound(files: Record<string, Entry>): Promise<VfioError> {
    const roots = sysfs({ ...group, ...driver, ...files });
    return explainedFailure(() => findCdev(fakeAddress, roots), 'ERR_VFIO_NOT_BOUND_TO_VFIO');
  }

  it('is said: a disk, an interface that is down, a display', async () => {
    const error = await notBound({
      'sys/class/block/nvme0n1': through('nvme/nvme0/nvme0n1'),
      'sys/class/block/sda': { pointsTo: '../../devices/pci0000:00/0000:00:1f.2/ata1/sda' },
      'sys/class/net/eth7': through('net/eth7'),
      'sys/class/drm/card0': through('drm/card0'),
      'sys/class/drm/card0-HDMI-A-1': through('drm/card0/card0-HDMI-A-1'),
    });
    assert.deepEqual((error.facts as VfioFacts['not-bound']).uses, [
      { kind: 'block', name: 'nvme0n1', now: null },
      { kind: 'net', name: 'eth7', now: null },
      { kind: 'drm', name: 'card0', now: null },
    ]);
    assert.match(error.hint ?? '', /^this takes the disk nvme0n1 \(no use of it is to be seen, but ZFS would not show\), the network interface eth7, the display card0 from the host: sudo/); // prettier-ignore
  });

  it('is no swap in use: how that ends is said, and of other uses nobody is told', () => {
    const facts = { bus: 'pci', address: fakeAddress, driver: 'nvme', driverOverride: null };
    const hintOf = (now: string): string => {
      const uses = [{ kind: 'block' as const, name: 'nvme9n1p3', now }];
      return wordsOf({ reason: 'not-bound', certainty: 'certain', facts: { ...facts, uses } }).hint;
    };
    assert.equal(
      hintOf('swapped to'),
      'do not unbind anything here: the host uses the disk nvme9n1p3 (swapped to), and would lose it. Where the host can do without this swap: sudo swapoff /dev/nvme9n1p3, take it out of /etc/fstab, and bind the device then',
    );
    assert.match(hintOf('mounted at /'), /\(mounted at \/\), and would lose it$/);
  });

  it('is nothing that the host uses: then no command takes it', async () => {
    const mounted = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')[0]?.split(' ');
    assert.ok(mounted);
    const [, , numbers = '', , place = ''] = mounted;
    const below = 'sys/devices/pci0000:3a/0000:3b:00.0';
    for (const [files, said] of [
      [{ [`${below}/nvme0n1p1/dev`]: `${numbers}\n`, 'sys/class/block/nvme0n1p1': through('nvme0n1p1') }, `the disk nvme0n1p1 (mounted at ${place})`], // prettier-ignore
      [{ [`${below}/sdb/holders/dm-0/x`]: '', 'sys/class/block/sdb': through('sdb') }, 'the disk sdb (used by dm-0)'], // prettier-ignore
      [{ [`${below}/net/eth7/operstate`]: 'up\n', 'sys/class/net/eth7': through('net/eth7') }, 'the network interface eth7 (up)'], // prettier-ignore
    ] as [Record<string, Entry>, string][]) {
      const { hint = '' } = await notBound(files);
      assert.ok(hint.includes(`the host uses ${said}, and would lose it`), hint);
      assert.doesNotMatch(hint, /sudo|\/unbind/);
    }
  });

  it('is the disk of NVMe’s multipath, which sysfs has elsewhere, and an interface that does not tell its state', async () => {
    const [, , numbers = '', , place = ''] =
      readFileSync('/proc/self/mountinfo', 'utf8').split('\n')[0]?.split(' ') ?? [];
    const head = 'devices/virtual/nvme-subsystem/nvme-subsys3/nvme3n1';
    const paths = {
      'sys/class/block/nvme3c0n1': through('nvme/nvme0/nvme3c0n1'),
      'sys/class/block/nvme3n1': { pointsTo: `../../${head}` },
      'sys/class/block/nvme3n1p2': { pointsTo: `../../${head}/nvme3n1p2` },
      'sys/class/block/nvme3n12': { pointsTo: '../../devices/virtual/nvme-subsystem/x/nvme3n12' },
    };
    const free = await notBound(paths);
    assert.deepEqual(
      (free.facts as VfioFacts['not-bound']).uses?.map(({ name }) => name),
      ['nvme3n1', 'nvme3n1p2'],
    );
    const used = await notBound({ ...paths, [`sys/${head}/nvme3n1p2/dev`]: `${numbers}\n` });
    assert.ok(
      used.hint?.includes(`the host uses the disk nvme3n1p2 (mounted at ${place})`),
      used.hint,
    );
    assert.doesNotMatch(used.hint ?? '', /sudo/);

    const below = 'sys/devices/pci0000:3a/0000:3b:00.0/net/eth7';
    const silent = {
      [`${below}/operstate`]: 'unknown\n',
      'sys/class/net/eth7': through('net/eth7'),
    };
    const on = await notBound({ ...silent, [`${below}/flags`]: '0x1003\n' });
    assert.match(on.hint ?? '', /the host uses the network interface eth7 \(up\)/);
    const off = await notBound({ ...silent, [`${below}/flags`]: '0x1002\n' });
    assert.match(off.hint ?? '', /^this takes the network interface eth7 from the host: sudo/);
  });

  it('is never the driver of a bridge, which vfio-pci does not take', async () => {
    const error = await notBound({
      [`${pci}/class`]: '0x060400\n',
      [`${pci}/driver`]: { pointsTo: '../../drivers/pcieport' },
      [`${pci}/0000:3c:00.0/x`]: '',
    });
    const facts = {
      bus: 'pci',
      address: fakeAddress,
      driver: 'pcieport',
      behind: ['0000:3c:00.0'],
    };
    assert.deepEqual([error.reason, error.facts], ['bridge', facts]);
    assert.match(error.hint ?? '', /open what is behind it: 0000:3c:00\.0.*ACS/);
    assert.doesNotMatch(error.hint ?? '', /sudo|unbind/);
  });

  it('is told of a group’s devices too', () => {
    const member = { bus: 'pci', address: '0000:00:1f.2', driver: 'ahci', verdict: 'host-driver' } as const; // prettier-ignore
    const hintOf = (more: Partial<GroupMember>): string =>
      wordsOf({
        reason: 'group-not-viable',
        certainty: 'certain',
        facts: { group: 7, members: [{ ...member, ...more }] },
      }).hint;
    assert.equal(hintOf({}), 'sudo npx vfio bind 0000:00:1f.2');
    assert.equal(hintOf({ bus: 'amba' }), 'bind 0000:00:1f.2 to the VFIO driver of the bus amba');
    const disk = { kind: 'block', name: 'sda', now: null } as const;
    assert.match(hintOf({ uses: [disk] }), /^this takes the disk sda \(.*\) from the host: sudo/);
    for (const more of [{ uses: [{ ...disk, now: 'mounted at /' }] }, { bridge: true } as const]) {
      assert.doesNotMatch(hintOf(more), /sudo/);
      assert.match(hintOf(more), /slot/);
    }
  });
});

describe('the reason of a node that does not open', () => {
  it('is its absence in a namespace of which the kernel has the device', async () => {
    const roots = fakeVfio();
    put(roots.sysfsRoot, { 'class/vfio-dev/vfio7/dev': '1:3\n' });
    const error = await explainedFailure(() => openCdevSync(fakeAddress, roots), 'ENOENT');
    const path = `${roots.devRoot}/${fakeNode}`;
    assert.deepEqual([error.reason, error.facts], ['node-absent', { path, numbers: '1:3' }]);
    assert.match(error.message, /the kernel has it as 1:3, but there is no node here$/);
    assert.match(error.hint ?? '', new RegExp(`--device ${path}`));
  });

  it('is a name that the kernel has for no cdev', async () => {
    const roots = fakeVfio();
    const path = `${roots.devRoot}/vfio/devices/vfio99`;
    const error = await explainedFailure(() => openCdevSync(path, roots), 'ENOENT');
    assert.deepEqual([error.reason, error.facts], ['no-such-cdev', { path }]);
    assert.match(error.message, /the kernel has no vfio99: its device was unbound/);
  });

  it('is a node that another device has now', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/zero');
    const open = openCdev(fakeAddress, { ...roots, timeout: 0 });
    const error = await explainedFailure(() => open, 'ERR_VFIO_NODE_MISMATCH');
    const path = `${roots.devRoot}/${fakeNode}`;
    assert.deepEqual(error.facts, { path, expected: '1:3', found: '1:5' });
  });

  it('is what is no node', async () => {
    const roots = fakeVfio();
    putFile(roots, fakeNode);
    const run = (): unknown => openCdevSync(fakeAddress, roots);
    const { facts } = await explainedFailure(run, 'ERR_VFIO_NODE_MISMATCH');
    assert.equal((facts as VfioFacts['stale-node']).found, null);
  });

  it('is the device that went away while its node was opened', async () => {
    const roots = fakeVfio();
    const going = {
      open: (): number => {
        rmSync(`${roots.sysfsRoot}/bus/pci/devices/${fakeAddress}`);
        return -constants.errno.ENODEV;
      },
    };
    await withBinding(going, async () => {
      const error = await explainedFailure(() => openCdevSync(fakeAddress, roots), 'ENODEV');
      assert.deepEqual([error.reason, error.facts], ['gone', { bus: 'pci', address: fakeAddress }]);
    });
  });

  it('is a device cgroup where the kernel says EPERM', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    await withBinding({ open: () => -EPERM }, async () => {
      const error = await explainedFailure(() => openCdevSync(fakeAddress, roots), 'EPERM');
      assert.deepEqual([error.reason, error.certainty], ['device-cgroup', 'likely']);
    });
  });

  it('is something else where its mode would let us in', async () => {
    const roots = fakeVfio();
    putFile(roots, fakeNode);
    const path = `${roots.devRoot}/${fakeNode}`;
    chmodSync(path, 0o666);
    await withBinding({ open: () => -EACCES }, async () => {
      const error = await explainedFailure(() => openCdevSync(fakeAddress, roots), 'EACCES');
      assert.deepEqual([error.reason, error.certainty], ['denied-by-policy', 'likely']);
      assert.equal((error.facts as VfioFacts['denied-by-policy']).mode, '0666');
    });
  });

  it('is its group, where the search for who has that did not come to its end', async () => {
    const roots = fakeVfio();
    const member = `bus/pci/devices/${fakeAddress}`;
    put(roots.sysfsRoot, {
      [`${member}/iommu_group`]: { pointsTo: '../../../kernel/iommu_groups/7' },
      [`kernel/iommu_groups/7/devices/${fakeAddress}`]: { pointsTo: `../../../../${member}` },
      'class/vfio/7/dev': '1:5\n',
    });
    putNode(roots, 'vfio/7', '/dev/zero');
    const { open } = binding();
    const fakes: Partial<Binding> = {
      containerVersion: () => 0,
      open: (path, flags) => (path.endsWith('/vfio/7') ? -EBUSY : open(path, flags)),
      findEntries: () => new Promise<number>(() => undefined),
    };
    await withBinding(fakes, async () => {
      const error = await explainedFailure(
        () => VfioDevice.open(fakeAddress, { ...roots, backend: 'group', timeout: 0 }),
        'EBUSY',
      );
      assert.deepEqual([error.reason, error.certainty], ['held-by-group', 'likely']);
    });
  });

  it('is iommufd, absent from the namespace or from the kernel', async () => {
    const roots = fakeVfio();
    const open = (): unknown => Iommufd.open(roots);
    const missing = await explainedFailure(open, 'ENOENT');
    assert.ok(missing.reason === 'iommufd-absent' || missing.reason === 'iommufd-not-loaded');
    const modules = `/lib/modules/${release()}/modules.dep`;
    const unread = existsSync(modules) ? undefined : modules;
    assert.equal((missing.facts as VfioFacts['iommufd-absent']).unread, unread);
    put(roots.sysfsRoot, { 'class/misc/iommu/dev': '10:122\n' });
    const absent = await explainedFailure(open, 'ENOENT');
    assert.deepEqual(absent.facts, { path: `${roots.devRoot}/iommu`, numbers: '10:122' });
  });
});

describe('a reason where sysfs hides its classes', () => {
  /** As in a container in which something else is mounted over them. */
  function hidden(): Roots {
    const roots = fakeVfio();
    rmSync(`${roots.sysfsRoot}/class`, { recursive: true });
    return roots;
  }

  const nodes = { iommu: 'iommu', container: 'vfio/vfio', cdev: 'vfio/devices/vfio99' };

  for (const [kind, node] of Object.entries(nodes)) {
    for (const errno of ['ENOENT', 'ENXIO'] as const) {
      it(`says that, and nothing of the node: ${kind}, ${errno}`, async () => {
        const roots = hidden();
        const path = `${roots.devRoot}/${node}`;
        const error = systemError({ errno: -constants.errno[errno], syscall: 'open', path });
        const told = await run(explain(error, () => ({ roots })));
        assert.ok(told instanceof VfioError);
        assert.equal(told.reason, 'sysfs-absent', told.stack);
      });
    }
  }

  it('is whatever the host uses of a device, and the hint tells to look there', async () => {
    const driver = { [`${pci}/driver`]: { pointsTo: '../../drivers/nvme' } };
    const group = { [`${pci}/iommu_group`]: { pointsTo: '../../../../kernel/iommu_groups/7' } };
    const roots = sysfs({ ...group, ...driver });
    rmSync(`${roots.sysfsRoot}/class`, { recursive: true });
    const find = (): unknown => findCdev(fakeAddress, roots);
    const { facts, hint = '' } = await explainedFailure(find, 'ERR_VFIO_NOT_BOUND_TO_VFIO');
    assert.deepEqual((facts as VfioFacts['not-bound']).unseen, ['block', 'net', 'drm']);
    assert.match(
      hint,
      /^no disks or network interfaces or displays of 0000:3b:00\.0 are to be seen from here/,
    );
  });
});

describe('the reason of a refused bind', () => {
  /** What `VfioDevice.open` throws where the kernel answers `errno` to bind. */
  async function refused(errno: number, code: string, files: Record<string, Entry>, sync = false) {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    putNode(roots, 'iommu', '/dev/null');
    put(roots.sysfsRoot, files);
    const fakes = { bind: () => Promise.resolve(-errno), bindSync: () => -errno };
    return withBinding(fakes, () =>
      explainedFailure(
        () =>
          sync ? VfioDevice.openSync(fakeAddress, roots) : VfioDevice.open(fakeAddress, roots),
        code,
      ),
    );
  }

  const device = `bus/pci/devices/${fakeAddress}`;
  const folder = 'kernel/iommu_groups/7';
  const unsafe = { 'module/iommufd/parameters/allow_unsafe_interrupts': 'N\n' };
  const allowed = { 'module/iommufd/parameters/allow_unsafe_interrupts': 'Y\n' };

  /** The group of the device and of a sibling with these files. */
  function group(sibling: Record<string, Entry>): Record<string, Entry> {
    const at = (name: string): string => `${folder}/devices/0000:3b:00.1/${name}`;
    const files = Object.entries(sibling).map(([name, entry]) => [at(name), entry] as const);
    return {
      [`${device}/iommu_group`]: { pointsTo: '../../../kernel/iommu_groups/7' },
      [`${folder}/devices/${fakeAddress}/vfio-dev/vfio7/dev`]: '1:3\n',
      [at('subsystem')]: { pointsTo: '../../../bus/pci' },
      ...Object.fromEntries(files),
    };
  }

  it('is a sibling on a host driver, named with its command', async () => {
    const files = group({ driver: { pointsTo: '../../drivers/snd_hda_intel' } });
    const error = await refused(EPERM, 'EPERM', { ...files, ...unsafe });
    assert.deepEqual([error.reason, error.certainty], ['group-not-viable', 'certain']);
    assert.match(error.message, /IOMMU group 7 has 0000:3b:00\.1 \(snd_hda_intel\)/);
    assert.match(error.hint ?? '', /^sudo npx vfio bind 0000:3b:00\.1 \(/);
  });

  for (const driver of ['pcieport', 'pci-stub']) {
    it(`is not a sibling on ${driver}`, async () => {
      const files = group({ driver: { pointsTo: `../../drivers/${driver}` } });
      const error = await refused(EPERM, 'EPERM', { ...files, ...unsafe });
      assert.deepEqual([error.reason, error.certainty], ['unsafe-interrupts', 'certain']);
      assert.match(
        error.hint ?? '',
        /tee .*\/module\/iommufd\/parameters\/allow_unsafe_interrupts/,
      );
    });
  }

  it('is another iommufd, where interrupts are not in the way', async () => {
    const files = group({ 'vfio-dev/vfio8/dev': '1:7\n' });
    const error = await refused(EPERM, 'EPERM', { ...files, ...allowed });
    assert.deepEqual([error.reason, error.certainty], ['group-owned', 'certain']);
    // Whether they are allowed is not to be seen: then it may be that as well.
    const hidden = await refused(EPERM, 'EPERM', files);
    assert.deepEqual([hidden.reason, hidden.certainty], ['group-owned', 'likely']);
    const both = await refused(EPERM, 'EPERM', { ...files, ...unsafe });
    assert.equal(both.certainty, 'likely');
  });

  it('is not looked for among processes by the blocking form', async () => {
    const never = { findEntries: () => assert.fail('scanned'), findEntriesSync: () => assert.fail('scanned') }; // prettier-ignore
    await withBinding(never, async () => {
      const held = await refused(EINVAL, 'EINVAL', {}, true);
      assert.deepEqual(held.facts, { holders: [], hidden: 0, searched: false });
      assert.match(held.message, /likely its cdev is bound already$/);
      const busy = await refused(EBUSY, 'EBUSY', group({}), true);
      assert.deepEqual(busy.facts, { group: 7, holders: [], hidden: 0, searched: false });
    });
  });

  it('is a group of which the node is not known: so nobody can be said not to have it', async () => {
    const error = await refused(EBUSY, 'EBUSY', group({}));
    assert.deepEqual(error.facts, { group: 7, holders: [], hidden: 0, searched: false });
    assert.doesNotMatch(error.message, /no process here/);
    const known = await searchedFailure(async () => {
      throw await refused(EBUSY, 'EBUSY', { ...group({}), 'class/vfio/7/dev': '240:7\n' });
    }, 'EBUSY');
    assert.equal((known.facts as VfioFacts['held-by-group']).searched, true);
  });

  it('is looked for 250 ms, however long a process keeps us', async () => {
    const stuck = { findEntries: () => new Promise<number>(() => undefined) };
    await withBinding(stuck, async () => {
      const held = await refused(EINVAL, 'EINVAL', {});
      assert.deepEqual(held.facts, { holders: [], hidden: 0, searched: false });
    });
  });

  it('is no other one where the search did not come to its end', async () => {
    const stuck = { findEntries: () => new Promise<number>(() => undefined) };
    const files = group({ 'vfio-dev/vfio8/dev': '1:7\n' });
    await withBinding(stuck, async () => {
      // A hint to accept unsafe interrupts would be wrong where another iommufd has the group.
      const error = await refused(EPERM, 'EPERM', { ...files, ...unsafe });
      assert.deepEqual([error.reason, error.certainty], ['group-owned', 'likely']);
    });
  });
});

describe('what stops the search for a reason', () => {
  it('is the error’s cause, and hides nothing of it', async () => {
    const error = systemError({ errno: -EINVAL, syscall: 'ioctl', request: 'VFIO_DEVICE_BIND_IOMMUFD' }); // prettier-ignore
    const problem = new Error('no sysfs');
    const search = explain(error, () => {
      throw problem;
    });
    const explained = await run(search);
    assert.equal(explained, error);
    assert.equal(error.cause, problem);
  });
});

describe('the holders of a device', () => {
  /** The numbers of /dev/full, which hardly anybody opens. */
  const search = { numbers: ['1:7'], targets: [] };
  const soon = (): number => performance.now() + 100_000;

  it('are the processes that have it open, with their commands', async () => {
    const child = spawn('sh', ['-c', 'exec sleep 60 3</dev/full'], { stdio: 'ignore' });
    await once(child, 'spawn');
    try {
      // Other test files run beside this one, and may have it open as well.
      const itself = ({ holders }: Holding): unknown =>
        holders.find(({ pid }) => pid === child.pid);
      let found: Holding;
      do found = await findHolders(search, undefined, soon());
      while ((itself(found) as { command?: string } | undefined)?.command !== 'sleep');
      assert.deepEqual(itself(found), { pid: child.pid, command: 'sleep' });
      assert.equal(found.searched, true);
    } finally {
      child.kill();
    }
  });

  it('are not our own descriptor that was refused', async () => {
    const handle = binding().open('/dev/full', 0);
    const own = binding().fdNumber(handle as never);
    const pids = async (except?: number): Promise<number[]> =>
      (await findHolders(search, except, soon())).holders.map(({ pid }) => pid);
    assert.ok((await pids()).includes(process.pid));
    assert.ok(!(await pids(own)).includes(process.pid));
    binding().closeSync(handle as never);
  });
});

describe('every reason', () => {
  const holding: Holding = { holders: [{ pid: 4711, command: 'qemu' }], hidden: 0, searched: true };
  const ownership = { mode: '0600', owner: 0, group: 0, uid: 1000, gids: [1000] };
  const members = [{ bus: 'pci', address: 'a', driver: 'nvme', verdict: 'host-driver' as const }];
  const extent = { iova: 0x1000n, length: 0x1000n };
  const reserved = { start: 0xfee00000n, last: 0xfeefffffn, type: 'msi' };
  const facts: VfioFacts = {
    'sysfs-absent': { path: '/sys/bus', code: 'EACCES' },
    'no-device': { bus: 'pci', address: 'a' },
    bridge: { bus: 'pci', address: 'a', driver: 'pcieport', behind: ['b'] },
    'container-absent': { path: '/dev/vfio/vfio', release: '6.1' },
    'not-bound': { bus: 'mdev', address: 'a', driver: null, driverOverride: null },
    'no-iommu-group': { driver: null, iommus: 0 },
    'no-cdev': { release: '6.1', noiommu: false },
    'iommufd-not-loaded': { release: '6.1' },
    'iommufd-absent': { release: '6.1' },
    'node-absent': { path: '/dev/x', numbers: '511:0' },
    'no-permission': { path: '/dev/x', ...ownership },
    'denied-by-policy': { path: '/dev/x', ...ownership },
    'device-cgroup': { path: '/dev/x', numbers: '511:0' },
    'stale-node': { path: '/dev/x', expected: '511:0', found: null },
    'held-by-cdev': holding,
    'held-by-group': { group: 7, ...holding },
    'group-not-viable': { group: 7, members },
    'unsafe-interrupts': { group: 7, parameter: '/sys/x' },
    'group-owned': { group: 7, members, ...holding },
    'vf-token-required': { physicalFunction: '0000:3b:00.0' },
    'no-rawio': { path: '/dev/vfio/noiommu-7' },
    'no-iommu': { name: 'noiommu-7' },
    'already-bound': { path: '/dev/x' },
    'being-removed': { bus: 'pci', address: 'a', driver: 'vfio-pci' },
    'no-such-cdev': { path: '/dev/vfio/devices/vfio7' },
    gone: { bus: 'pci', address: 'a' },
    'still-attached': { what: 'IOAS 3', devices: ['a'], pageTables: [5], objects: ['vIOMMU 7'] },
    'invalidated-in-part': { handled: 2, entries: 5 },
    'no-external-buffers': { runtime: 'Electron 40.1.0' },
    'rom-unreadable': { address: 'a' },
    'vga-window': { offset: 0x3bc, length: 1 },
    'asked-back': { bus: 'pci', address: 'a' },
    'disabled-elsewhere': { address: 'a', interrupt: 'msi' },
    'irq-disabled': { address: 'a', interrupt: 'intx' },
    'bus-master-off': { address: 'a', interrupt: 'msix' },
    'not-an-eventfd': { fd: 7, found: '/dev/zero' },
    'no-reset': { address: 'a' },
    'intx-line-taken': { address: 'a', line: 11, others: ['ahci'], nointxmask: true },
    'iova-mapped': { ...extent, mapped: [extent] },
    'iova-misaligned': { ...extent, alignment: 4096n },
    'iova-not-allowed': { ...extent, ranges: [{ start: 0n, last: 4095n }] },
    'iova-exhausted': { length: 4096n, ranges: [] },
    'too-many-maps': { parameter: '/sys/x' },
    'container-empty': { path: '/dev/vfio/vfio' },
    'not-mapped': { ...extent, cut: [] },
    'memory-not-pinnable': { what: 'file', length: 4096n },
    'memlock-limit': { needed: 4096n, limit: 0n, pinned: 0n, counted: 'user' },
    'too-few-huge-pages': {
      ...{ pageSize: 2 ** 21, needed: 2, free: 1, total: 1 },
      parameter: '/sys/x',
    },
    'hugetlb-limit': { size: 2 ** 21, pageSize: 2 ** 21 },
    'iova-reserved': { device: 'a', overlaps: [{ ...extent, reserved }] },
    'maps-not-pinnable': { maps: [extent] },
    'other-container': { device: 'a' },
    'other-iommufd': { device: 'a' },
    'region-unreachable': { device: 'a', region: 'bar0' },
    'not-a-vm': {},
    'vm-of-other-process': {},
    'kvm-without-vfio': { release: '6.1' },
    'vm-has-vfio': {},
    'vm-has-device': {},
    'vm-lacks-device': {},
    'not-for-kvm': {},
    'no-sriov': { bus: 'pci', address: 'a', physicalFunction: 'b' },
    'vfs-in-use': {
      physicalFunction: 'a',
      devices: [{ bus: 'pci', address: 'b', needs: [{ kind: 'disk', name: 'c', text: 'c is d' }] }],
      unseen: ['e'],
    },
    'vfs-refused': { address: 'a', driver: 'nvme', enableSriov: false, count: 4, code: 'ENOMEM' },
    'needed-by-host': {
      devices: [
        {
          ...{ bus: 'pci', address: 'a' },
          needs: [{ kind: 'disk', name: 'sda1', text: 'sda1 is mounted at /' }],
        },
      ],
    },
    'kernel-waits': {
      ...{ path: '/sys/x', address: 'a', timeout: 10, ...holding },
      ...{ driver: 'vfio-pci', openable: true },
    },
    'driver-not-bound': { address: 'a', wanted: 'vfio-pci', driver: 'nvme', code: 'EINVAL' },
    'no-such-driver': { bus: 'pci', driver: 'x', release: '6.1' },
    'driver-mismatch': {
      ...{ bus: 'pci', address: 'a', driver: 'e1000e', module: 'e1000e' },
      ...{ modalias: 'pci:v1', unread: 'modules.alias' },
    },
    'no-driver-override': { bus: 'mdev', address: 'a', driver: 'vfio_mdev' },
    'binding-elsewhere': { address: 'a', path: '/run/vfio/bind/a.lock', pid: 4711 },
  };
  const errors = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');

  for (const reason of Object.keys(facts) as VfioReason[]) {
    it(`has words, and an entry in docs/errors.md: ${reason}`, () => {
      const cause = { reason, certainty: 'likely', facts: facts[reason] } as Cause;
      const { why, hint } = wordsOf(cause);
      assert.doesNotMatch(`${why} ${hint}`, /undefined|null|NaN|\[object/);
      assert.notEqual(hint, '');
      // Nobody types an object.
      const error = explained(new VfioError({ code: 'EPERM', message: 'EPERM' }), cause);
      assert.doesNotMatch(cliHintOf(error) ?? '', /\{/);
      assert.match(errors, new RegExp(`^### ${reason}$`, 'm'));
    });
  }

  it('has a folder that shuts a process out passed, where no rule of udev helps', () => {
    const own = { mode: '0700', owner: 0, group: 0, uid: 1000, gids: [1000] };
    const hintFor = (isFolder: { isFolder?: true }): string =>
      wordsOf({
        ...{ reason: 'no-permission', certainty: 'certain' },
        facts: { path: '/dev/vfio', ...isFolder, ...own },
      }).hint;
    assert.match(hintFor({ isFolder: true }), /sudo chmod a\+x \/dev\/vfio;/);
    assert.doesNotMatch(hintFor({ isFolder: true }), /udev/);
    assert.match(hintFor({}), /sudo npx vfio udev --group NAME --install/);
  });

  it('is all that docs/errors.md has entries for', () => {
    const entries = [...errors.matchAll(/^### (.+)$/gm)].map(([, name]) => name);
    assert.deepEqual(entries.sort(), Object.keys(facts).sort());
  });

  it('has every code of the package in the table of docs/errors.md, and no other', () => {
    const source = readFileSync(new URL('../../lib/core/errors.ts', import.meta.url), 'utf8');
    const codes = [...source.matchAll(/^ {2}\| '(ERR_VFIO_\w+)'/gm)].map(([, code]) => code);
    assert.ok(codes.length > 30);
    const rows = errors.match(/^\| `ERR_VFIO_.+$/gm) ?? [];
    const named = rows.flatMap(
      (row) => /^\|([^|]+)\|/.exec(row)?.[1]?.match(/ERR_VFIO_\w+/g) ?? [],
    );
    assert.deepEqual(named.sort(), codes.sort());
    // And none is spoken of that is not there.
    for (const [code] of errors.matchAll(/ERR_VFIO_\w+/g)) {
      if (code !== 'ERR_VFIO_') assert.ok(codes.includes(code), code);
    }
  });

  it('tells what it does not know', () => {
    const held = (facts: Partial<Holding>): string =>
      wordsOf({ reason: 'held-by-cdev', certainty: 'likely', facts: { ...holding, ...facts } }).why;
    assert.match(held({}), /by process 4711 \(qemu\)$/);
    assert.match(held({ holders: [], hidden: 3 }), /may not look at/);
    assert.match(held({ holders: [] }), /another pid namespace/);
    assert.match(held({ holders: [], searched: false }), /bound already$/);
  });
});

describe('an error of which another is made', () => {
  /** All that an error can carry. */
  const whole: Required<VfioErrorDetails> = {
    ...{ code: 'ENOSPC', message: 'what is so', errno: -28, syscall: 'ioctl' },
    ...{ request: 'VFIO_DEVICE_SET_IRQS', path: '/dev/vfio/devices/vfio0', device: 'a' },
    ...{ reason: 'gone', facts: { bus: 'pci', address: 'a' }, certainty: 'certain' },
    ...{ hint: 'h', available: 2, region: 'bar0+0x10', field: 'fds[0]', cause: new Error('c') },
  };

  /** What it says: all of it, the cause too. */
  const saidBy = (error: VfioError): object => ({ ...error.toJSON(), cause: error.cause });

  it('keeps all that it says, where its reason is found', () => {
    const error = new VfioError(whole);
    const facts = { address: 'a', interrupt: 'msix' };
    const other = explained(error, { reason: 'irq-disabled', certainty: 'likely', facts });
    const { message, hint } = other;
    const added = { reason: 'irq-disabled', certainty: 'likely', facts, message, hint };
    assert.match(message, /^what is so: likely msix of a is not enabled$/);
    assert.deepEqual(saidBy(other), { ...saidBy(error), ...added });
  });

  it('keeps all that it says, where a part of a message is named', () => {
    const error = new VfioError(whole);
    const other = ofField(error, 'devId');
    const added = { message: 'what is so (devId of the message)', field: 'devId' };
    assert.deepEqual(saidBy(other), { ...saidBy(error), ...added });
  });
});
