import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Roots } from '../../lib/core/location.ts';
import { describeDevice } from '../../lib/locate/facts.ts';
import { findCdev } from '../../lib/locate/find_cdev.ts';
import { failure } from '../support/errors.ts';
import { boundFacts } from '../support/sysfs.ts';
import { type Entry, tree } from '../support/tree.ts';

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

  it('says that the kernel makes no cdevs', async () => {
    const roots = sysfs({ 'vfio-dev/vfio0/uevent': '' });
    const error = await failure(() => findCdev(address, roots), 'ERR_VFIO_NO_CDEV');
    assert.match(error.message, /CONFIG_VFIO_DEVICE_CDEV/);
  });

  it('says that there is no such device', async () => {
    const error = await failure(() => findCdev('0000:3c:00.0', sysfs({})), 'ERR_VFIO_NO_DEVICE');
    assert.match(error.message, /0000:3c:00\.0/);
  });
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

  it('says that there is no such device', async () => {
    await failure(() => describeDevice('0000:3c:00.0', sysfs({})), 'ERR_VFIO_NO_DEVICE');
  });
});
