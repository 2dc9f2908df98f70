import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { type Answer, binding, type Content } from '../../lib/core/binding.ts';
import {
  describeDevice,
  findCdev,
  listDevices,
  listDevicesSync,
  type ListedDevice,
} from '../../lib/index.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { boundFacts, boundToVfio, type Files, pciDevice, sysfsFiles } from '../support/sysfs.ts';
import { tree } from '../support/tree.ts';

const first = '0000:3b:00.0';
const second = '0000:3c:00.0';
const invalid = 'ERR_INVALID_ARG_TYPE';

function sysfs(buses: Record<string, Record<string, Files>>): string {
  return tree(sysfsFiles(buses));
}

const brief = (devices: ListedDevice[]): string[] =>
  devices.map(({ bus, address }) => `${bus} ${address}`);

/** Runs `body`; before a question to the addon that `when` knows, something happens to sysfs. */
async function meanwhile<T>(
  when: (entries: readonly string[]) => boolean,
  happens: () => void,
  body: () => T,
): Promise<T> {
  const native = binding();
  let happened = false;
  const run = await withBinding(
    {
      readFoldersSync: (folders, entries) => {
        if (!happened && when(entries)) {
          happened = true;
          happens();
        }
        return native.readFoldersSync(folders, entries);
      },
    },
    body,
  );
  assert.ok(happened);
  return run;
}

