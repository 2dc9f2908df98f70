import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { CdiOptions, CdiSpec } from '../../lib/index.ts';
import { cdiSpec } from '../../lib/index.ts';
import { assertCdi, problemsOfCdi } from '../support/cdi_schema.ts';
import { vfio } from '../support/cli.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { boundToVfio, type Files, pciDevice, sysfsFiles } from '../support/sysfs.ts';
import { tree } from '../support/tree.ts';

const nvme = '0000:3b:00.0';
const gpu = '0000:5e:00.1';
const mdev = '6d747479-0000-4000-8000-000000000001';

const inGroup = (group: number): Files => ({
  [`class/vfio/${group}/dev`]: `240:${group}\n`,
});
const iommufd: Files = { 'class/misc/iommu/dev': '10:122\n' };

/** A sysfs of a kernel with cdevs, and with groups as well. */
function withCdevs(misc: Files = iommufd): CdiOptions {
  const files = sysfsFiles({
    pci: {
      [nvme]: pciDevice(11, boundToVfio('vfio3', '511:3\n')),
      [gpu]: pciDevice(12, boundToVfio('vfio4', '511:4\n')),
      '0000:00:1f.0': pciDevice(8),
    },
    mdev: {
      [mdev]: {
        uevent: '',
        subsystem: { pointsTo: '../../../bus/mdev' },
        ...boundToVfio('vfio5', '511:5\n'),
      },
    },
    platform: {
      'fff51000.ethernet@1': {
        uevent: '',
        subsystem: { pointsTo: '../../../bus/platform' },
        ...boundToVfio('vfio6', '511:6\n'),
      },
    },
  });
  return { sysfsRoot: tree({ ...files, ...inGroup(11), ...misc }) };
}

/** A sysfs of Debian's kernel: groups only. */
function withoutCdevs(groupNode = '11', more: Files = {}): CdiOptions {
  const bound = sysfsFiles({ pci: { [nvme]: pciDevice(11, boundToVfio('vfio3')) } });
  const files = { ...bound, [`class/vfio/${groupNode}/dev`]: '240:1\n', ...more };
  return { sysfsRoot: tree(files) };
}

function pathsOf(spec: CdiSpec): string[][] {
  assertCdi(spec);
  return spec.devices.map(({ containerEdits }) =>
    containerEdits.deviceNodes.map(({ path }) => path),
  );
}

