import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { notGiven } from '../../lib/cli/udev_devices.ts';
import { lookUpGroup } from '../../lib/cli/unix_group.ts';
import { udevRules, type UdevRulesOptions } from '../../lib/index.ts';
import { vfio } from '../support/cli.ts';
import { vfioFailure } from '../support/errors.ts';
import { boundToVfio, type Files, pciDevice, sysfsFiles } from '../support/sysfs.ts';
import { tree } from '../support/tree.ts';

const nvme = '0000:3b:00.0';

function sysfs(): Pick<UdevRulesOptions, 'sysfsRoot'> {
  const platform = { uevent: '', subsystem: { pointsTo: '../../../bus/platform' } };
  const files = sysfsFiles({
    pci: { [nvme]: pciDevice(11) },
    platform: { 'fff51000.ethernet': platform, 'a*b': platform, 'a"b': platform, 'a%kb': platform },
  });
  return { sysfsRoot: tree(files) };
}

/** The rules without their comments. */
function rulesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

const rights = 'GROUP="vfio", MODE="0660"';
const iommufd = `SUBSYSTEM=="misc", KERNEL=="iommu", ${rights}`;

describe('udevRules', () => {
  it('gives a group all devices', () => {
    assert.deepEqual(rulesOf(udevRules({ group: 'vfio' })), [
      `SUBSYSTEM=="vfio-dev", KERNEL=="vfio[0-9]*", ${rights}`,
      `SUBSYSTEM=="vfio", KERNEL=="[0-9]*", ${rights}`,
      iommufd,
    ]);
  });

  it('gives a group the devices that are named, whatever their numbers', () => {
    const platform = { bus: 'platform', address: 'fff51000.ethernet' };
    const text = udevRules({ group: 'vfio', devices: ['3b:00.0', platform], ...sysfs() });
    const cdev = 'SUBSYSTEM=="vfio-dev", KERNEL=="vfio[0-9]*"';
    const group = 'SUBSYSTEM=="vfio", KERNEL=="[0-9]*", TEST=="/sys/kernel/iommu_groups/%k/devices';
    assert.deepEqual(rulesOf(text), [
      `${cdev}, SUBSYSTEMS=="pci", KERNELS=="${nvme}", ${rights}`,
      `${cdev}, SUBSYSTEMS=="platform", KERNELS=="fff51000.ethernet", ${rights}`,
      `${group}/${nvme}", ${rights}`,
      `${group}/fff51000.ethernet", ${rights}`,
      iommufd,
    ]);
    assert.match(text, /number of a group is not the same after every boot/);
  });

  it('says what each right means, in lines of a terminal’s width', () => {
    const text = udevRules({ group: 'vfio' });
    assert.match(text, /^# Members of the group vfio may open/m);
    assert.match(text, /memory pinned.*RLIMIT_MEMLOCK/s);
    assert.match(text, /\/dev\/vfio\/vfio, needs no rule.*0666/s);
    assert.match(text, /noiommu- are not given/);
    for (const line of text.split('\n')) assert.ok(line.length <= 120, line);
  });

  it('says that a mode for all gives the nodes to everyone', () => {
    const text = udevRules({ group: 'vfio', mode: 0o666 });
    assert.match(text, /^# Every user of this machine may open/m);
    for (const rule of rulesOf(text)) assert.match(rule, /MODE="0666"$/);
  });

  const hostile = [
    ...['', 'a b', 'a"b', 'a\nb', 'a\\b', 'a$b', 'a%kb', '../a', 'a/b', '-a', '1000', '.a', 'ä'],
    ...['a"\nKERNEL=="sda", MODE="0666', 'a\0', 'x'.repeat(33), 'vfio\n'],
  ];
  for (const group of hostile) {
    it(`refuses the group ${JSON.stringify(group)}`, () => {
      assert.throws(() => udevRules({ group }), { code: 'ERR_INVALID_ARG_VALUE' });
    });
  }

  it('refuses modes that lock the group out, or make nodes executable', () => {
    for (const mode of [0, 0o600, 0o640, 0o620, 0o770, 0o661, 0o4660, -1, 0.5, NaN]) {
      assert.throws(() => udevRules({ group: 'vfio', mode }), { code: 'ERR_INVALID_ARG_VALUE' });
    }
  });

  it('refuses devices that are not there, and those that no rule can name', async () => {
    const roots = sysfs();
    const call = (...devices: UdevRulesOptions['devices'] & object): string =>
      udevRules({ group: 'vfio', devices, ...roots });
    await vfioFailure(() => call('0000:77:00.0'), 'ERR_VFIO_NO_DEVICE');
    await vfioFailure(() => call({ bus: 'platform', address: 'a?b' }), 'ERR_VFIO_NO_DEVICE');
    for (const address of ['a*b', 'a"b', 'a%kb']) {
      assert.throws(() => call({ bus: 'platform', address }), { code: 'ERR_INVALID_ARG_VALUE' });
    }
    assert.throws(() => call(), { code: 'ERR_INVALID_ARG_VALUE' });
  });
});

/** A group that is in no database, and one that is in every. */
const nobodys = 'vfio-of-no-test';

describe('vfio udev', () => {
  it('prints the rules, and that there is no such group', async () => {
    const { status, out, err } = await vfio(['udev', '--group', nobodys, '--mode', '660']);
    assert.equal(status, 0);
    assert.equal(out, udevRules({ group: nobodys }));
    assert.match(
      err,
      /^vfio udev: there is no group vfio-of-no-test.*\nhint: sudo groupadd --system/,
    );
  });

  it('writes them, says what to run, and replaces its own file only', async () => {
    const folder = tree({ 'other.rules': '' });
    const argv = ['udev', '--group', 'root', '--install', '--dir', folder];
    const path = join(folder, '70-vfio-root.rules');
    const { status, out, err } = await vfio(argv);
    assert.equal(status, 0, err);
    // A machine without an IOMMU is told of that.
    assert.match(err, /^(?:vfio udev: .*IOMMU.*\n)?$/);
    const [first, ...more] = out.split('\n');
    assert.equal(first, `${path}: written`);
    assert.deepEqual(more.slice(1), [
      '  udevadm control --reload',
      '  udevadm trigger --settle --subsystem-match=vfio-dev --subsystem-match=vfio',
      '  udevadm trigger --settle --subsystem-match=misc --sysname-match=iommu',
      '',
    ]);
    assert.equal(readFileSync(path, 'utf8'), udevRules({ group: 'root' }));

    assert.match((await vfio(argv)).out, /: unchanged\n/);
    assert.match((await vfio([...argv, '--mode', '0666'])).out, /: replaced\n/);
    assert.equal(readFileSync(path, 'utf8'), udevRules({ group: 'root', mode: 0o666 }));

    writeFileSync(path, 'SUBSYSTEM=="vfio", MODE="0600"\n');
    const refused = await vfio(argv);
    assert.deepEqual([refused.status, refused.out], [1, '']);
    assert.match(refused.err, /is there already, and is not a file that this command wrote/);
    assert.equal(readFileSync(path, 'utf8'), 'SUBSYSTEM=="vfio", MODE="0600"\n');
    assert.deepEqual(readdirSync(folder).sort(), ['70-vfio-root.rules', 'other.rules']);
  });

  it('writes nothing for a group that is not there', async () => {
    const folder = tree({ kept: '' });
    const { status, out, err } = await vfio([
      'udev',
      '--group',
      nobodys,
      '--install',
      '--dir',
      folder,
    ]);
    assert.deepEqual([status, out], [1, '']);
    assert.match(err, /there is no group.*nothing is written\n$/s);
    assert.deepEqual(readdirSync(folder), ['kept']);
  });

  it('says that a folder is not there', async () => {
    const folder = join(tree({ kept: '' }), 'absent');
    const { status, err } = await vfio(['udev', '--group', 'root', '--install', '--dir', folder]);
    assert.equal(status, 1);
    assert.match(
      err,
      /70-vfio-root.rules was not written: ENOENT.*\nhint: .*absent has to be there/,
    );
  });

  const misuse: [string[], RegExp][] = [
    [[], /^vfio udev: --group <name> is missing/],
    [['3b:00.0'], /--group <name> is missing/],
    [['--group', 'a"b'], /--group must be the name of a Unix group/],
    [['--group', 'root', '--mode', '0600'], /--mode must be 0660, or another .* not '0600'/],
    [['--group', 'root', '--mode', 'rw'], /--mode must be/],
    [
      ['--group', 'root', '--dir', '/tmp'],
      /--dir says where --install writes: give --install, too/,
    ],
    [['--group', 'root', '3b:00'], /must be a device address/],
  ];
  for (const [argv, message] of misuse) {
    it(`refuses: vfio udev ${argv.join(' ')}`, async () => {
      const { status, out, err } = await vfio(['udev', ...argv]);
      assert.deepEqual([status, out], [2, '']);
      assert.match(err, message);
      assert.match(err, /^Try: vfio udev --help$/m);
    });
  }

  it('says of its help that devices may be left out', async () => {
    assert.match(
      (await vfio(['udev', '--help'])).out,
      /^Usage: vfio udev \[device…\] \[options\]$/m,
    );
  });
});

describe('what udev rules give nothing of', () => {
  const bridge = '0000:00:04.0';
  const roots = (more: Files = {}): { sysfsRoot: string } => {
    const files = sysfsFiles({
      pci: {
        [nvme]: pciDevice(11),
        '0000:3c:00.0': pciDevice(12, boundToVfio('vfio0')),
        '0000:3d:00.0': pciDevice(13, boundToVfio('noiommu-vfio1', '511:1\n')),
        [bridge]: pciDevice(8, { class: '0x060400\n', '0000:3b:00.0/uevent': '' }),
      },
    });
    delete files['bus/pci/devices/0000:3b:00.0/iommu_group'];
    return { sysfsRoot: tree({ ...files, 'class/net/lo': '', ...more }) };
  };

  it('is a bridge, which is refused with what is behind it', async () => {
    const error = await vfioFailure(() => notGiven([bridge], roots()), 'ERR_VFIO_UNSUPPORTED');
    assert.match(error.message, /^0000:00:04\.0 is a bridge or a port, which VFIO does not take/);
    assert.equal(error.hint, 'name what is behind it: 0000:3b:00.0');
  });

  it('is a device without an IOMMU, bound or not, with a cdev or without', async () => {
    const named = [nvme, '0000:3c:00.0', '0000:3d:00.0'];
    const [said = '', ...more] = await notGiven(named, roots());
    assert.match(
      said,
      /^no IOMMU confines 0000:3b:00\.0 and 0000:3d:00\.0: .*stay root's.*CAP_SYS_RAWIO/,
    );
    assert.deepEqual(more, []);
    assert.deepEqual(await notGiven(['0000:3c:00.0'], roots()), []);
  });

  it('is everything where the kernel uses no IOMMU', async () => {
    const device = pciDevice(0);
    delete device['iommu_group'];
    const without = { ...sysfsFiles({ pci: { [nvme]: device } }), 'class/net/lo': '' };
    const [said = '', ...more] = await notGiven(undefined, { sysfsRoot: tree(without) });
    assert.match(
      said,
      /^there are no IOMMU groups: .*\. Nodes of devices .* these rules give nothing now$/,
    );
    assert.deepEqual(more, []);
    const hidden = await notGiven(undefined, { sysfsRoot: tree({}) });
    assert.match(hidden.join(), /^whether the kernel uses an IOMMU could not be looked at: /);
  });
});

describe('a Unix group', () => {
  const file = (): string => join(tree({ group: 'root:x:0:\nvfio:x:107:me\nbad:x::\n' }), 'group');
  const absent = '/nonexistent/getent';

  it('is asked of the C library', async () => {
    assert.deepEqual(await lookUpGroup('root'), { state: 'found', gid: 0 });
    assert.deepEqual(await lookUpGroup(nobodys), { state: 'absent' });
  });

  it('is looked for in /etc/group where there is no getent; what is not there may be elsewhere', async () => {
    const sources = { getent: absent, file: file() };
    assert.deepEqual(await lookUpGroup('vfio', sources), { state: 'found', gid: 107 });
    for (const name of ['vfi', 'bad']) {
      const { state, ...more } = await lookUpGroup(name, sources);
      assert.equal(state, 'unknown');
      assert.match(JSON.stringify(more), /does not have it, and .*getent did not tell: .*ENOENT/);
    }
  });

  it('is not said to be absent where nothing could be looked at', async () => {
    const found = await lookUpGroup('vfio', { getent: absent, file: '/nonexistent/group' });
    assert.equal(found.state, 'unknown');
    const failing = await lookUpGroup('vfio', { getent: 'false', file: '/nonexistent/group' });
    assert.match(JSON.stringify(failing), /false did not tell: exit status 1, and ENOENT/);
    const silent = await lookUpGroup('vfio', { getent: 'true', file: '/nonexistent/group' });
    assert.match(JSON.stringify(silent), /its answer was no group/);
  });
});
