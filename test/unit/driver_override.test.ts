import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  busyOverride,
  driverInUevent,
  driverLeft,
  overrideIn,
  readOverride,
} from '../../lib/locate/driver_override.ts';
import { describeDevice } from '../../lib/locate/facts.ts';
import { type Entry, tree } from '../support/tree.ts';

const address = '0000:3b:00.0';
const folder = `bus/pci/devices/${address}`;
const driver = { pointsTo: '../../drivers/vfio-pci' };
const uevent = 'DRIVER=vfio-pci\nPCI_ID=1B36:0010\n';

const rootWith = (files: Record<string, Entry>): string =>
  tree(
    Object.fromEntries(
      Object.entries({ subsystem: { pointsTo: '../../../../bus/pci' }, ...files }).map(
        ([name, entry]) => [`${folder}/${name}`, entry],
      ),
    ),
  );

const deviceWith = (files: Record<string, Entry>): { sysfsPath: string } => ({
  sysfsPath: `${rootWith(files)}/${folder}`,
});

describe('the driver that a device is being taken from', () => {
  it('is the one that uevent names while the link is gone', () => {
    assert.equal(driverLeft(deviceWith({ uevent })), 'vfio-pci');
    assert.equal(driverLeft(deviceWith({ uevent, driver })), undefined);
    assert.equal(driverLeft(deviceWith({ uevent: 'PCI_ID=1B36:0010\n' })), undefined);
    assert.equal(driverLeft(deviceWith({})), undefined);
  });

  it('is a line of uevent, and no part of one', () => {
    assert.equal(driverInUevent('PCI_ID=1B36:0010\nDRIVER=nvme\nMODALIAS=pci:v\n'), 'nvme');
    assert.equal(driverInUevent('OF_DRIVER=nvme\n'), undefined);
    assert.equal(driverInUevent('DRIVER=\n'), undefined);
    assert.equal(driverInUevent(undefined), undefined);
  });
});

describe('driver_override', () => {
  it('names a driver, or none', () => {
    const read = (text: string) => readOverride(deviceWith({ driver, driver_override: text }));
    assert.equal(read('vfio-pci\n'), 'vfio-pci');
    assert.equal(read('(null)\n'), null);
    assert.equal(read('\n'), null);
    assert.equal(readOverride(deviceWith({ driver })), null);
    assert.deepEqual([overrideIn(null), overrideIn('nvme')], [null, 'nvme']);
  });

  it('is not read while a device is being taken from its driver, since that would wait', () => {
    assert.equal(readOverride(deviceWith({ uevent, driver_override: 'vfio-pci\n' })), null);
    const sysfsRoot = rootWith({ uevent, driver_override: 'vfio-pci\n' });
    const facts = describeDevice(address, { sysfsRoot });
    assert.equal(facts.driverOverride, null);
    assert.deepEqual(facts.unread, [{ name: 'driver_override', code: 'EBUSY' }]);
  });

  it('is said to be busy then', () => {
    const { code, syscall, path } = busyOverride({ sysfsPath: '/sys/x' });
    assert.deepEqual([code, syscall, path], ['EBUSY', 'read', '/sys/x/driver_override']);
  });
});
