import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

/** Prints what does otherwise than a program on another platform would expect. */
const program = `
  import assert from 'node:assert/strict';
  Object.defineProperty(process, 'platform', { value: 'darwin' });
  const api = await import('./lib/index.ts');

  /** What makes no system call. */
  const pure = {
    DmaPool: () => assert.throws(() => new api.DmaPool(), { code: 'ERR_INVALID_ARG_TYPE' }),
    IovaAllocator: () => {
      const allocator = new api.IovaAllocator([{ start: 0n, last: 0xffffn }]);
      assert.equal(allocator.allocate(1), 4096n);
    },
    VfioError: () => {
      assert.equal(new api.VfioError({ code: 'ENOENT', message: 'none' }).code, 'ENOENT');
    },
    cloudHypervisorArguments: () =>
      assert.throws(() => api.cloudHypervisorArguments({}), { code: 'ERR_INVALID_ARG_TYPE' }),
    closeDevices: () => api.closeDevices([]),
    countFigures: () => api.countFigures().stop(),
    decodePciConfig: () => api.decodePciConfig(new Uint8Array(256)),
    packDevice: () => assert.throws(() => api.packDevice(), { code: 'ERR_INVALID_ARG_TYPE' }),
    printable: () => assert.equal(api.printable('a\\x1bb'), 'a\\\\x1bb'),
    qemuArguments: () =>
      assert.throws(() => api.qemuArguments({}), { code: 'ERR_INVALID_ARG_TYPE' }),
    udevRules: () => assert.match(api.udevRules({ group: 'vfio' }), /GROUP="vfio"/),
    unpackDevice: () =>
      assert.throws(() => api.unpackDevice({}, []), { code: 'ERR_VFIO_BAD_MESSAGE' }),
    scatterList: () => {
      assert.deepEqual(api.scatterList([{ iova: 0n, size: 1 }]), [{ iova: 0n, size: 1 }]);
    },
  };
  for (const run of Object.values(pure)) await run();

  /** What reaches for a device, for sysfs or for memory. */
  const spec = '0000:3b:00.0';
  const token = { kind: 'dma-buffer', pid: process.pid, memory: 1, size: 4096 };
  const others = {
    'Container.open': () => api.Container.open(),
    'DmaBuffer.allocate': () => api.DmaBuffer.allocate(4096),
    'DmaBuffer.allocateSync': () => api.DmaBuffer.allocateSync(4096),
    'FdChannel.connect': () => api.FdChannel.connect('/socket'),
    'FdChannel.fromFd': () => api.FdChannel.fromFd(0),
    'FdChannel.pair': () => api.FdChannel.pair(),
    'FdListener.listen': () => api.FdListener.listen('/socket'),
    'Iommufd.fromFd': () => api.Iommufd.fromFd(0),
    'Iommufd.open': () => api.Iommufd.open(),
    'KvmVfio.create': () => api.KvmVfio.create(0),
    'KvmVfio.createSync': () => api.KvmVfio.createSync(0),
    'KvmVfio.fromFd': () => api.KvmVfio.fromFd(0),
    'VfioCdev.fromFd': () => api.VfioCdev.fromFd(0),
    'VfioDevice.open': () => api.VfioDevice.open(spec),
    'VfioDevice.openSync': () => api.VfioDevice.openSync(spec),
    bindDriver: () => api.bindDriver(spec),
    bindDriverSync: () => api.bindDriverSync(spec),
    cdiSpec: () => api.cdiSpec([spec]),
    describeDevice: () => api.describeDevice(spec),
    describeSriov: () => api.describeSriov(spec),
    describeSriovSync: () => api.describeSriovSync(spec),
    diagnose: () => api.diagnose(),
    diagnoseSync: () => api.diagnoseSync(spec),
    findCdev: () => api.findCdev(spec),
    fromShared: () => api.fromShared(token),
    identify: () => api.identify(0),
    listDevices: () => api.listDevices(),
    listDevicesSync: () => api.listDevicesSync(),
    listGroups: () => api.listGroups(),
    listGroupsSync: () => api.listGroupsSync(),
    openCdev: () => api.openCdev(spec),
    openCdevSync: () => api.openCdevSync(spec),
    openDevices: () => api.openDevices([spec]),
    watchDevices: () => api.watchDevices(),
    planVfs: () => api.planVfs(spec, 1),
    planVfsSync: () => api.planVfsSync(spec, 1),
    readUsage: () => api.readUsage(),
    readUsageSync: () => api.readUsageSync(),
    restoreDriver: () => api.restoreDriver(spec),
    restoreDriverSync: () => api.restoreDriverSync(spec),
    setVfs: () => api.setVfs(spec, 1),
    setVfsSync: () => api.setVfsSync(spec, 1),
  };
  for (const [name, call] of Object.entries(others)) {
    try {
      await call();
      console.log(name, 'did not fail');
    } catch (error) {
      if (error.code !== 'ERR_VFIO_UNSUPPORTED_PLATFORM') console.log(name, error);
    }
  }

  const tried = [...Object.keys(pure), ...Object.keys(others)].map((name) => name.split('.')[0]);
  assert.deepEqual(Object.keys(api).filter((name) => !tried.includes(name)), []);
  console.log('done');
`;

describe('on another platform', () => {
  it('importing and what makes no system call work, the rest says what is wrong', () => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', program],
      { cwd: root, encoding: 'utf8' },
    );
    assert.equal(stdout, 'done\n', stderr);
  });
});