describe('listDevices', () => {
  it('tells all of a device', async () => {
    const bound = pciDevice(11, { ...boundToVfio('vfio3', '511:3\n'), numa_node: '1\n' });
    const sysfsRoot = sysfs({ pci: { [first]: bound } });
    const devices = await listDevices({ sysfsRoot, devRoot: '/host/dev' });
    assert.deepEqual(devices, [
      {
        ...boundFacts(first, sysfsRoot),
        numaNode: 1,
        boundToVfio: true,
        cdev: { name: 'vfio3', path: '/host/dev/vfio/devices/vfio3', major: 511, minor: 3 },
        physfn: null,
        virtfns: null,
        sriovNumVfs: null,
        sriovTotalVfs: null,
      },
    ]);
    assert.deepEqual(listDevicesSync({ sysfsRoot, devRoot: '/host/dev' }), devices);
  });

  it('knows every bus, takes what has a VFIO driver or a group, sorts by bus and address', () => {
    const mdev = { uevent: '', ...boundToVfio('noiommu-vfio0', '511:0\n') };
    const none = { uevent: '', vendor: '0x8086\n' };
    const sysfsRoot = sysfs({
      platform: { 'fe000000.dma': { uevent: '', iommu_group: { pointsTo: '../../7' } } },
      pci: { [second]: pciDevice(2), [first]: pciDevice(1), '0000:00:00.0': none },
      mdev: { '6d747479-0000-4000-8000-000000000001': mdev },
      cpu: { cpu0: none },
    });
    assert.deepEqual(brief(listDevicesSync({ sysfsRoot })), [
      'mdev 6d747479-0000-4000-8000-000000000001',
      `pci ${first}`,
      `pci ${second}`,
      'platform fe000000.dma',
    ]);
  });

  it('knows the folder of cdevs that the first drafts of the kernel had', () => {
    const { 'vfio-dev/vfio3/uevent': uevent = '', ...rest } = boundToVfio('vfio3');
    const draft = { ...rest, 'vfio/vfio3/uevent': uevent, 'vfio/vfio3/dev': '511:3\n' };
    const sysfsRoot = sysfs({ mdev: { a: { uevent: '', ...draft } } });
    const [device] = listDevicesSync({ sysfsRoot });
    const path = '/dev/vfio/devices/vfio3';
    assert.deepEqual(device?.cdev, { name: 'vfio3', path, major: 511, minor: 3 });
    assert.equal(device.boundToVfio, true);
  });

  it('answers null for what a device has not', () => {
    // The kernel's mdpy has a folder called vendor.
    const mdev = { uevent: '', 'vendor/vendor_id': '', ...boundToVfio('vfio0') };
    const sysfsRoot = sysfs({ mdev: { a: mdev } });
    const [device] = listDevicesSync({ sysfsRoot });
    assert.equal(device?.boundToVfio, true);
    assert.deepEqual([device.cdev, device.vendor, device.iommuGroup], [null, null, null]);
  });

  it('tells physical and virtual functions', () => {
    const virtual = (group: number): Files =>
      pciDevice(group, { physfn: { pointsTo: `../${first}` } });
    const parent = pciDevice(1, {
      sriov_totalvfs: '12\n',
      sriov_numvfs: '11\n',
      ...Object.fromEntries(
        Array.from({ length: 11 }, (_, at) => [`virtfn${at}`, { pointsTo: `../vf${at}` }]),
      ),
    });
    const idle = pciDevice(9, { sriov_totalvfs: '4\n', sriov_numvfs: '0\n' });
    const sysfsRoot = sysfs({ pci: { [first]: parent, vf0: virtual(2), [second]: idle } });
    const [pf, pf2, vf] = listDevicesSync({ sysfsRoot });
    assert.deepEqual([pf?.sriovNumVfs, pf?.sriovTotalVfs, pf?.physfn], [11, 12, null]);
    assert.deepEqual(
      pf?.virtfns,
      Array.from({ length: 11 }, (_, at) => `vf${at}`),
    );
    assert.deepEqual([pf2?.sriovNumVfs, pf2?.sriovTotalVfs, pf2?.virtfns], [0, 4, []]);
    assert.deepEqual([vf?.physfn, vf?.virtfns, vf?.sriovNumVfs], [first, null, null]);
  });

  it('lists a thousand devices', async () => {
    const devices = Object.fromEntries(
      Array.from({ length: 1000 }, (_, at) => [
        `0000:${at.toString(16).padStart(4, '0')}`,
        { uevent: '', iommu_group: { pointsTo: `../${at}` } },
      ]),
    );
    const listed = await listDevices({ sysfsRoot: sysfs({ pci: devices }) });
    assert.deepEqual(
      listed.map(({ iommuGroup }) => iommuGroup),
      Array.from({ length: 1000 }, (_, at) => at),
    );
  });

  it('refuses what are no roots', async () => {
    for (const wrong of [null, 3]) await failure(() => listDevices(wrong as never), invalid);
    await failure(() => listDevices({ sysfsRoot: 3 as never }), invalid);
    await failure(() => listDevicesSync({ devRoot: 3 as never }), invalid);
    await failure(() => listDevices({ sysfsRoot: '/sys\0' }), 'ERR_INVALID_ARG_VALUE');
  });

  it('fails where there is no sysfs, with the kernel’s error', async () => {
    const error = await failure(() => listDevices({ sysfsRoot: '/no/such' }), 'ENOENT');
    assert.match(error.message, /open '\/no\/such\/bus'/);
  });

  it('tells what of a device cannot be read, and all the rest of all', async () => {
    // It opens, and its reader gets EIO.
    const unreadable = { pointsTo: '/proc/self/mem' };
    const bound = pciDevice(1, { ...boundToVfio('vfio0', '511:0\n'), numa_node: unreadable });
    const { 'vfio-dev/vfio1/dev': dev, ...rest } = boundToVfio('vfio1', '511:1\n');
    assert.ok(dev);
    const noCdev = pciDevice(2, { ...rest, 'vfio-dev/vfio1/dev': unreadable });
    const third = '0000:3d:00.0';
    const sysfsRoot = sysfs({ pci: { [first]: bound, [second]: noCdev, [third]: pciDevice(3) } });
    const devices = await listDevices({ sysfsRoot });
    assert.deepEqual(brief(devices), [`pci ${first}`, `pci ${second}`, `pci ${third}`]);
    assert.deepEqual(
      devices.map(({ unread, iommuGroup }) => [iommuGroup, unread]),
      [
        [1, [{ name: 'numa_node', code: 'EIO' }]],
        [2, [{ name: 'vfio-dev/vfio1/dev', code: 'EIO' }]],
        [3, undefined],
      ],
    );
    assert.deepEqual(listDevicesSync({ sysfsRoot }), devices);
    const facts = describeDevice(first, { sysfsRoot });
    assert.deepEqual([facts.numaNode, facts.unread], [null, [{ name: 'numa_node', code: 'EIO' }]]);
    const error = await vfioFailure(() => findCdev(second, { sysfsRoot }), 'EIO');
    assert.equal(error.syscall, 'read');
  });

  it('lists a device of which nobody can tell whether it has a group', async () => {
    const EACCES = -13;
    const native = binding();
    const sysfsRoot = sysfs({ pci: { [first]: pciDevice(1), [second]: pciDevice(2) } });
    const closed = {
      readFoldersSync: (folders: string[], entries: readonly string[]): Content[] | Answer => {
        const contents = native.readFoldersSync(folders, entries);
        if (typeof contents !== 'object') return contents;
        const isClosed = (at: number): boolean =>
          folders[Math.floor(at / entries.length)]?.endsWith(second) === true;
        return contents.map((content, at) => (isClosed(at) ? EACCES : content));
      },
    };
    await withBinding(closed, () => {
      const devices = listDevicesSync({ sysfsRoot });
      assert.deepEqual(brief(devices), [`pci ${first}`, `pci ${second}`]);
      const unread = devices[1]?.unread ?? [];
      assert.ok(unread.some(({ name, code }) => name === 'iommu_group' && code === 'EACCES'));
    });
  });

  it('fails where the kernel refuses a file', async () => {
    const answer = (): number[] => [-13];
    const sysfsRoot = sysfs({ pci: { [first]: pciDevice(1) } });
    await withBinding({ readFoldersSync: answer }, async () => {
      const error = await failure(() => listDevicesSync({ sysfsRoot }), 'EACCES');
      assert.match(error.message, /bus/);
    });
    await withBinding({ readFolders: () => Promise.resolve(-11) }, async () => {
      await failure(() => listDevices({ sysfsRoot }), 'EAGAIN');
    });
  });
});

