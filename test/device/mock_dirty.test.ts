import assert from 'node:assert/strict';
import { afterEach, beforeEach, it } from 'mocha';
import { type DirtyRange, DmaBuffer, type Hwpt, type Ioas, Iommufd } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { describeMock, type MockDevice, MockIommu, selftest } from '../support/mock_iommu.ts';

// Which pages a device wrote, as the kernel's mock IOMMU tells it, against what it was made to
// write.

const page = 4096n;

/** Numbers that are the same in each run. */
function* random(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state;
  }
}

describeMock('dirty tracking on the mock IOMMU', () => {
  let iommufd: Iommufd;
  let mock: MockIommu;
  let ioas: Ioas;
  let device: MockDevice;
  let hwpt: Hwpt;

  beforeEach(async () => {
    iommufd = Iommufd.open();
    mock = new MockIommu(iommufd);
    ioas = iommufd.createIoas();
    // A bit for each page, where the IOMMU would have one for each large page.
    ioas.hugePages = false;
    device = mock.makeDevice(ioas.id);
    hwpt = await ioas.createHwpt(device, { dirtyTracking: true });
    mock.replace(device, hwpt.id);
  });
  afterEach(() => {
    iommufd.closeSync();
  });

  const numbers = (range: DirtyRange, dirty: Iterable<bigint>): number[] =>
    [...dirty].map((iova) => Number((iova - range.iova) / page));

  it('is read, cleared by reading, and left by looking', async () => {
    await using buffer = await DmaBuffer.allocate(200 * Number(page));
    await using mapping = await ioas.map(buffer);
    const range = { iova: mapping.iova, length: 200n * page };
    await hwpt.setDirtyTracking(true);
    assert.deepEqual([...(await hwpt.readDirty(range))], []);
    const written = [0, 1, 63, 64, 65, 127, 128, 199];
    mock.write(hwpt.id, range, written);
    const look = { ...range, clear: false };
    assert.deepEqual(numbers(range, await hwpt.readDirty(look)), written);
    assert.deepEqual(numbers(range, await hwpt.readDirty(look)), written, 'looking clears none');
    const part = { iova: range.iova + 64n * page, length: 64n * page };
    assert.deepEqual(numbers(range, await hwpt.readDirty(part)), [64, 65, 127]);
    const rest = [0, 1, 63, 128, 199];
    assert.deepEqual(numbers(range, await hwpt.readDirty(look)), rest, 'of that part alone');
    const dirty = await hwpt.readDirty(range);
    assert.ok(dirty.has(range.iova + 199n * page) && !dirty.has(range.iova + 198n * page));
    assert.deepEqual([...(await hwpt.readDirty(range))], []);
  });

  it('has bits for larger pages, and for halves of the mock’s', async () => {
    await using buffer = await DmaBuffer.allocate(64 * Number(page));
    await using mapping = await ioas.map(buffer, { iova: 0x200_0000n });
    const range = { iova: mapping.iova, length: 64n * page };
    await hwpt.setDirtyTracking(true);
    mock.write(hwpt.id, range, [5, 40, 41]);
    const sixteen = await hwpt.readDirty({ ...range, pageSize: 16n * page, clear: false });
    assert.deepEqual(numbers(range, sixteen), [0, 32]);
    assert.equal(sixteen.bitmap.length, 1);
    const all = await hwpt.readDirty({ ...range, pageSize: 64n * page, clear: false });
    assert.deepEqual(numbers(range, all), [0]);
    const halves = await hwpt.readDirty({ ...range, pageSize: page / 2n });
    assert.deepEqual(
      [...halves].map((iova) => Number((iova - range.iova) / (page / 2n))),
      [10, 11, 80, 81, 82, 83],
    );
  });

  it('begins with all clean, and forgets what was written while it was off', async () => {
    await using buffer = await DmaBuffer.allocate(8 * Number(page));
    await using mapping = await ioas.map(buffer);
    const range = { iova: mapping.iova, length: 8n * page };
    await hwpt.setDirtyTracking(true);
    mock.write(hwpt.id, range, [3]);
    await hwpt.setDirtyTracking(false);
    assert.throws(
      () => {
        mock.write(hwpt.id, range, [4]);
      },
      { code: 'EINVAL' },
      'a device that is not tracked',
    );
    await hwpt.setDirtyTracking(true);
    assert.deepEqual([...(await hwpt.readDirty(range))], []);
    await hwpt.setDirtyTracking(true);
    mock.write(hwpt.id, range, [5]);
    assert.deepEqual(numbers(range, await hwpt.readDirty(range)), [5]);
  });

  it('needs a page table that was made for it, and an IOMMU that can', async () => {
    await using plain = await ioas.createHwpt(device);
    await failure(() => plain.setDirtyTracking(true), 'ENOTSUP');
    const other = mock.makeDevice(ioas.id, selftest.noDirty);
    await failure(() => ioas.createHwpt(other, { dirtyTracking: true }), 'ENOTSUP');
    // Nor is such a device attached to a table that tracks.
    assert.throws(
      () => {
        mock.replace(other, hwpt.id);
      },
      { code: 'EINVAL' },
    );
  });

  it('agrees with a model, over ranges with gaps and for any pages', async () => {
    const numbersOf = random(4711);
    const below = (most: number): number => numbersOf.next().value % most;
    await using buffer = await DmaBuffer.allocate(512 * Number(page));
    // Pieces of all sizes; some stand side by side, some apart.
    const pieces: { iova: bigint; pages: number }[] = [];
    for (let at = selftest.aperture; pieces.length < 12;) {
      const pages = 1 + below(150);
      await ioas.map(buffer, { iova: at, length: pages * Number(page) });
      pieces.push({ iova: at, pages });
      at += BigInt(pages) * page + (below(2) === 0 ? 0n : BigInt(1 + below(300)) * page);
    }
    const model = new Set<bigint>();
    await hwpt.setDirtyTracking(true);
    for (let round = 0; round < 40; round++) {
      const { iova, pages } = pieces[below(pieces.length)] ?? { iova: 0n, pages: 0 };
      const first = below(pages);
      const count = 1 + below(pages - first);
      const range = { iova: iova + BigInt(first) * page, length: BigInt(count) * page };
      if (round % 2 === 0) {
        const written = Array.from({ length: below(count + 1) }, () => below(count));
        mock.write(hwpt.id, range, written);
        for (const at of written) model.add(range.iova + BigInt(at) * page);
        continue;
      }
      const clear = below(2) === 0;
      const expected = [...model].filter(
        (at) => at >= range.iova && at < range.iova + range.length,
      );
      const told = [...(await hwpt.readDirty({ ...range, clear }))];
      assert.deepEqual(
        told,
        expected.sort((a, b) => (a < b ? -1 : 1)),
        `round ${round}`,
      );
      if (clear) for (const at of expected) model.delete(at);
    }
    // Neighbours are read together.
    for (const [at, { iova, pages }] of pieces.entries()) {
      const next = pieces[at + 1];
      if (next?.iova !== iova + BigInt(pages) * page) continue;
      const range = { iova, length: BigInt(pages + next.pages) * page };
      const expected = [...model].filter((one) => one >= iova && one < iova + range.length);
      const told = await hwpt.readDirty({ ...range, clear: false });
      assert.deepEqual(
        [...told],
        expected.sort((a, b) => (a < b ? -1 : 1)),
      );
    }
  }).timeout(300_000);

  it('tells of a gigabyte, of which little was written', async () => {
    // The same 16 MiB again and again: the page table is what is large.
    const chunk = 16 << 20;
    await using buffer = await DmaBuffer.allocate(chunk);
    const first = await ioas.map(buffer, { iova: selftest.aperture });
    const length = 1n << 30n;
    for (let at = BigInt(chunk); at < length; at += BigInt(chunk)) {
      await ioas.copy(first.iova, chunk, { iova: selftest.aperture + at });
    }
    const range = { iova: selftest.aperture, length };
    await hwpt.setDirtyTracking(true);
    const pages = Number(length / page);
    const numbersOf = random(7);
    const written = new Set([0, pages - 1, 64, 32_767, 32_768]);
    while (written.size < 100) written.add(numbersOf.next().value % pages);
    mock.write(hwpt.id, range, written);
    const dirty = await hwpt.readDirty(range);
    assert.equal(dirty.bitmap.length, pages / 64);
    assert.deepEqual(
      numbers(range, dirty),
      [...written].sort((a, b) => a - b),
    );
    assert.deepEqual([...(await hwpt.readDirty(range))], []);
  }).timeout(300_000);

  it('tells no less where the IOMMU has large pages', async () => {
    await using large = iommufd.createIoas();
    const other = mock.makeDevice(large.id);
    await using table = await large.createHwpt(other, { dirtyTracking: true });
    mock.replace(other, table.id);
    await using buffer = await DmaBuffer.allocate(4 << 20);
    await using mapping = await large.map(buffer, { iova: selftest.aperture });
    await table.setDirtyTracking(true);
    const range = { iova: mapping.iova, length: BigInt(4 << 20) };
    mock.write(table.id, range, [0, 700]);
    const told = numbers(range, await table.readDirty(range));
    assert.ok(told.includes(0) && told.includes(700));
    // A mock device stays attached as long as there is one.
    mock.destroy(other.own);
  });
});
