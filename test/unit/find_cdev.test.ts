import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Roots, SysfsDevice } from '../../lib/core/location.ts';
import { decodeFacts, describeDevice } from '../../lib/locate/facts.ts';
import {
  findCdev,
  findGroup,
  isNoiommu,
  isWithoutIommu,
  sameElsewhere,
} from '../../lib/locate/find_cdev.ts';
import { failure } from '../support/errors.ts';
import { boundFacts } from '../support/sysfs.ts';
import { type Entry, put, tree } from '../support/tree.ts';

const address = '0000:3b:00.0';

/** A sysfs with one PCI device. */
function sysfs(files: Record<string, Entry>): Roots {
  const at = (name: string): string => `bus/pci/devices/${address}/${name}`;
  const all: Record<string, Entry> = {
    [at('subsystem')]: { pointsTo: '../../../../bus/pci' },
    ...Object.fromEntries(Object.entries(files).map(([name, entry]) => [at(name), entry])),
  };
  return { sysfsRoot: tree(all), devRoot: '/dev' };
}

describe('findCdev', () => {
  it('reads the name and the numbers from sysfs', () => {
    const roots = sysfs({ 'vfio-dev/vfio17/dev': '511:17\n' });
    assert.deepEqual(findCdev(address, roots), {
      device: {
        bus: 'pci',
        address,
        sysfsPath: `${roots.sysfsRoot}/bus/pci/devices/${address}`,
      },
      name: 'vfio17',
      major: 511,
      minor: 17,
      path: '/dev/vfio/devices/vfio17',
    });
  });

  it('takes the noiommu name, and no other', () => {
    const roots = sysfs({ 'vfio-dev/vfio-x/dev': '1:1', 'vfio-dev/noiommu-vfio2/dev': '511:2\n' });
    assert.equal(findCdev(address, roots).name, 'noiommu-vfio2');
  });

  it('knows the folder that the first drafts of the kernel had', () => {
    const roots = sysfs({ 'vfio/vfio3/dev': '511:3\n' });
    assert.deepEqual([findCdev(address, roots).name, findCdev(address, roots).minor], ['vfio3', 3]);
  });

  it('names the driver of a device that has another', async () => {
    const roots = sysfs({ driver: { pointsTo: '../../drivers/nvme' } });
    const error = await failure(() => findCdev(address, roots), 'ERR_VFIO_NOT_BOUND_TO_VFIO');
    assert.match(error.message, /0000:3b:00\.0 is bound to the driver nvme/);
  });

  it('says that a device has no driver', async () => {
    const error = await failure(() => findCdev(address, sysfs({})), 'ERR_VFIO_NOT_BOUND_TO_VFIO');
    assert.match(error.message, /has no driver/);
  });

  for (const [title, group, why] of [
    ['at all', 'DMA', ': it was built without CONFIG_VFIO_DEVICE_CDEV'],
    ['for devices without an IOMMU', 'vfio-noiommu', ''],
  ] as const) {
    it(`says that the kernel makes no cdevs ${title}`, () => {
      const roots = sysfs({ 'vfio-dev/vfio0/uevent': '', 'iommu_group/name': group });
      assert.throws(() => findCdev(address, roots), {
        code: 'ERR_VFIO_NO_CDEV',
        message: `the kernel makes no device node for ${address} (vfio0 has no 'dev' in sysfs)${why}`,
        path: `${roots.sysfsRoot}/bus/pci/devices/${address}/vfio-dev/vfio0`,
        device: address,
      });
    });
  }

  it('has the numbers of uevent where dev is not there yet, or not any more', () => {
    const roots = sysfs({
      'vfio-dev/vfio7/uevent': 'MAJOR=511\nMINOR=7\nDEVNAME=vfio/devices/vfio7\n',
    });
    const { name, major, minor, path } = findCdev(address, roots);
    assert.deepEqual([name, major, minor, path], ['vfio7', 511, 7, '/dev/vfio/devices/vfio7']);
  });

  it('takes a folder that is only begun, or nearly gone, for none', async () => {
    const roots = sysfs({ 'vfio-dev/vfio7/power/control': 'auto\n' });
    await failure(() => findCdev(address, roots), 'ERR_VFIO_NOT_BOUND_TO_VFIO');
  });

  it('says that there is no such device', async () => {
    const error = await failure(() => findCdev('0000:3c:00.0', sysfs({})), 'ERR_VFIO_NO_DEVICE');
    assert.match(error.message, /0000:3c:00\.0/);
  });
});

