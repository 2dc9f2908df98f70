import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { it } from 'mocha';
import { Iommufd, openCdev, openCdevSync, VfioDevice } from '../../lib/index.ts';
import { describeDevice } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { assertNoMore, openFds, vfioFds, vfioMaps } from '../support/proc.ts';

describeDevice('a device from open to close', (spec) => {
  it('is attached to an address space, to another, to none', async () => {
    await using iommufd = Iommufd.open();
    await using device = await VfioDevice.open(spec, { iommufd });
    assert.equal(device.iommufd, iommufd);
    assert.ok(device.devId > 0);
    await using first = iommufd.createIoas();
    await using second = iommufd.createIoas();
    assert.notEqual(first.id, second.id);
    assert.ok((await device.attach(first)) > 0);
    await failure(() => first.close(), 'EBUSY');
    assert.ok(first.id > 0, 'an IOAS that could not be closed is open');
    assert.ok((await device.attach(second)) > 0);
    await first.close();
    await device.detach();
    await device.detach();
    await second.close();
  });

  it('is attached and detached in the blocking way', () => {
    using iommufd = Iommufd.open();
    using device = VfioDevice.openSync(spec, { iommufd });
    using ioas = iommufd.createIoas();
    assert.ok(device.attachSync(ioas) > 0);
    device.detachSync();
  });

  it('refuses an address space of another iommufd, and what is none', async () => {
    await using other = Iommufd.open();
    // Ids start at 1 in every iommufd: a second one here is unknown there.
    other.createIoas();
    other.createIoas();
    const foreign = other.createIoas();
    await using device = await VfioDevice.open(spec);
    const error = await failure(() => device.attach(foreign), 'ENOENT');
    assert.match(error.message, /VFIO_DEVICE_ATTACH_IOMMUFD_PT/);
    await failure(() => device.attach({ id: 1 } as never), 'ERR_INVALID_ARG_TYPE');
    await failure(() => VfioDevice.open(spec, { iommufd: 3 as never }), 'ERR_INVALID_ARG_TYPE');
  });

  it('closes twice without harm, and refuses use after it', async () => {
    const iommufd = Iommufd.open();
    const ioas = iommufd.createIoas();
    const device = await VfioDevice.open(spec, { iommufd });
    await Promise.all([device.close(), device.close()]);
    device.closeSync();
    await failure(() => device.fd, 'ERR_VFIO_CLOSED');
    await failure(() => device.attach(ioas), 'ERR_VFIO_CLOSED');
    await failure(() => device.attachSync(ioas), 'ERR_VFIO_CLOSED');
    await failure(() => device.detach(), 'ERR_VFIO_CLOSED');
    await failure(() => {
      device.detachSync();
    }, 'ERR_VFIO_CLOSED');
    assert.ok(device.info.regions.length > 0, 'what is known stays known');
    ioas.closeSync();
    await ioas.close();
    await failure(() => ioas.id, 'ERR_VFIO_CLOSED');
    iommufd.closeSync();
    await iommufd.close();
    await failure(() => iommufd.fd, 'ERR_VFIO_CLOSED');
    await failure(() => iommufd.createIoas(), 'ERR_VFIO_CLOSED');
    await failure(() => VfioDevice.open(spec, { iommufd }), 'ERR_VFIO_CLOSED');
  });

  it('is an unbound cdev until it is bound, and then the VfioDevice has the descriptor', async () => {
    await using cdev = await openCdev(spec);
    assert.ok(cdev.fd >= 0);
    assert.equal(cdev.path, `/dev/vfio/devices/${cdev.name}`);
    assert.equal(cdev.device.address, spec.address);
    const { fd } = cdev;
    const device = await cdev.bind();
    assert.equal(device.fd, fd);
    await failure(() => cdev.fd, 'ERR_VFIO_ALREADY_BOUND');
    await failure(() => cdev.bind(), 'ERR_VFIO_ALREADY_BOUND');
    await cdev.close();
    assert.equal(device.fd, fd, 'closing a cdev that was bound closes nothing');
    await device.close();
  });

  it('is refused to the second who binds it, whose cdev stays usable', async () => {
    const first = await VfioDevice.open(spec);
    const cdev = openCdevSync(spec);
    await failure(() => cdev.bind(), 'EINVAL');
    await failure(() => VfioDevice.openSync(spec), 'EINVAL');
    await first.close();
    const second = cdev.bindSync();
    second.closeSync();
  });

  it('closes in the middle of a bind: the bind is refused, the device is free', async () => {
    const before = openFds();
    const cdev = await openCdev(spec);
    const [bound, closed] = await Promise.allSettled([cdev.bind(), cdev.close()]);
    assert.equal(closed.status, 'fulfilled');
    assert.equal(bound.status, 'rejected');
    assert.equal((bound.reason as { code: string }).code, 'ERR_VFIO_CLOSED');
    assertNoMore(openFds(), before);
    VfioDevice.openSync(spec).closeSync();
  });

  it('leaves no descriptor to a child process', async () => {
    const before = vfioFds().length;
    await using device = await VfioDevice.open(spec);
    assert.ok(vfioFds().length > before);
    const list = 'ls -l /proc/self/fd; cat /proc/self/maps';
    const child = execFileSync('sh', ['-c', list], { encoding: 'utf8' });
    assert.ok(!/vfio|iommu/.test(child), child);
    assert.ok(device.fd >= 0);
  });

  it('leaves nothing behind in 1,000 rounds', async () => {
    const round = async (blocking: boolean): Promise<void> => {
      if (blocking) VfioDevice.openSync(spec).closeSync();
      else await (await VfioDevice.open(spec)).close();
    };
    await round(false);
    const before = { fds: openFds(), maps: vfioMaps() };
    for (let at = 0; at < 1000; at++) await round(at % 2 === 0);
    assertNoMore(openFds(), before.fds);
    assertNoMore(vfioMaps(), before.maps);
  }).timeout(300_000);
});
