import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { groupsText, whatSaysMore, whyNone } from '../../lib/cli/groups.ts';
import { listGroups, listGroupsSync, type ListedGroup } from '../../lib/index.ts';
import { groupFiles, richHost } from '../support/fake_groups.ts';
import { vfioFailure } from '../support/errors.ts';
import { pciDevice } from '../support/sysfs.ts';
import { put, tree } from '../support/tree.ts';

function richGroups(): ListedGroup[] {
  return listGroupsSync({ sysfsRoot: tree(richHost) });
}

function shapeOf({ group, type, isolation, viability, devices, hidden }: ListedGroup): unknown[] {
  const addresses = devices.map(({ address, verdict }) => `${address} ${verdict}`);
  return [group, type, isolation, viability, addresses, hidden];
}

const mdev = '6d747479-0000-4000-8000-000000000001';

describe('listGroups', () => {
  it('answers groups by their numbers, with devices by theirs', async () => {
    const sysfsRoot = tree(richHost);
    const groups = await listGroups({ sysfsRoot });
    assert.deepEqual(groups, listGroupsSync({ sysfsRoot }));
    assert.deepEqual(groups.map(shapeOf), [
      [2, 'DMA', 'iommu', 'viable', ['0000:3b:00.0 ok'], []],
      [
        ...[10, 'DMA-FQ', 'iommu', 'not-viable'],
        ['0000:00:1f.0 host-driver', '0000:00:1f.3 host-driver'],
        [],
      ],
      [
        ...[11, 'identity', 'iommu', 'viable'],
        ['0000:00:1c.0 ok', '0000:3c:00.0 ok', '0000:3c:00.1 ok'],
        [],
      ],
      [12, 'DMA', 'iommu', 'unknown', ['0000:3d:00.0 ok'], ['0000:3d:00.1']],
      [13, 'DMA', 'iommu', 'unknown', [], ['0000:3e:00.0']],
      [20, 'unknown', 'emulated', 'viable', [`${mdev} ok`], []],
    ]);
    const [, chipSet, multifunction] = groups;
    assert.equal(chipSet?.devices[1]?.uses?.[0]?.name, 'eth0');
    assert.equal(multifunction?.devices[0]?.bridge, true);
    assert.equal(multifunction.devices[1]?.cdev?.name, 'vfio4');
  });

  it('says that nothing confines a device that VFIO takes without an IOMMU', () => {
    const noiommu = { name: 'vfio-noiommu', type: 'unknown' };
    const devices = { '0000:3b:00.0': pciDevice(0) };
    const [group] = listGroupsSync({ sysfsRoot: tree(groupFiles({ 0: { ...noiommu, devices } })) });
    assert.deepEqual([group?.isolation, group?.viability], ['none', 'viable']);
    assert.match(whyNone(group ? [group] : []) ?? '', /no group is of an IOMMU/);
  });

  it('answers none where the kernel has none', () => {
    const files = { 'bus/pci/devices/.keep': '' };
    assert.deepEqual(listGroupsSync({ sysfsRoot: tree(files) }), []);
    const empty = tree(files);
    mkdirSync(`${empty}/kernel/iommu_groups`, { recursive: true });
    assert.deepEqual(listGroupsSync({ sysfsRoot: empty }), []);
    assert.match(whyNone([]) ?? '', /there are no IOMMU groups: .*vfio doctor/);
    assert.equal(whyNone(richGroups()), undefined);
  });

  for (const how of ['absent', 'empty']) {
    it(`says that the groups are hidden where devices have some: ${how}`, async () => {
      const sysfsRoot = tree(richHost);
      const path = `${sysfsRoot}/kernel/iommu_groups`;
      rmSync(path, { recursive: true });
      if (how === 'empty') mkdirSync(path);
      // A link that leads nowhere still says which group it is.
      const { reason, facts } = await vfioFailure(() => listGroups({ sysfsRoot }), 'ENOENT');
      assert.deepEqual([reason, facts], ['sysfs-absent', { path, code: 'ENOENT' }]);
    });
  }

  it('takes a group whose folder of devices is hidden for unknown, not for viable', () => {
    const sysfsRoot = tree(richHost);
    rmSync(`${sysfsRoot}/kernel/iommu_groups/2/devices`, { recursive: true });
    const [group] = listGroupsSync({ sysfsRoot });
    assert.ok(group);
    assert.deepEqual(shapeOf(group), [2, 'DMA', 'iommu', 'unknown', [], []]);
  });

  it('is not viable where the host has what is to be seen, whatever is hidden', () => {
    const group = {
      type: 'DMA',
      devices: { '0000:3b:00.0': pciDevice(5, { driver: { pointsTo: '../drivers/nvme' } }) },
      hidden: ['0000:3b:00.1'],
    };
    const [found] = listGroupsSync({ sysfsRoot: tree(groupFiles({ 5: group })) });
    assert.equal(found?.viability, 'not-viable');
  });

  it('says of a type that is not there that it is not told', () => {
    const sysfsRoot = tree(groupFiles({ 1: { devices: { '0000:3b:00.0': pciDevice(1) } } }));
    assert.equal(listGroupsSync({ sysfsRoot })[0]?.type, null);
    // What is no number, or no folder, is no group.
    put(sysfsRoot, { 'kernel/iommu_groups/x/type': 'DMA\n' });
    writeFileSync(`${sysfsRoot}/kernel/iommu_groups/7`, '');
    assert.deepEqual(
      listGroupsSync({ sysfsRoot }).map(({ group }) => group),
      [1],
    );
  });
});