describe('cdiSpec', () => {
  it('has for each device its nodes and its address', () => {
    const spec = cdiSpec([nvme, '5e:00.1', mdev], withCdevs());
    assertCdi(spec);
    assert.deepEqual(JSON.parse(JSON.stringify(spec)), {
      cdiVersion: '0.6.0',
      kind: 'vfio.dev/device',
      annotations: { 'vfio.dev/written-by': 'vfio cdi' },
      devices: [
        device(nvme, 'VFIO_DEVICE_0000_3B_00_0', 'vfio3'),
        device(gpu, 'VFIO_DEVICE_0000_5E_00_1', 'vfio4'),
        device(mdev, 'VFIO_DEVICE_6D747479_0000_4000_8000_000000000001', 'vfio5'),
      ],
    });
  });

  function device(address: string, variable: string, cdev: string): object {
    const node = { type: 'c', permissions: 'rw' };
    return {
      name: address,
      containerEdits: {
        env: [`${variable}=${address}`],
        deviceNodes: [
          { path: `/dev/vfio/devices/${cdev}`, ...node },
          { path: '/dev/iommu', ...node },
        ],
      },
    };
  }

  it('has the nodes of the backend that is asked for', () => {
    const roots = withCdevs();
    const paths = (backend: CdiOptions['backend']): string[][] =>
      pathsOf(cdiSpec([nvme], { ...roots, backend }));
    assert.deepEqual(paths('auto'), [['/dev/vfio/devices/vfio3', '/dev/iommu']]);
    assert.deepEqual(paths('cdev'), [['/dev/vfio/devices/vfio3', '/dev/iommu']]);
    assert.deepEqual(paths('group'), [['/dev/vfio/11', '/dev/vfio/vfio']]);
    assert.deepEqual(paths('compat'), [['/dev/vfio/11', '/dev/iommu']]);
  });

  it('takes the group where there are no cdevs, or no iommufd', async () => {
    const group = [['/dev/vfio/11', '/dev/vfio/vfio']];
    assert.deepEqual(pathsOf(cdiSpec([nvme], withoutCdevs())), group);
    assert.deepEqual(pathsOf(cdiSpec([nvme], withoutCdevs('11', iommufd))), group);
    assert.deepEqual(pathsOf(cdiSpec([nvme], withCdevs({}))), group);
    await vfioFailure(
      () => cdiSpec([nvme], { ...withoutCdevs(), backend: 'cdev' }),
      'ERR_VFIO_NO_CDEV',
    );
  });

  it('names no iommufd that the kernel does not have', async () => {
    const other: Files = { 'class/misc/vfio/dev': '10:196\n' };
    for (const [backend, roots] of [
      ['compat', withoutCdevs('11', other)],
      ['compat', withCdevs(other)],
      ['cdev', withCdevs(other)],
    ] as const) {
      const options = { ...roots, backend };
      const error = await vfioFailure(() => cdiSpec([nvme], options), 'ERR_VFIO_UNSUPPORTED');
      assert.match(
        error.message,
        new RegExp(`^the backend ${backend} opens 0000:3b:00.0 by an iommufd, and there is none`),
      );
      assert.match(error.reason ?? '', /^iommufd-(absent|not-loaded)$/);
      assert.match(error.hint ?? '', /CONFIG_IOMMUFD|modprobe iommufd/);
    }
    // Where it is not to be seen, nobody knows that it is not there.
    const hidden = { ...withCdevs({}), backend: 'compat' } as const;
    assert.deepEqual(pathsOf(cdiSpec([nvme], hidden)), [['/dev/vfio/11', '/dev/iommu']]);
  });

  it('gives a device without an IOMMU only where that is asked for', async () => {
    const roots = withoutCdevs('noiommu-11');
    const error = await vfioFailure(() => cdiSpec([nvme], roots), 'ERR_VFIO_WRONG_BACKEND');
    assert.equal(error.reason, 'no-iommu');
    for (const more of [{}, iommufd]) {
      const options = { ...withoutCdevs('noiommu-11', more), backend: 'noiommu' } as const;
      const nodes = [['/dev/vfio/noiommu-11', '/dev/vfio/vfio']];
      assert.deepEqual(pathsOf(cdiSpec([nvme], options)), nodes);
    }
    await vfioFailure(
      () => cdiSpec([nvme], { ...withoutCdevs(), backend: 'noiommu' }),
      'ERR_VFIO_WRONG_BACKEND',
    );
  });

  it('names one device, and the kind, as it is told to', () => {
    const kind = 'example.com/fast-disk.v2';
    const spec = cdiSpec([nvme], { ...withCdevs(), kind, name: 'disk0' });
    assertCdi(spec);
    assert.deepEqual([spec.kind, spec.devices[0]?.name], [kind, 'disk0']);
  });

  it('makes a name and a path of an address on another bus', () => {
    const spec = cdiSpec([{ bus: 'platform', address: 'fff51000.ethernet@1' }], withCdevs());
    assertCdi(spec);
    const [device] = spec.devices;
    assert.equal(device?.name, 'fff51000.ethernet_1');
    assert.deepEqual(device.containerEdits.env, [
      'VFIO_DEVICE_FFF51000_ETHERNET_1=/sys/bus/platform/devices/fff51000.ethernet@1',
    ]);
  });

  it('says where the nodes are on the host, if elsewhere', () => {
    const spec = cdiSpec([nvme], { ...withCdevs(), devRoot: '/host/dev/' });
    assertCdi(spec);
    assert.deepEqual(
      spec.devices[0]?.containerEdits.deviceNodes.map(({ path, hostPath }) => [path, hostPath]),
      [
        ['/dev/vfio/devices/vfio3', '/host/dev/vfio/devices/vfio3'],
        ['/dev/iommu', '/host/dev/iommu'],
      ],
    );
  });

  it('refuses what no specification may have', async () => {
    const roots = withCdevs();
    const kinds = [
      '',
      'vfio',
      'vfio.dev/',
      '/device',
      'a/b/c',
      '-a.b/c',
      'a..b/c',
      '1.dev/c',
      'a b/c',
    ];
    const bad: [unknown, unknown][] = [
      ...[...kinds, 'a/b\n', `${'a'.repeat(254)}/c`, 3].map((kind): [unknown, unknown] => [
        [nvme],
        { kind },
      ]),
      ...['', 'a b', '-a', 'a-', 'a/b', 'a\n', 'a"', 3].map((name): [unknown, unknown] => [
        [nvme],
        { name },
      ]),
      [[nvme, gpu], { name: 'both' }],
      [[nvme], { backend: 'vhost' }],
      [[], {}],
      [nvme, {}],
      [[nvme, '3b:00.0'], {}],
    ];
    for (const [devices, options] of bad) {
      const call = (): unknown =>
        cdiSpec(devices as string[], { ...roots, ...(options as object) });
      assert.throws(call, ({ code }: { code: string }) => code.startsWith('ERR_INVALID_ARG_'));
    }
    await vfioFailure(() => cdiSpec(['0000:77:00.0'], roots), 'ERR_VFIO_NO_DEVICE');
    await vfioFailure(() => cdiSpec(['0000:00:1f.0'], roots), 'ERR_VFIO_NOT_BOUND_TO_VFIO');
    await failure(() => cdiSpec([mdev], { ...roots, backend: 'group' }), 'ERR_VFIO_NO_GROUP');
  });
});

