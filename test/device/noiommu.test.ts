import assert from 'node:assert/strict';
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs';
import { describe, it } from 'mocha';
import {
  type Backend,
  cdiSpec,
  DmaBuffer,
  findCdev,
  VfioDevice,
  VfioError,
} from '../../lib/index.ts';
import { describeDevice } from '../../lib/locate/facts.ts';
import { assertCdi } from '../support/cdi_schema.ts';
import { vfio } from '../support/cli.ts';
import { devices } from '../support/devices.ts';
import { Edu } from '../support/edu.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { root } from '../support/root.ts';
import { tree } from '../support/tree.ts';

// Run by the lane noiommu of `npm test`, in a VM without an IOMMU.

const page = 4096;
const edu = devices.find(({ name }) => name === 'edu');
const hasIommu = !edu || !existsSync(`/sys/class/vfio/noiommu-${groupOf(edu.address)}`);

function groupOf(address: string): number {
  return describeDevice(address).iommuGroup ?? -1;
}

/** Physical pages of memory that this process shows at the name of DMA memory. */
function* pagesOf(bytes: Uint8Array): Generator<{ at: number; physical: bigint }> {
  const line = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .find((text) => text.includes('memfd:vfio-dma'));
  const start = BigInt(`0x${line?.split('-')[0]}`);
  const map = openSync('/proc/self/pagemap', 'r');
  const entry = Buffer.alloc(8);
  for (let at = 0; at < bytes.length; at += page) {
    readSync(map, entry, 0, 8, Number(((start + BigInt(at)) / BigInt(page)) * 8n));
    const physical = (entry.readBigUInt64LE() & ((1n << 55n) - 1n)) * BigInt(page);
    yield { at, physical };
  }
  closeSync(map);
}

/** The first two pages that edu reaches: it has 28 address lines. */
function reachable(bytes: Uint8Array): { at: number; physical: bigint }[] {
  const found = [];
  for (const one of pagesOf(bytes)) {
    if (one.physical + BigInt(page) <= Edu.lastIova) found.push(one);
    if (found.length === 2) return found;
  }
  return assert.fail('no memory below 256 MiB is left');
}

async function copies(device: VfioDevice, bytes: Buffer): Promise<void> {
  const [from, to] = reachable(bytes);
  assert.ok(from && to);
  bytes.write('by physical addresses', from.at, 'latin1');
  const engine = new Edu(device);
  await engine.load(from.physical, 64);
  await engine.store(to.physical, 64);
  assert.equal(bytes.toString('latin1', to.at, to.at + 21), 'by physical addresses');
}

const title = hasIommu ? ' (a VM without an IOMMU: npm test -- build noiommu)' : '';

