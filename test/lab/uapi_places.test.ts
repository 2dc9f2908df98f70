import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'mocha';
import { labHeaders } from '../../lab/headers.ts';
import { table } from '../support/matrix_table.ts';
import { root } from '../support/root.ts';
import { type UapiName, uapiNames } from '../support/uapi_names.ts';
import { exceptions, places } from '../support/uapi_places.ts';

const words = (names: string): string[] => names.trim().split(/\s+/);

/** How a place is written in a program: `.readDirty`. */
const member = (place: string): string => `.${place.split(/[#.]/).at(-1)}`;

describe('what the kernel offers to programs', () => {
  let names: UapiName[];

  before(async function () {
    this.timeout(120_000);
    const headers = join(await labHeaders('7.3'), 'linux');
    names = ['vfio.h', 'iommufd.h'].flatMap((file) => uapiNames(join(headers, file)));
  });

  it('is found in its headers', () => {
    const ioctls = names.filter(({ kind }) => kind === 'ioctl').map(({ name }) => name);
    assert.ok(ioctls.length >= 56, `${ioctls.length} ioctls`);
    for (const name of ['VFIO_DEVICE_BIND_IOMMUFD', 'IOMMU_HWPT_SET_DIRTY_TRACKING']) {
      assert.ok(ioctls.includes(name), name);
    }
    const values = names.filter(({ kind }) => kind === 'value').map(({ name }) => name);
    for (const name of [
      'VFIO_DEVICE_ATTACH_PASID',
      'VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2',
      'VFIO_PCI_REQ_IRQ_INDEX',
      'IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV',
      'IOMMU_PGFAULT_PERM_PRIV',
    ]) {
      assert.ok(values.includes(name), name);
    }
  });

  it('has a place in the API, or an exception that says why not, and each name one', () => {
    const known = [...places, ...exceptions].flatMap(([, all]) => words(all));
    const theirs = names.map(({ name }) => name);
    assert.deepEqual(
      theirs.filter((name) => !known.includes(name)),
      [],
      'neither a place nor an exception',
    );
    assert.deepEqual(
      known.filter((name) => !theirs.includes(name)),
      [],
      'not in the headers',
    );
    assert.deepEqual(
      known.filter((name, at) => known.indexOf(name) !== at),
      [],
      'twice',
    );
    for (const [why] of exceptions) assert.ok(why.length > 20, why);
  });

  it('is excepted where it is an ioctl only of POWER machines, and where Node has no use for it', () => {
    const excepted = exceptions.flatMap(([, all]) => words(all));
    const ioctls = names.filter(({ name, kind }) => kind === 'ioctl' && excepted.includes(name));
    assert.deepEqual(
      ioctls.map(({ name }) => name).filter((name) => !/SPAPR|EEH|IOMMU_(?:EN|DIS)ABLE/.test(name)),
      ['VFIO_GROUP_UNSET_CONTAINER'],
    );
  });

  it('has places that are public, each of which a test calls on a real kernel', () => {
    const tests = ['test/device', 'test/lab'].flatMap((folder) => {
      const path = new URL(folder, root).pathname;
      return readdirSync(path)
        .filter((name) => name !== 'uapi_places.test.ts')
        .map((name) => readFileSync(join(path, name), 'utf8'));
    });
    const missing = places.flatMap(([place]) => {
      assert.ok(Object.hasOwn(table, place), `${place} is not public`);
      const used = new RegExp(`\\${member(place)}(?:Sync)?\\b`);
      return tests.some((text) => used.test(text)) ? [] : [place];
    });
    assert.deepEqual([...new Set(missing)], []);
  });
});