describe('the schema of the tests', () => {
  it('refuses what a runtime refuses', () => {
    const spec = cdiSpec([nvme], withCdevs());
    const [device] = spec.devices;
    assert.ok(device);
    const wrong: object[] = [
      { ...spec, cdiVersion: '0.6' },
      { ...spec, kind: 'vfio' },
      { ...spec, kind: '.dev/device' },
      { ...spec, devices: [] },
      { ...spec, devices: [device, device] },
      { ...spec, devices: [{ ...device, name: 'a b' }] },
      { ...spec, devices: [{ ...device, containerEdits: {} }] },
      { ...spec, devices: [{ ...device, containerEdits: { env: ['=x'] } }] },
      { ...spec, devices: [{ ...device, containerEdits: { deviceNodes: [{}] } }] },
      { ...spec, netDevices: [] },
    ];
    for (const one of wrong) assert.notDeepEqual(problemsOfCdi(one), [], JSON.stringify(one));
  });
});

describe('vfio cdi', () => {
  it('says that a device is not there, and prints nothing', async () => {
    const { status, out, err } = await vfio(['cdi', 'ffff:ff:1f.7']);
    assert.deepEqual([status, out], [1, '']);
    assert.match(err, /^vfio cdi: there is no device ffff:ff:1f.7 on the bus pci\nhint: /);
  });

  const misuse: [string[], RegExp][] = [
    [[], /<device…> is missing: vfio cdi <device…>/],
    [['3b:00.0', '--kind', 'a'], /--kind must be a vendor's domain and a class/],
    [['3b:00.0', '5e:00.1', '--name', 'a'], /--name must be absent where there are several/],
    [['3b:00.0', '--dir', '/etc/cdi'], /--dir says where --install writes: give --install, too/],
    [['3b:00.0', '--backend', 'x'], /--backend must be auto/],
  ];
  for (const [argv, message] of misuse) {
    it(`refuses: vfio cdi ${argv.join(' ')}`, async () => {
      const { status, out, err } = await vfio(['cdi', ...argv]);
      assert.deepEqual([status, out], [2, '']);
      assert.match(err, message);
    });
  }
});