(hasIommu ? describe.skip : describe)(`without an IOMMU${title}`, () => {
  const spec = edu ?? assert.fail('no edu');

  it('a device is opened by who says so only', async () => {
    for (const backend of ['auto', 'group', 'compat'] as const) {
      const error = await failure(
        () => VfioDevice.open(spec, { backend, timeout: 0 }),
        'ERR_VFIO_WRONG_BACKEND',
      );
      assert.ok(error instanceof VfioError);
      assert.equal(error.reason, 'no-iommu');
      assert.match(error.hint ?? '', /backend: 'noiommu'/);
    }
  });

  it('it warns, is not isolated, and works', async () => {
    const before = libraryFds();
    const warned = once(process, 'warning') as Promise<[Error & { code: string }]>;
    const device = await VfioDevice.open(spec, { backend: 'noiommu' });
    const [warning] = await warned;
    assert.equal(warning.code, 'VFIO_NOIOMMU');
    assert.deepEqual([device.backend.kind, device.backend.isolated], ['noiommu', false]);
    assert.match(device.name, /^noiommu-/);
    assert.equal(device.region('bar0').read32(0), 0x010000ed);
    const [vector] = await device.interrupt('msi').enable();
    const fired = once(vector ?? assert.fail(), 'interrupt');
    device.interrupt('msi').trigger();
    await fired;
    await device.close();
    using again = VfioDevice.openSync(spec, { backend: 'noiommu' });
    again.closeSync();
    assertNoMore(libraryFds(), before);
  });

  it('vfio opens it where the command line says so, and warns on standard error', () => {
    const main = new URL('dist/cli/main.js', root).pathname;
    const vfio = (...args: string[]): SpawnSyncReturns<string> =>
      spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
    const opened = vfio('info', spec.address, '--backend', 'noiommu', '--json');
    assert.equal(opened.status, 0, opened.stderr);
    const { backend } = JSON.parse(opened.stdout) as { backend: Backend };
    assert.deepEqual([backend.kind, backend.isolated], ['noiommu', false]);
    assert.match(opened.stderr, /VFIO_NOIOMMU.* its DMA reaches all memory/);
    const refused = vfio('info', spec.address);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /hint: where that is meant: --backend noiommu/);
  });

  it('is described to container runtimes by its group’s node, where that is asked for', async () => {
    const error = await vfioFailure(() => cdiSpec([spec]), 'ERR_VFIO_WRONG_BACKEND');
    assert.equal(error.reason, 'no-iommu');
    const described = cdiSpec([spec], { backend: 'noiommu' });
    assertCdi(described);
    const nodes = described.devices.flatMap(({ containerEdits }) => containerEdits.deviceNodes);
    const paths = nodes.map(({ path }) => path);
    assert.deepEqual(paths, [`/dev/vfio/noiommu-${groupOf(spec.address)}`, '/dev/vfio/vfio']);
    for (const path of paths) assert.ok(existsSync(path), path);
    const folder = tree({});
    for (const install of [[], ['--install', '--dir', folder]]) {
      const argv = ['cdi', spec.address, '--backend', 'noiommu', ...install];
      const { status, err } = await vfio(argv);
      assert.equal(status, 0, err);
      assert.match(err, /^vfio cdi: without an IOMMU only CAP_SYS_RAWIO opens 0000:/m);
      assert.match(err, /^hint: .* --cap-add SYS_RAWIO$/m);
    }
  });

  it('its DMA is by physical addresses', async () => {
    await using device = await VfioDevice.open(spec, { backend: 'noiommu' });
    await using buffer = await DmaBuffer.allocate(256 * 2 ** 20, { populate: true });
    const bytes = Buffer.from(buffer.buffer);
    await copies(device, bytes);
    if (device.name.startsWith('noiommu-vfio')) {
      // By its cdev, the kernel pins what is mapped, and tells where it is.
      await using ioas = device.iommufd.createIoas();
      await device.attach(ioas);
      await using mapping = await ioas.map(buffer);
      const [first] = pagesOf(bytes);
      const { address, length } = ioas.physicalAddress(mapping.iova, page);
      assert.deepEqual([address, length], [first?.physical, page]);
      await copies(device, bytes);
      await failure(
        () => ioas.physicalAddress(mapping.iova + BigInt(mapping.size), page),
        'ENOENT',
      );
      await device.detach();
    } else {
      await failure(() => device.createIoas(), 'ERR_VFIO_WRONG_BACKEND');
      await failure(() => findCdev(spec), 'ERR_VFIO_NO_CDEV');
    }
  });

  it('is not opened by its cdev as if it had an IOMMU, and vfio says what does open it', async () => {
    const { status, err } = await vfio(['info', spec.address, '--backend', 'cdev']);
    assert.equal(status, 1);
    assert.match(err, /has no IOMMU/);
    assert.doesNotMatch(err, /CONFIG_VFIO_DEVICE_CDEV|[{}]/);
    assert.match(err, /^hint: .*--backend noiommu/m);
  });

  it('is left out of udev rules, which vfio udev says', async () => {
    for (const named of [[spec.address], []]) {
      const { status, err } = await vfio(['udev', ...named, '--group', 'root']);
      assert.equal(status, 0, err);
      assert.match(err, /^vfio udev: .*IOMMU.*\(noiommu-…\) stay root's/m);
    }
  });
});