describe('listDevices while devices come and go', () => {
  const bound = pciDevice(1, boundToVfio('vfio0', '511:0\n'));

  it('skips a device of which a part is gone already', () => {
    const { uevent, ...rest } = bound;
    assert.ok(uevent);
    const sysfsRoot = sysfs({ pci: { [first]: rest, [second]: bound } });
    assert.deepEqual(brief(listDevicesSync({ sysfsRoot })), [`pci ${second}`]);
  });

  // What is asked in turn: buses, devices, which matter, their facts, their cdevs.
  for (const asked of ['./', 'devices/', 'vfio-dev/', 'uevent?', 'dev']) {
    it(`skips a device that goes before '${asked}' is asked`, async () => {
      const sysfsRoot = sysfs({ pci: { [first]: bound, [second]: bound } });
      const devices = await meanwhile(
        (entries) => entries.includes(asked),
        () => {
          rmSync(`${sysfsRoot}/bus/pci/devices/${first}`, { recursive: true });
        },
        () => listDevicesSync({ sysfsRoot }),
      );
      assert.deepEqual(brief(devices), [`pci ${second}`]);
    });
  }

  it('has the numbers of uevent where dev is not there yet, or not any more', () => {
    const uevent = (text: string) =>
      listDevicesSync({
        sysfsRoot: sysfs({ pci: { [first]: pciDevice(1, { 'vfio-dev/vfio7/uevent': text }) } }),
      })[0]?.cdev;
    const path = '/dev/vfio/devices/vfio7';
    assert.deepEqual(uevent('MAJOR=511\nMINOR=7\n'), { name: 'vfio7', path, major: 511, minor: 7 });
    // Of a kernel without cdevs.
    assert.equal(uevent(''), null);
  });

  it('reads a device again that lost its driver meanwhile', async () => {
    const sysfsRoot = sysfs({ pci: { [first]: bound } });
    const [device] = await meanwhile(
      (entries) => entries.includes('dev'),
      () => {
        for (const name of ['driver', 'vfio-dev']) {
          rmSync(`${sysfsRoot}/bus/pci/devices/${first}/${name}`, { recursive: true });
        }
      },
      () => listDevicesSync({ sysfsRoot }),
    );
    assert.deepEqual([device?.driver, device?.boundToVfio, device?.cdev], [null, false, null]);
  });

  it('skips a device that is no longer of interest', async () => {
    const sysfsRoot = sysfs({ pci: { [first]: pciDevice(1) } });
    const devices = await meanwhile(
      (entries) => entries.includes('uevent?'),
      () => {
        rmSync(`${sysfsRoot}/bus/pci/devices/${first}/iommu_group`);
      },
      () => listDevicesSync({ sysfsRoot }),
    );
    assert.deepEqual(devices, []);
  });

  it('skips a physical function whose virtual functions keep changing', async () => {
    const virtfn0 = { pointsTo: `../${second}` };
    const parent = pciDevice(1, { sriov_totalvfs: '4\n', virtfn0 });
    const sysfsRoot = sysfs({ pci: { [first]: parent } });
    const native = binding();
    const changing = {
      readFoldersSync: (folders: string[], entries: readonly string[]): Answer | Content[] => {
        const isGone = entries.includes('virtfn0@');
        return native.readFoldersSync(isGone ? folders.map(() => '/none') : folders, entries);
      },
    };
    await withBinding(changing, () => {
      assert.deepEqual(listDevicesSync({ sysfsRoot }), []);
    });
    assert.deepEqual(listDevicesSync({ sysfsRoot })[0]?.virtfns, [second]);
  });

  it('asks no file of a physical function that waits for its lock', async () => {
    const parent = pciDevice(1, { sriov_totalvfs: '4\n', virtfn0: { pointsTo: `../${second}` } });
    // Being taken from its driver: the link is gone, and the kernel still names it.
    const left = pciDevice(2, { uevent: 'DRIVER=vfio-pci\nPCI_CLASS=10802\n' });
    const sysfsRoot = sysfs({ pci: { [first]: parent, [second]: left } });
    const asked: string[] = [];
    const native = binding();
    const listening = {
      readFoldersSync: (folders: string[], entries: readonly string[]): Answer | Content[] => {
        for (const folder of folders) asked.push(...entries.map((entry) => `${folder}/${entry}`));
        return native.readFoldersSync(folders, entries);
      },
    };
    const devices = await withBinding(listening, () => listDevicesSync({ sysfsRoot }));
    const waiting = asked.filter((path) => /sriov_(?!totalvfs)|driver_override$/.test(path));
    const folder = `${sysfsRoot}/bus/pci/devices`;
    assert.deepEqual(waiting, [`${folder}/${first}/driver_override`]);
    const [, device] = devices;
    const unread = [{ name: 'driver_override', code: 'EBUSY' }];
    assert.deepEqual(
      [device?.driverOverride, device?.driver, device?.unread],
      [null, null, unread],
    );
    const { driverOverride, unread: told } = describeDevice(second, { sysfsRoot });
    assert.deepEqual([driverOverride, told], [null, unread]);
  });

  it('shows the whole of a device or nothing of it, in a race', async () => {
    const sysfsRoot = sysfs({ pci: { [first]: bound, [second]: bound } });
    const [whole] = await listDevices({ sysfsRoot });
    // As the kernel does it: uevent goes first, and a device appears with all its files.
    const script = `cd "$0/bus/pci/devices" && while [ ! -e "$0/enough" ]; do
      rm ${first}/uevent; rm -r ${first}; cp -rP ${second} ../new; mv ../new ${first}
    done`;
    const shell = spawn('sh', ['-c', script, sysfsRoot], { stdio: 'ignore' });
    const ended = once(shell, 'exit');
    let seen = 0;
    for (let round = 0; round < 1000; round++) {
      const [device] = (await listDevices({ sysfsRoot })).filter(
        ({ address }) => address === first,
      );
      if (device === undefined) continue;
      seen++;
      assert.deepEqual(device, whole);
    }
    writeFileSync(`${sysfsRoot}/enough`, '');
    await ended;
    assert.ok(seen > 0);
  });
});
