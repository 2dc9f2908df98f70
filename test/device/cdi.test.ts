import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { after, before, describe, it } from 'mocha';
import { type CdiOptions, type CdiSpec, cdiSpec, findCdev } from '../../lib/index.ts';
import { findGroup } from '../../lib/locate/find_cdev.ts';
import { numbersOf } from '../../lib/locate/resolve.ts';
import { assertCdi } from '../support/cdi_schema.ts';
import { vfio } from '../support/cli.ts';
import { describeDevice, devices, itEach, type TestDevice } from '../support/devices.ts';
import { vfioFailure } from '../support/errors.ts';
import { skip } from '../support/skip.ts';

/** The kernel makes cdevs, and has the iommufd. */
const hasCdevs = devices[0] !== undefined && hasCdev(devices[0]);

const hasIommufd = existsSync('/sys/class/misc/iommu');

function hasCdev(spec: TestDevice): boolean {
  try {
    return findCdev(spec).path !== '';
  } catch {
    return false;
  }
}

/** The nodes that a specification names, each with the numbers that the node has. */
function nodesIn(spec: CdiSpec): Record<string, string> {
  assertCdi(spec);
  const nodes = spec.devices.flatMap(({ containerEdits }) => containerEdits.deviceNodes);
  return Object.fromEntries(
    nodes.map(({ path }) => {
      const stat = statSync(path, { bigint: true });
      assert.ok(stat.isCharacterDevice(), path);
      return [path, numbersOf(stat)];
    }),
  );
}

const misc = (name: string): string => readFileSync(`/sys/class/misc/${name}/dev`, 'utf8').trim();

/** The nodes that sysfs says are the device's. */
function expectedNodes(spec: TestDevice, backend: string): Record<string, string> {
  const { path, major, minor } = backend === 'cdev' ? findCdev(spec) : findGroup(spec);
  const [beside, name] = backend === 'group' ? ['/dev/vfio/vfio', 'vfio'] : ['/dev/iommu', 'iommu'];
  return { [path]: `${major}:${minor}`, [beside]: misc(name) };
}

describe('a CDI specification', () => {
  const byDefault = hasCdevs ? 'cdev' : 'group';

  itEach('has nodes that are there, with the device’s numbers', (spec) => {
    const found = cdiSpec([spec]);
    assert.deepEqual(nodesIn(found), expectedNodes(spec, byDefault));
    const backends = hasCdevs ? (['cdev', 'group', 'compat'] as const) : (['group'] as const);
    for (const backend of backends) {
      const nodes = nodesIn(cdiSpec([spec], { backend }));
      assert.deepEqual(nodes, expectedNodes(spec, backend), backend);
    }
    return Promise.resolve();
  });

  itEach('has no cdev of a kernel without them, and no group without an IOMMU', async (spec) => {
    const refused: [CdiOptions['backend'], string][] = [
      ...(hasCdevs ? [] : ([['cdev', 'ERR_VFIO_NO_CDEV']] as [CdiOptions['backend'], string][])),
      ...(hasIommufd
        ? []
        : ([['compat', 'ERR_VFIO_UNSUPPORTED']] as [CdiOptions['backend'], string][])),
      ['noiommu', 'ERR_VFIO_WRONG_BACKEND'],
    ];
    for (const [backend, code] of refused) {
      await vfioFailure(() => cdiSpec([spec], { backend }), code);
    }
  });
});

describeDevice('vfio cdi', (first) => {
  const folder = '/run/vfio-cdi-test';

  before(function () {
    if (process.env['VFIO_LAB'] !== '1') skip(this, 'the lab: npm run test:lab');
    mkdirSync(folder);
  });
  after(() => {
    spawnSync('umount', [folder]);
    rmSync(folder, { recursive: true, force: true });
  });

  it('writes all devices where container runtimes look, and replaces its own file', async () => {
    const path = '/var/run/cdi/vfio.dev-device.json';
    const addresses = devices.map(({ address }) => address);
    const { status, out, err } = await vfio(['cdi', ...addresses, '--install']);
    assert.deepEqual([status, err], [0, '']);
    assert.match(out, new RegExp(`^${path}: written\n`));
    const written = JSON.parse(readFileSync(path, 'utf8')) as CdiSpec;
    assert.deepEqual(written, cdiSpec(devices));
    assert.equal(statSync(path).mode & 0o777, 0o644);
    for (const address of addresses)
      assert.ok(out.includes(`--device vfio.dev/device=${address} `));

    assert.match((await vfio(['cdi', first.address, '--install'])).out, /: replaced\n/);
    const replaced = JSON.parse(readFileSync(path, 'utf8')) as CdiSpec;
    assert.deepEqual(
      replaced.devices.map(({ name }) => name),
      [first.address],
    );
    const { out: printed } = await vfio(['cdi', first.address]);
    assert.deepEqual(JSON.parse(printed), replaced);
  });

  it('says that /etc/cdi outlives a boot', async () => {
    mkdirSync('/etc/cdi', { recursive: true });
    const { status, err } = await vfio(['cdi', first.address, '--install', '--dir', '/etc/cdi']);
    assert.equal(status, 0);
    assert.match(err, /\/etc\/cdi outlives a boot/);
    rmSync('/etc/cdi/vfio.dev-device.json');
  });

  it('leaves what was there where the disk is full, and says so', async () => {
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', folder]);
    assert.equal(mounted.status, 0, mounted.stderr.toString());
    const install = ['--install', '--dir', folder];
    const { status: first1 } = await vfio(['cdi', first.address, ...install]);
    assert.equal(first1, 0);
    const path = `${folder}/vfio.dev-device.json`;
    const was = readFileSync(path, 'utf8');
    try {
      writeFileSync(`${folder}/filler`, Buffer.alloc(1 << 20));
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    }
    const { status, out, err } = await vfio(['cdi', first.address, '--name', 'other', ...install]);
    assert.deepEqual([status, out], [1, '']);
    assert.match(err, /^vfio cdi: .*device\.json was not written: ENOSPC.*\nhint: make room/);
    assert.equal(readFileSync(path, 'utf8'), was);
    assert.deepEqual(readdirSync(folder).sort(), ['filler', 'vfio.dev-device.json']);
  });
});
