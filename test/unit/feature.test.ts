import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, readFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { describe, it } from 'mocha';
import type { BoundCdev } from '../../lib/backend/cdev_device.ts';
import { parseUuid } from '../../lib/core/arguments.ts';
import { binding, type Binding, type NativeFd } from '../../lib/core/binding.ts';
import { featureNames } from '../../lib/feature/call.ts';
import { decodePlane } from '../../lib/feature/display.ts';
import { DirtyPages } from '../../lib/feature/dirty_pages.ts';
import { Features } from '../../lib/feature/features.ts';
import { PeerMaps } from '../../lib/region/owner.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { root } from '../support/root.ts';

const { EINVAL, ENOMSG, ENOTTY, EOPNOTSUPP } = os.errno;

function fakeFeatures(): Features {
  const location = { path: '/dev/vfio/devices/vfio0', device: { address: '0000:3b:00.0' } };
  return Features.of({ fd: { native: 1 }, location } as unknown as BoundCdev, new PeerMaps());
}

/** What stands in for the kernel's descriptor of migration data. */
const openNull = (): Promise<number> =>
  Promise.resolve(binding().open('/dev/null', constants.O_RDWR) ?? -1);

describe('features over a fake kernel', () => {
  it('are lacking in each of the ways in which a kernel says so', async () => {
    const features = fakeFeatures();
    for (const errno of [ENOTTY, EOPNOTSUPP]) {
      await withBinding({ exportDmabuf: () => Promise.resolve(-errno) }, async () => {
        const ranges = [{ offset: 0, length: 4096 }];
        const error = await failure(() => features.exportDmabuf(0, ranges), 'ERR_VFIO_UNSUPPORTED');
        assert.match(error.message, /0000:3b:00.0 has no dma-buf: .*older than 6\.19/);
      });
    }
    await withBinding({ feature: () => Promise.resolve(-EINVAL) }, async () => {
      const enable = (): unknown => features.migration.enablePrecopyInfoV2();
      assert.match((await failure(enable, 'ERR_VFIO_UNSUPPORTED')).message, /older than 7\.1/);
      assert.deepEqual(await features.list(), []);
      await failure(() => features.migration.state(), 'EINVAL');
    });
  });

  it('are listed with what can be done with them', async () => {
    const has: Binding['feature'] = (_device, flags) => {
      const isThere = (flags & 0xffff) === 9 && (flags & 0x20000) === 0;
      return Promise.resolve(isThere ? new Uint8Array(0) : -ENOTTY);
    };
    await withBinding({ feature: has }, async () => {
      const size = { index: 9, name: 'mig-data-size', since: '6.2', operations: ['get'] };
      assert.deepEqual(await fakeFeatures().list(), [size]);
    });
    assert.equal(featureNames.length, 14);
  });

  it('tell no pending error of an s390 function as nothing', async () => {
    const { zpciError } = { zpciError: () => Promise.resolve(-ENOMSG) };
    await withBinding({ zpciError }, async () => {
      assert.equal(await fakeFeatures().zpciError(64), undefined);
    });
    const bytes = Uint8Array.of(1, 2);
    await withBinding({ zpciError: () => Promise.resolve(bytes) }, async () => {
      assert.equal(await fakeFeatures().zpciError(2), bytes);
    });
  });

  it('set the bus master of a CDX device', async () => {
    const seen: unknown[] = [];
    const feature: Binding['feature'] = (_device, flags, bytes) => {
      seen.push([flags, [...bytes]]);
      return Promise.resolve(bytes);
    };
    await withBinding({ feature }, async () => {
      await fakeFeatures().setBusMaster(true);
      await fakeFeatures().setBusMaster(false);
    });
    assert.deepEqual(seen.length, 2);
    assert.deepEqual(seen[1], [0x2000a, [0, 0, 0, 0]]);
  });

  it('have tokens in the order of their text', () => {
    assert.deepEqual(
      [...parseUuid('uuid', '00112233-4455-6677-8899-AABBccddeeff')],
      Array.from({ length: 16 }, (_, at) => at * 17),
    );
  });
});

