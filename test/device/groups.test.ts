import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { DOMParser } from '@xmldom/xmldom';
import { listDevices, listGroups, listGroupsSync, type ListedGroup } from '../../lib/index.ts';
import { sata, withSiblingOnHost } from '../support/chip_set.ts';
import { vfio } from '../support/cli.ts';
import { devices, itEach } from '../support/devices.ts';
import { hasModule } from '../support/hotplug.ts';
import { withoutIommu } from '../support/iommu.ts';
import { skip } from '../support/skip.ts';
import { tree } from '../support/tree.ts';

// What the kernel has is probed: these run on kernels with cdevs and without, with an IOMMU and
// without.

const folder = '/sys/kernel/iommu_groups';

async function groupWith(address: string): Promise<ListedGroup> {
  const groups = await listGroups();
  const found = groups.find((group) => group.devices.some((device) => device.address === address));
  return found ?? assert.fail(`no group with ${address}`);
}

describe('IOMMU groups of the lab', () => {
  it('are those of sysfs, with its types and devices', async () => {
    const groups = await listGroups();
    assert.deepEqual(groups, listGroupsSync());
    const numbers = readdirSync(folder).map(Number);
    assert.deepEqual(groups.map(({ group }) => group), numbers.sort((a, b) => a - b)); // prettier-ignore
    for (const { group, type, devices: members, hidden, unread } of groups) {
      assert.equal(type, readFileSync(`${folder}/${group}/type`, 'utf8').trim());
      const addresses = members.map(({ address }) => address);
      assert.deepEqual(addresses, readdirSync(`${folder}/${group}/devices`).sort());
      assert.deepEqual([hidden, unread], [[], undefined]);
    }
    const listed = (await listDevices()).filter(({ iommuGroup }) => iommuGroup !== null);
    assert.equal(groups.flatMap((group) => group.devices).length, listed.length);
  });

  itEach('are viable where VFIO has the device', async ({ address, bus }) => {
    const { viability, isolation, devices: members } = await groupWith(address);
    assert.equal(viability, 'viable');
    const confined = bus === 'mdev' ? 'emulated' : withoutIommu ? 'none' : 'iommu';
    assert.equal(isolation, confined);
    const device = members.find((each) => each.address === address);
    assert.deepEqual([device?.boundToVfio, device?.verdict], [true, 'ok']);
  });

  it('are not viable where the host has devices', async function () {
    if (withoutIommu) skip(this, 'an IOMMU');
    if (!hasModule('ahci')) skip(this, 'a kernel with the module ahci');
    await withSiblingOnHost(async () => {
      const chipSet = await groupWith(sata);
      assert.equal(chipSet.viability, 'not-viable');
      assert.equal(chipSet.devices.length, 3);
      assert.equal(chipSet.devices.find(({ address }) => address === sata)?.driver, 'ahci');
    });
    assert.equal((await groupWith(sata)).viability, 'viable');
  });
});

describe('vfio groups in the lab', () => {
  it('prints them, on kernels with an IOMMU and without', async () => {
    const { status, out, err } = await vfio(['groups']);
    assert.equal(status, 0);
    assert.equal(/(?:no group is of an IOMMU|there are no IOMMU groups): /.test(err), withoutIommu);
    // The virtio devices of the lab stay with its kernel.
    const more =
      /^vfio groups: vfio doctor <device>, such as \S+, says what keeps its group from being given away, .*\n$/;
    if (!withoutIommu) assert.match(err, more);
    for (const { address } of devices) assert.ok(out.includes(`─ ${address} `), out);
    assert.match(out, withoutIommu ? /NO IOMMU, viable, and reaches all memory/ : /^group \d+ {2}DMA/m); // prettier-ignore
  });

  it('prints the same as JSON', async () => {
    const { status, out } = await vfio(['groups', '--json']);
    assert.equal(status, 0);
    assert.deepEqual(JSON.parse(out), await listGroups());
  });

  it('draws them', async () => {
    const results = process.env['VFIO_LAB_RESULTS'];
    const file = join(results ?? tree({}), 'groups.svg');
    assert.deepEqual(await vfio(['groups', '--svg', file]).then(({ status, out }) => [status, out]), [0, '']); // prettier-ignore
    const document = new DOMParser().parseFromString(readFileSync(file, 'utf8'), 'image/svg+xml');
    const texts = Array.from(document.getElementsByTagName('text'), (text) => text.textContent);
    for (const { address } of devices) assert.ok(texts.includes(address), address);
    const dot = await vfio(['groups', '--dot']);
    assert.match(dot.out, /^digraph "IOMMU groups" \{\n/);
    if (results !== undefined) writeFileSync(join(results, 'groups.dot'), dot.out);
  });

  it('says that it takes one form at a time, and what could not be written', async () => {
    const both = await vfio(['groups', '--json', '--dot']);
    assert.equal(both.status, 2);
    assert.match(both.err, /exclude each other/);
    const nowhere = await vfio(['groups', '--svg', '/nowhere/groups.svg']);
    assert.equal(nowhere.status, 1);
    assert.match(nowhere.err, /^vfio groups: \/nowhere\/groups\.svg was not written: ENOENT/m);
  });

  it('leaves the picture that was there where the disk is full, and names it', async function () {
    if (process.env['VFIO_LAB'] !== '1') skip(this, 'the lab: npm run test:lab');
    const place = tree({});
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8k', 'tmpfs', place]);
    assert.equal(mounted.status, 0, mounted.stderr.toString());
    try {
      const path = join(place, 'groups.svg');
      writeFileSync(path, 'old');
      writeFileSync(join(place, 'filler'), Buffer.alloc(4096));
      const { status, out, err } = await vfio(['groups', '--svg', path]);
      assert.deepEqual([status, out], [1, '']);
      assert.match(
        err,
        /groups\.svg was not written: ENOSPC: no space left on device\nhint: make room/,
      );
      assert.equal(readFileSync(path, 'utf8'), 'old');
      assert.deepEqual(readdirSync(place).sort(), ['filler', 'groups.svg']);
    } finally {
      spawnSync('umount', [place]);
    }
  });
});
