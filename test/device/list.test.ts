import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { it } from 'mocha';
import {
  describeDevice as factsOf,
  findCdev,
  identify,
  Iommufd,
  listDevices,
  listDevicesSync,
  openCdev,
  VfioDevice,
  type ListedDevice,
} from '../../lib/index.ts';
import { describeDevice, describeLab, devices } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { root } from '../support/root.ts';

describeDevice('listDevices', (spec) => {
  it('lists every test device as findCdev and describeDevice find it', async () => {
    const listed = await listDevices();
    assert.deepEqual(listDevicesSync(), listed);
    for (const { bus, address } of devices) {
      const found = listed.filter((one) => one.bus === bus && one.address === address);
      assert.equal(found.length, 1, address);
      const [{ boundToVfio, cdev, physfn, virtfns, sriovNumVfs, sriovTotalVfs, ...facts }] =
        found as [ListedDevice];
      const { device, ...location } = findCdev({ bus, address });
      assert.deepEqual(facts, factsOf(device));
      assert.deepEqual([boundToVfio, cdev], [true, location]);
      assert.equal(physfn, null);
      assert.equal(virtfns === null, sriovTotalVfs === null);
      assert.equal(sriovNumVfs === null, sriovTotalVfs === null);
    }
  });

  it('lists all that has a group, in order', async () => {
    const listed = await listDevices();
    const groups = '/sys/kernel/iommu_groups';
    const wanted = readdirSync(groups).flatMap((group) =>
      readdirSync(`${groups}/${group}/devices`).map((address) => `${address} ${group}`),
    );
    const found = listed
      .filter(({ iommuGroup }) => iommuGroup !== null)
      .map(({ address, iommuGroup }) => `${address} ${String(iommuGroup)}`);
    assert.deepEqual(found.toSorted(), wanted.toSorted());
    const keys = listed.map(({ bus, address }) => `${bus} ${address}`);
    assert.deepEqual(keys, keys.toSorted());
  });

  it('is what vfio list prints, piped', () => {
    const main = new URL('dist/cli/main.js', root).pathname;
    const vfio = (...args: string[]): string => {
      const command = spawnSync(process.execPath, [main, 'list', ...args], { encoding: 'utf8' });
      assert.deepEqual([command.status, command.stderr], [0, '']);
      return command.stdout;
    };
    const listed = listDevicesSync();
    assert.deepEqual(JSON.parse(vfio('--all', '--json')), listed);
    const bound = listed.filter(({ boundToVfio }) => boundToVfio);
    assert.deepEqual(JSON.parse(vfio('--json')), bound);
    const [heading, ...lines] = vfio().trimEnd().split('\n');
    assert.match(heading ?? '', /^ADDRESS +IDS +DRIVER +GROUP +CDEV/);
    for (const [at, { address, cdev }] of bound.entries()) {
      assert.ok(lines[at]?.startsWith(address) && lines[at].includes(cdev?.name ?? ''), lines[at]);
    }
    assert.ok(bound.some(({ address }) => address === spec.address));
  });
});

describeDevice('identify', (spec) => {
  it('knows the device of every cdev, bound or not', async () => {
    for (const { bus, address } of devices) {
      await using cdev = await openCdev({ bus, address });
      const { name, major, minor, device } = cdev;
      const wanted = { kind: 'cdev', ...device, name, major, minor };
      assert.deepEqual(identify(cdev.fd), { ...wanted, bound: false });
      await using bound = await cdev.bind();
      assert.deepEqual(identify(bound.fd), { ...wanted, bound: true });
    }
  });

  it('knows the device by any path, and an iommufd', () => {
    using iommufd = Iommufd.open();
    assert.deepEqual(identify(iommufd.fd), { kind: 'iommufd' });
    const fd = openSync(findCdev(spec).path, 'r');
    const identity = identify(fd);
    closeSync(fd);
    assert.equal(identity.kind === 'cdev' && identity.address, spec.address);
  });

  it('refuses what is neither', async () => {
    for (const path of ['/dev/null', '/dev/vfio/vfio', '/sys']) {
      if (!existsSync(path)) continue;
      const fd = openSync(path, 'r');
      await failure(() => identify(fd), 'ERR_VFIO_NOT_VFIO');
      closeSync(fd);
    }
    const device = await VfioDevice.open(spec);
    const { fd } = device;
    await device.close();
    await failure(() => identify(fd), 'EBADF');
  });
});

describeLab('SR-IOV in the list', ['nvme-sriov'], (lab) => {
  it('tells a physical function and its virtual ones', async () => {
    const device = lab['nvme-sriov'];
    const folder = `/sys/bus/pci/devices/${device.address}`;
    const numVfs = `${folder}/sriov_numvfs`;
    const parent = async (): Promise<ListedDevice | undefined> =>
      (await listDevices()).find(({ address }) => address === device.address);
    const total = Number(readFileSync(`${folder}/sriov_totalvfs`, 'utf8'));
    const before = await parent();
    assert.deepEqual([before?.sriovTotalVfs, before?.sriovNumVfs, before?.virtfns], [total, 0, []]);
    writeFileSync(numVfs, '2');
    try {
      const pf = await parent();
      assert.deepEqual([pf?.sriovNumVfs, pf?.virtfns?.length], [2, 2]);
      const listed = await listDevices();
      for (const address of pf?.virtfns ?? []) {
        const vf = listed.find((one) => one.address === address);
        assert.equal(vf?.physfn, device.address);
        assert.equal(vf.virtfns, null);
      }
    } finally {
      writeFileSync(numVfs, '0');
    }
  });
});