describe('migration data over a fake kernel', () => {
  it('have temporary ends told by ENOMSG, and both forms of precopy info', async () => {
    const reads = [Uint8Array.of(1, 2), -ENOMSG, Uint8Array.of(3), -ENOMSG, new Uint8Array(0)];
    const words = (flags: number): Uint32Array => Uint32Array.of(24, flags, 7, 1, 9, 0);
    const infos = [words(0), words(1), -EINVAL];
    const fakes: Partial<Binding> = {
      setMigrationState: (_device, state) => (state === 6 ? openNull() : Promise.resolve(0)),
      readData: () => Promise.resolve(reads.shift() ?? -EINVAL),
      precopyInfo: () => Promise.resolve(infos.shift() ?? -ENOTTY),
      feature: (_device, _flags, bytes) => Promise.resolve(bytes),
    };
    await withBinding(fakes, async () => {
      const { migration } = fakeFeatures();
      const source = await migration.setState('pre-copy');
      const info = { initialBytes: 0x100000007n, dirtyBytes: 9n };
      assert.deepEqual(await source.precopyInfo(), { ...info, reinit: false });
      await migration.enablePrecopyInfoV2();
      assert.deepEqual(await source.precopyInfo(), { ...info, reinit: true });
      await failure(() => source.precopyInfo(), 'EINVAL');
      const bytes: number[] = [];
      source.on('data', (chunk: Uint8Array) => bytes.push(...chunk));
      await once(source, 'idle');
      assert.deepEqual(bytes, [1, 2]);
      source.more();
      await once(source, 'idle');
      assert.deepEqual(bytes, [1, 2, 3]);
      const closed = once(source, 'close');
      assert.equal(await migration.setState('stop-copy'), source);
      await closed;
      assert.deepEqual(reads, []);
    });
  });

  it('are written until all are taken, and an error destroys the stream', async () => {
    const taken: number[] = [];
    const fakes: Partial<Binding> = {
      setMigrationState: openNull,
      writeData: (_data: NativeFd, bytes: Uint8Array) => {
        taken.push(bytes.length);
        return Promise.resolve(taken.length < 3 ? 2 : taken.length === 3 ? 1 : -EINVAL);
      },
      readData: () => Promise.resolve(-EINVAL),
    };
    await withBinding(fakes, async () => {
      const { migration } = fakeFeatures();
      const sink = await migration.setState('resuming');
      await new Promise((resolve) => sink.write(new Uint8Array(5), resolve));
      assert.deepEqual(taken, [5, 3, 1]);
      sink.write(new Uint8Array(1));
      await assert.rejects(once(sink, 'finish'), { code: 'EINVAL' });
      const source = await migration.setState('stop-copy');
      source.resume();
      await assert.rejects(once(source, 'end'), { code: 'EINVAL' });
    });
  });
});

describe('decoders of features', () => {
  it('name the dirty pages', () => {
    const bitmap = BigUint64Array.of(1n | (1n << 63n), 2n);
    const dirty = new DirtyPages(0x10000n, 4096n * 128n, 4096n, bitmap);
    assert.deepEqual([...dirty], [0x10000n, 0x10000n + 63n * 4096n, 0x10000n + 65n * 4096n]);
  });

  it('read a plane, with and without a hotspot', () => {
    const words = new Uint32Array(16);
    words.set([64, 2, 2, 0x34325258, 5, 0, 640, 480, 2560, 1228800, 1, 2, 3, 4, 9]);
    const plane = decodePlane(words);
    assert.deepEqual(plane, {
      format: 'XR24',
      formatModifier: 5n,
      width: 640,
      height: 480,
      stride: 2560,
      size: 1228800,
      x: 1,
      y: 2,
      hotspot: { x: 3, y: 4 },
      source: 9,
    });
    words.set([0xffffffff, 0xffffffff], 12);
    words[3] = 0;
    const off = decodePlane(words);
    assert.deepEqual([off.hotspot, off.format], [undefined, undefined]);
  });
});

describe('docs/kernels.md', () => {
  it('says since which kernel there is each feature', () => {
    const page = readFileSync(new URL('docs/kernels.md', root), 'utf8');
    const [, table = ''] = /^\| feature \| since \|\n(.*?)\n\n/ms.exec(page) ?? [];
    const rows = table.split('\n').flatMap((row) => {
      const [, names = '', since = ''] = row.split('|');
      return [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => `${name} ${since.trim()}`);
    });
    assert.deepEqual(
      rows.toSorted(),
      featureNames.map(({ name, since }) => `${name} ${since}`).toSorted(),
    );
  });
});
