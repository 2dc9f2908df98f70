import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, symlinkSync } from 'node:fs';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { DeviceSpec, Roots } from '../../lib/core/location.ts';
import { openCdevSync } from '../../lib/index.ts';
import { findCdev, locateDevice } from '../../lib/locate/find_cdev.ts';
import { parsePath } from '../../lib/locate/path.ts';
import { rootsOf } from '../../lib/locate/roots.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import {
  fakeAddress as address,
  fakeNode,
  fakeVfio,
  putFile,
  putNode,
} from '../support/fake_vfio.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { tree } from '../support/tree.ts';

const pci = { bus: 'pci', address };

/** What `spec` resolves to. */
function resolved(spec: DeviceSpec, roots: Roots): { bus: string; address: string } {
  const device = locateDevice(spec, roots);
  assert.equal(device.sysfsPath, `${roots.sysfsRoot}/bus/${device.bus}/devices/${device.address}`);
  return { bus: device.bus, address: device.address };
}

describe('a path in sysfs', () => {
  const buses: [string, string][] = [
    ['pci', address],
    ['mdev', '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'],
    ['platform', 'fff51000.ethernet'],
    ['ap', 'card05'],
    ['ccw', '0.0.0190'],
    ['cdx', 'cdx-00:01'],
    ['fsl-mc', 'dprc.2'],
  ];
  for (const [bus, name] of buses) {
    it(`is read as typed: ${bus}`, () => {
      const roots = fakeVfio();
      const path = `${roots.sysfsRoot}/bus/${bus}/devices/${name}`;
      for (const spelling of [path, `${path}/`, path.replace('/bus/', '//bus/')]) {
        assert.deepEqual(resolved(spelling, roots), { bus, address: name });
      }
    });

    it(`is looked up where it leads: ${bus}`, () => {
      const roots = fakeVfio();
      const folder = `${roots.sysfsRoot}/devices/platform/soc/${name}`;
      mkdirSync(folder, { recursive: true });
      symlinkSync(`../../../../bus/${bus}`, `${folder}/subsystem`);
      assert.deepEqual(resolved(folder, roots), { bus, address: name });
    });
  }

  it('may be that of the cdev, and its link to the device', () => {
    const roots = fakeVfio();
    const path = `${roots.sysfsRoot}/devices/pci0000:3a/${address}/vfio-dev/vfio7/device`;
    assert.deepEqual(resolved(path, roots), pci);
  });

  it('that leads to no device is named', async () => {
    const roots = fakeVfio();
    const wrong = (path: string): (() => unknown) => {
      return () => locateDevice(`${roots.sysfsRoot}/${path}`, roots);
    };
    const missing = await failure(wrong('devices/nothing'), 'ERR_VFIO_NO_DEVICE');
    assert.match(missing.message, /devices\/nothing does not exist/);
    const noBus = await failure(wrong('devices/pci0000:3a'), 'ERR_VFIO_NO_DEVICE');
    assert.match(noBus.message, /is not the folder of a device on a bus/);
    symlinkSync('/usr', `${roots.sysfsRoot}/devices/out`);
    const outside = await failure(wrong('devices/out'), 'ERR_VFIO_NO_DEVICE');
    assert.match(outside.message, /leads out of/);
  });

  it('stays below the roots, or is refused, whatever it is made of', () => {
    const roots = { sysfsRoot: '/r/sys', devRoot: '/r/dev' };
    const part = fc.oneof(
      fc.constantFrom(
        'bus',
        'pci',
        'devices',
        address,
        '.',
        '..',
        '',
        'char',
        '1:3',
        'vfio',
        'a\0',
      ),
      fc.string({ maxLength: 5 }),
    );
    const root = fc.constantFrom('/r/sys', '/r/dev', '/sys', '/dev', '', '/r/sys/bus/pci/devices');
    fc.assert(
      fc.property(root, fc.array(part, { maxLength: 6 }), (start, parts) => {
        let parsed;
        try {
          parsed = parsePath(`${start}/${parts.join('/')}`, roots);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'ERR_INVALID_ARG_VALUE');
          return;
        }
        if ('folder' in parsed)
          assert.match(parsed.folder, /^\/r\/sys(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)+$/);
        else if ('node' in parsed)
          assert.match(parsed.node, /^\/r\/dev\/(vfio\/devices|char)\/[\w:-]+$/);
        else assert.match(`${parsed.bus}/${parsed.address}`, /^[^/\0]+\/[^/\0]+$/);
      }),
    );
  });
});

describe('a node', () => {
  for (const path of [fakeNode, 'vfio/devices/vfio99', 'char/1:3', 'char/9:9']) {
    it(`means the device whose numbers it has, and is opened: ${path}`, () => {
      const roots = fakeVfio();
      putNode(roots, path, '/dev/null');
      const spec = `${roots.devRoot}/${path}`;
      assert.deepEqual(resolved(spec, roots), pci);
      assert.equal(findCdev(spec, roots).path, spec);
      using cdev = openCdevSync(spec, roots);
      assert.deepEqual([cdev.name, cdev.path, cdev.device.address], ['vfio7', spec, address]);
    });
  }

  it('of another device is refused', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/zero');
    const spec = `${roots.devRoot}/${fakeNode}`;
    const error = await failure(() => findCdev(spec, roots), 'ERR_VFIO_NODE_MISMATCH');
    assert.match(error.message, /vfio7 is the character device 1:5, which no VFIO device/);
    putFile(roots, 'char/7:7');
    await failure(() => findCdev(`${roots.devRoot}/char/7:7`, roots), 'ERR_VFIO_NODE_MISMATCH');
    await failure(() => findCdev(`${roots.devRoot}/char/8:8`, roots), 'ENOENT');
  });
});