describe('findGroup', () => {
  const group = { pointsTo: '../../../../kernel/iommu_groups/11' };
  const bound = { 'vfio-dev/vfio3/uevent': '' };

  /** A sysfs with one PCI device, and with VFIO's groups. */
  function withGroups(files: Record<string, Entry>, groups: Record<string, string>): Roots {
    const roots = sysfs(files);
    const entries = Object.entries(groups).map(([name, dev]) => [`class/vfio/${name}/dev`, dev]);
    put(roots.sysfsRoot, Object.fromEntries(entries) as Record<string, Entry>);
    return roots;
  }

  it('reads the name and the numbers from sysfs', () => {
    const roots = withGroups(
      { ...bound, iommu_group: group },
      { '11': '241:0\n', '12': '241:1\n' },
    );
    const location = findGroup(address, roots);
    assert.deepEqual(location, {
      device: { bus: 'pci', address, sysfsPath: `${roots.sysfsRoot}/bus/pci/devices/${address}` },
      name: '11',
      major: 241,
      minor: 0,
      path: '/dev/vfio/11',
      group: 11,
    });
    assert.equal(isNoiommu(location), false);
  });

  it('knows the groups that VFIO makes without an IOMMU, by their names', () => {
    const roots = withGroups({ ...bound, iommu_group: group }, { 'noiommu-11': '241:2\n' });
    const location = findGroup(address, roots);
    const { name, minor, path, group: number } = location;
    assert.deepEqual([name, minor, path, number], ['noiommu-11', 2, '/dev/vfio/noiommu-11', 11]);
    assert.equal(isNoiommu(location), true);
  });

  it('takes a group without an IOMMU for one only where its name in sysfs says so', () => {
    const named = (name: string): Omit<SysfsDevice, 'address'> => {
      const { sysfsRoot } = sysfs({ 'iommu_group/name': name });
      return { bus: 'pci', sysfsPath: `${sysfsRoot}/bus/pci/devices/${address}` };
    };
    const device = named('vfio-noiommu\n');
    assert.equal(isWithoutIommu(device), true);
    // VFIO makes the groups of mediated devices, too; their drivers confine these.
    assert.equal(isWithoutIommu({ ...device, bus: 'mdev' }), false);
    assert.equal(isWithoutIommu(named('another\n')), false);
    assert.equal(isWithoutIommu({ ...device, sysfsPath: '/nowhere' }), false);
  });

  for (const [title, files, groups] of [
    ['a device has no group', bound, { '11': '241:0\n' }],
    ['the kernel makes no node of it', { ...bound, iommu_group: group }, { '12': '241:1\n' }],
    ['what it says is no number', { ...bound, iommu_group: group }, { '11': 'x\n' }],
  ] as const) {
    it(`says so where ${title}`, () => {
      const roots = withGroups(files, groups);
      const sysfsPath = `${roots.sysfsRoot}/bus/pci/devices/${address}`;
      assert.throws(() => findGroup(address, roots), {
        code: 'ERR_VFIO_NO_GROUP',
        message:
          `the kernel makes no group node for ${address}: ` +
          'it was built without CONFIG_VFIO_GROUP, or the device has no IOMMU group',
        path: sysfsPath,
        device: address,
      });
    });
  }

  it('does not take what is hidden for what is not there', () => {
    const roots = withGroups({ ...bound, iommu_group: group }, {});
    assert.throws(() => findGroup(address, roots), {
      code: 'ERR_VFIO_NO_GROUP',
      message:
        `the group node of ${address} cannot be looked up: ` +
        `${roots.sysfsRoot}/class of sysfs is not there, or is empty`,
    });
  });

  it('says that a device is not there, and that none of VFIO’s drivers has it', () => {
    const roots = withGroups({ iommu_group: group }, { '11': '241:0\n' });
    assert.throws(() => findGroup('0000:3c:00.0', roots), {
      code: 'ERR_VFIO_NO_DEVICE',
      message: 'there is no device 0000:3c:00.0 on the bus pci',
      path: `${roots.sysfsRoot}/bus/pci/devices/0000:3c:00.0`,
      device: '0000:3c:00.0',
    });
    assert.throws(() => findGroup(address, roots), {
      code: 'ERR_VFIO_NOT_BOUND_TO_VFIO',
      message: `${address} has no driver: it needs a VFIO driver, such as vfio-pci`,
      path: `${roots.sysfsRoot}/bus/pci/devices/${address}`,
      device: address,
    });
  });

  it('names the devices at the same place of other domains', () => {
    const roots = sysfs({});
    put(roots.sysfsRoot, {
      'bus/pci/devices/0002:3c:00.0/vendor': '0x1b36\n',
      'bus/pci/devices/0001:3c:00.0/vendor': '0x1b36\n',
      'bus/pci/devices/0001:3c:00.1/vendor': '0x1b36\n',
    });
    assert.throws(() => findGroup('3c:00.0', roots), {
      message:
        'there is no device 0000:3c:00.0 on the bus pci; there is 0001:3c:00.0 and 0002:3c:00.0',
    });
    // Other buses have no domains.
    const other = { bus: 'platform', address: '0000:3c:00.0' };
    assert.throws(() => findGroup(other, roots), {
      message: 'there is no device 0000:3c:00.0 on the bus platform',
    });
  });

  it('takes for the device’s own place none of another domain', () => {
    const { sysfsRoot, devRoot } = sysfs({});
    put(sysfsRoot, { 'bus/pci/devices/0001:3b:00.0/vendor': '0x1b36\n' });
    const device = { bus: 'pci', address: '0001:3b:00.0' };
    assert.deepEqual(sameElsewhere(device, { sysfsRoot, devRoot }), [address]);
  });

  for (const find of [findCdev, findGroup, describeDevice]) {
    it(`names what is no object of options: ${find.name}`, () => {
      assert.throws(() => find(address, 7 as never), { name: 'TypeError', message: /"options"/ });
    });
  }
});

