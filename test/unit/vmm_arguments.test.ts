import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import type { Roots } from '../../lib/core/location.ts';
import {
  cloudHypervisorArguments,
  Iommufd,
  openCdevSync,
  qemuArguments,
  VfioError,
} from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { put } from '../support/tree.ts';

const otherAddress = '0000:3c:00.0';

/** One more device, whose cdev has the numbers of /dev/zero. */
function putOther(roots: Roots): void {
  const device = `devices/pci0000:3a/${otherAddress}`;
  put(roots.sysfsRoot, {
    [`${device}/subsystem`]: { pointsTo: '../../../bus/pci' },
    [`${device}/vfio-dev/vfio8/dev`]: '1:5\n',
    [`${device}/vfio-dev/vfio8/device`]: { pointsTo: `../../../${otherAddress}` },
    [`bus/pci/devices/${otherAddress}`]: { pointsTo: `../../../${device}` },
    'dev/char/1:5': { pointsTo: `../../${device}/vfio-dev/vfio8` },
  });
  putNode(roots, 'vfio/devices/vfio8', '/dev/zero');
}

describe('the arguments of a VMM', () => {
  let roots: Roots;
  beforeEach(() => {
    roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    putNode(roots, 'iommu', '/dev/full');
    putOther(roots);
  });

  it('name the descriptors by the numbers that they have there', () => {
    using iommufd = Iommufd.open(roots);
    using cdev = openCdevSync(fakeAddress, roots);
    const { args, fds } = qemuArguments({ cdev, iommufd });
    assert.deepEqual(fds, [iommufd.fd, cdev.fd]);
    assert.deepEqual(args, [
      ...['-object', 'iommufd,id=iommufd0,fd=3'],
      ...['-device', 'vfio-pci,fd=4,iommufd=iommufd0'],
    ]);
    assert.deepEqual(cloudHypervisorArguments({ cdev, iommufd }), {
      args: ['--platform', 'iommufd=on,iommufd_fd=3', '--device', 'fd=4'],
      fds,
    });
  });

  it('have one iommufd for several devices, and more properties', () => {
    using iommufd = Iommufd.open(roots);
    using first = openCdevSync(fakeAddress, roots);
    using second = openCdevSync(otherAddress, roots);
    const devices = { cdev: [first, second], iommufd };
    const properties = { bus: 'a,b', 'x-igd-opregion': true, rombar: 0 };
    const options = { firstFd: 20, iommufdId: 'shared', properties };
    const { args, fds } = qemuArguments(devices, options);
    assert.deepEqual(fds, [iommufd.fd, first.fd, second.fd]);
    const more = 'iommufd=shared,bus=a,,b,x-igd-opregion=on,rombar=0';
    assert.deepEqual(args, [
      ...['-object', 'iommufd,id=shared,fd=20'],
      ...['-device', `vfio-pci,fd=21,${more}`],
      ...['-device', `vfio-pci,fd=22,${more}`],
    ]);
    const platform = ['--platform', 'iommufd=on,iommufd_fd=20'];
    assert.deepEqual(cloudHypervisorArguments(devices, { firstFd: 20 }).args, [
      ...platform,
      ...['--device', 'fd=21', 'fd=22'],
    ]);
  });

  it('have properties of their own for each of several devices', async () => {
    using iommufd = Iommufd.open(roots);
    using first = openCdevSync(fakeAddress, roots);
    using second = openCdevSync(otherAddress, roots);
    const devices = { cdev: [first, second], iommufd };
    const { args } = qemuArguments(devices, { properties: [{ id: 'a' }, { id: 'b', bus: 'p' }] });
    assert.deepEqual(args.slice(2), [
      ...['-device', 'vfio-pci,fd=4,iommufd=iommufd0,id=a'],
      ...['-device', 'vfio-pci,fd=5,iommufd=iommufd0,id=b,bus=p'],
    ]);
    const wrong = (properties: object[]): unknown =>
      qemuArguments(devices, { properties } as never);
    await failure(() => wrong([{ id: 'a' }]), 'ERR_INVALID_ARG_VALUE');
    await failure(() => wrong([{}, []]), 'ERR_INVALID_ARG_TYPE');
  });

  it('are refused where QEMU would refuse them, or take another device', async () => {
    using iommufd = Iommufd.open(roots);
    using cdev = openCdevSync(fakeAddress, roots);
    using again = openCdevSync(fakeAddress, roots);
    using other = openCdevSync(otherAddress, roots);
    for (const twice of [
      [cdev, cdev],
      [cdev, again],
    ]) {
      for (const of of [qemuArguments, cloudHypervisorArguments]) {
        const refused = (): unknown => of({ cdev: twice, iommufd });
        const error = await failure(refused, 'ERR_INVALID_ARG_VALUE');
        assert.match(error.message, new RegExp(`${fakeAddress} is there twice`));
      }
    }
    const devices = { cdev: [cdev, other], iommufd };
    for (const [properties, code] of [
      [{ fd: 9 }, 'ERR_INVALID_ARG_VALUE'],
      [{ iommufd: 'iommufd1' }, 'ERR_INVALID_ARG_VALUE'],
      [{ host: otherAddress }, 'ERR_INVALID_ARG_VALUE'],
      [{ sysfsdev: '/sys/x' }, 'ERR_INVALID_ARG_VALUE'],
      [{ driver: 'x' }, 'ERR_INVALID_ARG_VALUE'],
      [{ bootindex: NaN }, 'ERR_OUT_OF_RANGE'],
      [{ bootindex: Infinity }, 'ERR_OUT_OF_RANGE'],
      [{ bus: 'a\0b' }, 'ERR_INVALID_ARG_VALUE'],
      [{ id: '' }, 'ERR_INVALID_ARG_VALUE'],
      [{ id: 'nic' }, 'ERR_INVALID_ARG_VALUE'],
      [[{ id: 'nic' }, { id: 'nic' }], 'ERR_INVALID_ARG_VALUE'],
      [[{ id: 'iommufd0' }, {}], 'ERR_INVALID_ARG_VALUE'],
    ] as const) {
      const refused = (): unknown => qemuArguments(devices, { properties });
      const error = await failure(refused, code);
      assert.match(error.message, /"properties/);
    }
  });

  it('are refused for a bound device, with the way out', async () => {
    await withBinding(fakeIoctls, async () => {
      using iommufd = Iommufd.open(roots);
      const cdev = openCdevSync(fakeAddress, roots);
      await using device = await cdev.bind(iommufd);
      for (const bound of [cdev, device as never, [device as never]]) {
        for (const of of [qemuArguments, cloudHypervisorArguments]) {
          const refused = (): unknown => of({ cdev: bound, iommufd });
          const error = await failure(refused, 'ERR_VFIO_ALREADY_BOUND');
          assert.ok(error instanceof VfioError && error.reason === 'already-bound');
          assert.match(`${error.message} ${error.hint}`, /openCdev|another VfioCdev/);
        }
      }
    });
  });

  it('are refused for what is closed, and for no devices', async () => {
    using iommufd = Iommufd.open(roots);
    const cdev = openCdevSync(fakeAddress, roots);
    cdev.closeSync();
    await failure(() => qemuArguments({ cdev, iommufd }), 'ERR_VFIO_CLOSED');
    await failure(() => qemuArguments({ cdev: [], iommufd }), 'ERR_INVALID_ARG_TYPE');
  });
});