const text = `group 2  DMA, viable
└─ 0000:3b:00.0                          1b36:0010  vfio-pci  NVMe controller      VFIO, vfio3
group 10  DMA-FQ, not viable: the host has it (lpc_ich, e1000e)
├─ 0000:00:1f.0                          1b36:0010  lpc_ich   ISA bridge           the host's
└─ 0000:00:1f.3                          1b36:0010  e1000e    Ethernet controller  the host's: eth0
group 11  identity, viable
├─ 0000:00:1c.0                          1b36:0010  pcieport  PCI bridge           a bridge: stays with the host
├─ 0000:3c:00.0                          1b36:0010  vfio-pci  NVMe controller      VFIO, vfio4
└─ 0000:3c:00.1                          1b36:0010  -         audio device (HDA)   free: no driver
group 12  DMA, not all of its devices are to be seen
├─ 0000:3d:00.0                          1b36:0010  -         NVMe controller      free: no driver
└─ 0000:3d:00.1  is not to be seen here
group 13  DMA, not all of its devices are to be seen
└─ 0000:3e:00.0  is not to be seen here
group 20  confined by its driver, viable
└─ 6d747479-0000-4000-8000-000000000001  -          vfio-pci  mediated device      VFIO, vfio12`;

describe('vfio groups', () => {
  it('names the doctor where a group cannot be given away', () => {
    const found = richGroups();
    const [shut] = found.filter(({ viability }) => viability !== 'viable');
    const { address } = shut?.devices[0] ?? {};
    assert.match(
      whatSaysMore(found) ?? '',
      new RegExp(`^vfio doctor <device>, such as ${address},`),
    );
    assert.equal(whatSaysMore(found.filter(({ viability }) => viability === 'viable')), undefined);
  });

  it('prints a tree', () => {
    assert.equal(groupsText(richGroups(), { colour: false }), text);
  });

  it('fits every width of a terminal, but for the groups themselves', () => {
    const groups = richGroups();
    for (const width of [20, 40, 79, 80, 120]) {
      const lines = groupsText(groups, { colour: false, width }).split('\n');
      const devices = lines.filter((line) => /^[├└]/.test(line) && !line.endsWith('seen here'));
      assert.equal(devices.length, 8);
      for (const line of devices) assert.ok(line.length <= width, line);
    }
  });
});