describe('a descriptor', () => {
  it('means the device that it is open on, and stays the caller’s', () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    const fd = openSync('/dev/null', 'r');
    const before = libraryFds();
    assert.deepEqual(resolved(fd, roots), pci);
    const cdev = openCdevSync(fd, roots);
    assert.notEqual(cdev.fd, fd);
    cdev.closeSync();
    assertNoMore(libraryFds(), before);
    closeSync(fd);
  });

  it('of something else, or none, is refused', async () => {
    const roots = fakeVfio();
    const fd = openSync('/dev/zero', 'r');
    const file = openSync(import.meta.filename, 'r');
    const other = await failure(() => findCdev(fd, roots), 'ERR_VFIO_NO_DEVICE');
    assert.equal(
      other.message,
      `the descriptor ${fd} is the character device 1:5, not a VFIO device`,
    );
    await failure(() => findCdev(file, roots), 'ERR_VFIO_NO_DEVICE');
    closeSync(fd);
    closeSync(file);
    await failure(() => findCdev(fd, roots), 'EBADF');
  });
});

describe('what cannot name a device', () => {
  const wrong: [unknown, string][] = [
    [-1, 'ERR_OUT_OF_RANGE'],
    [1.5, 'ERR_OUT_OF_RANGE'],
    [NaN, 'ERR_OUT_OF_RANGE'],
    [2 ** 31, 'ERR_OUT_OF_RANGE'],
    [3n, 'ERR_INVALID_ARG_TYPE'],
    [true, 'ERR_INVALID_ARG_TYPE'],
    ['/', 'ERR_INVALID_ARG_VALUE'],
    ['/sys', 'ERR_INVALID_ARG_VALUE'],
    ['/dev/null', 'ERR_INVALID_ARG_VALUE'],
    ['/dev/vfio/12', 'ERR_INVALID_ARG_VALUE'],
    ['/dev/vfio/devices/vfio', 'ERR_INVALID_ARG_VALUE'],
    ['/dev/vfio/devices/vfio0/x', 'ERR_INVALID_ARG_VALUE'],
    ['/dev/char/1:3\0', 'ERR_INVALID_ARG_VALUE'],
    ['/sys/bus/pci/devices/..', 'ERR_INVALID_ARG_VALUE'],
    ['/sys/bus/pci/devices/../../../../etc', 'ERR_INVALID_ARG_VALUE'],
    ['/sys/bus/pci/devices/nothing', 'ERR_INVALID_ARG_VALUE'],
    ['/sysfs/bus/pci/devices/0000:3b:00.0', 'ERR_INVALID_ARG_VALUE'],
    ['sys/bus/pci/devices/0000:3b:00.0', 'ERR_INVALID_ARG_VALUE'],
    ['/proc/self/fd/0', 'ERR_INVALID_ARG_VALUE'],
  ];
  for (const [spec, code] of wrong) {
    it(`is refused: ${inspect(spec)}`, async () => {
      await failure(() => locateDevice(spec as DeviceSpec), code);
    });
  }
});

describe('the roots', () => {
  it('are absolute paths, and lose the slash at their end', async () => {
    assert.deepEqual(rootsOf({ sysfsRoot: '/a//b/', devRoot: undefined }), {
      sysfsRoot: '/a/b',
      devRoot: '/dev',
    });
    await failure(() => rootsOf({ sysfsRoot: 'sys' }), 'ERR_INVALID_ARG_VALUE');
    await failure(() => rootsOf({ devRoot: '/a\0' }), 'ERR_INVALID_ARG_VALUE');
    await failure(() => rootsOf({ devRoot: 3 as never }), 'ERR_INVALID_ARG_TYPE');
  });
});

describe('a short name', () => {
  const roots = (): Roots =>
    rootsOf({
      sysfsRoot: tree({
        'class/vfio-dev/vfio3/device': { pointsTo: '../../../0000:3b:00.0' },
        'kernel/iommu_groups/12/devices/0000:3b:00.1': '',
        'kernel/iommu_groups/12/devices/0000:3b:00.0': '',
        'bus/pci/devices/0000:00:1f.2': '',
        'bus/pci/devices/0000:3b:1f.2': '',
        'bus/pci/devices/0000:3b:1f.0': '',
      }),
      devRoot: '/dev',
    });
  const cases: [name: string, expected: string][] = [
    ['vfio3', 'an address (vfio3 is 0000:3b:00.0) or a node (/dev/vfio/devices/vfio3)'],
    ['noiommu-vfio4', 'an address or a node (/dev/vfio/devices/noiommu-vfio4)'],
    ['12', 'the address of a device (the IOMMU group 12 has 0000:3b:00.0, 0000:3b:00.1)'],
    ['noiommu-12', 'the address of a device (the IOMMU group 12 has 0000:3b:00.0, 0000:3b:00.1)'],
    ['13', 'the address of a device'],
    ['1F.2', 'an address with its bus (0000:00:1f.2, 0000:3b:1f.2)'],
    ['2.0', 'an address with its bus (such as 3b:02.0)'],
  ];
  for (const [name, expected] of cases) {
    it(`is refused by what would name the device: ${name}`, () => {
      assert.throws(() => locateDevice(name, roots()), {
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_VALUE',
        message: `The "device" argument must be ${expected}. Received '${name}'`,
      });
    });
  }

  it('is refused as such where sysfs may not be looked at', () => {
    const { sysfsRoot } = roots();
    const refusing = { listFolder: () => -13, readSmallFile: () => -13 };
    return withBinding(refusing, () => {
      assert.throws(() => locateDevice('12', rootsOf({ sysfsRoot })), {
        message: `The "device" argument must be the address of a device. Received '12'`,
      });
    });
  });
});