describe('describeDevice', () => {
  it('reads what sysfs says', () => {
    const roots = sysfs({
      vendor: '0x1b36\n',
      device: '0x0010\n',
      subsystem_vendor: '0x1af4\n',
      subsystem_device: '0x1100\n',
      class: '0x010802\n',
      revision: '0x02\n',
      driver: { pointsTo: '../../drivers/vfio-pci' },
      driver_override: 'vfio-pci\n',
      iommu_group: { pointsTo: '../../../../kernel/iommu_groups/11' },
      numa_node: '1\n',
    });
    assert.deepEqual(describeDevice(address, roots), {
      ...boundFacts(address, roots.sysfsRoot),
      numaNode: 1,
    });
  });

  it('answers null for what a device has not', () => {
    const facts = describeDevice(
      address,
      sysfs({ driver_override: '(null)\n', numa_node: '-1\n' }),
    );
    const { bus, sysfsPath, address: name, ...rest } = facts;
    assert.equal(bus, 'pci');
    assert.equal(name, address);
    assert.ok(sysfsPath.endsWith(address));
    assert.deepEqual(new Set(Object.values(rest)), new Set([null]));
  });

  it('takes a number only where it is nothing else', () => {
    const at = (numa_node: string): number | null =>
      describeDevice(address, sysfs({ numa_node })).numaNode;
    assert.deepEqual([at('12\n'), at('12 nodes\n'), at('node 12\n')], [12, null, null]);
  });

  it('throws what is no error of sysfs', () => {
    const mistake = new TypeError('a mistake of this package');
    const source = {
      text: (): string => {
        throw mistake;
      },
      linkName: () => undefined,
    };
    const device = { bus: 'pci', address, sysfsPath: '/sys' };
    assert.throws(() => decodeFacts(device, source, []), mistake);
  });

  it('says that there is no such device', async () => {
    await failure(() => describeDevice('0000:3c:00.0', sysfs({})), 'ERR_VFIO_NO_DEVICE');
  });
});
