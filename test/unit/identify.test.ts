import assert from 'node:assert/strict';
import fs, { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { mock } from 'node:test';
import { describe, it } from 'mocha';
import { binding } from '../../lib/core/binding.ts';
import { identify } from '../../lib/index.ts';
import { syspathOf } from '../../lib/locate/identify.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeAddress, fakeVfio } from '../support/fake_vfio.ts';

const { EINVAL, ENOENT } = os.errno;

describe('identify', () => {
  for (const path of ['/dev/null', '/proc/self/status', '/']) {
    it(`refuses a descriptor of ${path}, naming it`, async () => {
      const fd = openSync(path, 'r');
      const error = await failure(() => identify(fd), 'ERR_VFIO_NOT_VFIO');
      assert.ok(error.message.includes(`descriptor ${fd} (/`), error.message);
      closeSync(fd);
    });
  }

  it('knows a cdev and an iommufd by their numbers, in the sysfs that it is told', async () => {
    const { sysfsRoot } = fakeVfio();
    mkdirSync(`${sysfsRoot}/class/misc/iommu`, { recursive: true });
    writeFileSync(`${sysfsRoot}/class/misc/iommu/dev`, '1:7\n');
    const [cdev, iommufd] = [openSync('/dev/null', 'r'), openSync('/dev/full', 'r')];
    for (const [answer, bound] of [
      [0, true],
      [-EINVAL, false],
    ] as const) {
      const identity = await withBinding({ getDeviceInfo: () => answer }, () =>
        identify(cdev, { sysfsRoot }),
      );
      assert.deepEqual(identity, {
        kind: 'cdev',
        name: 'vfio7',
        major: 1,
        minor: 3,
        bus: 'pci',
        address: fakeAddress,
        sysfsPath: `${sysfsRoot}/bus/pci/devices/${fakeAddress}`,
        bound,
      });
    }
    // Whatever a descriptor is that has these numbers and no such ioctl.
    await failure(() => identify(cdev, { sysfsRoot }), 'ENOTTY');
    assert.deepEqual(identify(iommufd, { sysfsRoot }), { kind: 'iommufd' });
    rmSync(`${sysfsRoot}/devices`, { recursive: true });
    await failure(() => identify(cdev, { sysfsRoot }), 'ERR_VFIO_NOT_VFIO');
    closeSync(cdev);
    closeSync(iommufd);
  });

  it('says that it cannot look where /proc is not to be seen', async () => {
    const fd = openSync('/', 'r');
    const { listFolder } = binding();
    const hidden = { listFolder: (path: string) => (path === '/proc/self/fd' ? -ENOENT : listFolder(path)) }; // prettier-ignore
    const absent = Object.assign(new Error('no such file'), { errno: -ENOENT });
    const links = mock.method(fs, 'readlinkSync', () => {
      throw absent;
    });
    try {
      const error = await withBinding(hidden, () =>
        failure(() => identify(fd), 'ERR_VFIO_NOT_VFIO'),
      );
      assert.match(error.message, /cannot be told: \/proc\/self\/fd is not there, or is empty$/);
      assert.doesNotMatch(error.message, /no longer open/);
    } finally {
      links.mock.restore();
      closeSync(fd);
    }
  });

  it('says that a descriptor is not open', async () => {
    const error = await failure(() => identify(0x7fff_ffff), 'EBADF');
    assert.match(error.message, /fstat/);
  });

  it('refuses what is no number of a descriptor', async () => {
    for (const wrong of [undefined, null, '3', 3n, {}]) {
      await failure(() => identify(wrong as never), 'ERR_INVALID_ARG_TYPE');
    }
    for (const wrong of [-1, 1.5, NaN, Infinity, 2 ** 31]) {
      const error = await failure(() => identify(wrong), 'ERR_OUT_OF_RANGE');
      assert.ok(error instanceof RangeError);
    }
  });

  it('reads the line of fdinfo that Linux 6.18 writes', () => {
    const path = '/sys/devices/pci0000:00/0000:00:02.0';
    const older = 'pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t2061\n';
    assert.equal(syspathOf(`${older}vfio-device-syspath: ${path}\n`), path);
    assert.equal(syspathOf(older), undefined);
    assert.equal(syspathOf(`${older}vfio-device-syspath: \n`), undefined);
  });
});
