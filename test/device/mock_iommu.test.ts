import assert from 'node:assert/strict';
import { afterEach, beforeEach, it } from 'mocha';
import { binding, type NativeMemory } from '../../lib/core/binding.ts';
import { DmaBuffer, type HwptData, type Ioas, Iommufd } from '../../lib/index.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { describeMock, type MockDevice, MockIommu, selftest } from '../support/mock_iommu.ts';

// Nested page tables, vIOMMUs and PASIDs on the kernel's own mock IOMMU: what its hardware would
// have to do is looked at behind the library's back.

const page = 4096;
const words = (...numbers: number[]): Uint8Array =>
  new Uint8Array(Uint32Array.from(numbers).buffer);

/** A nested table whose IOTLB has this value in all four entries. */
const filledWith = (value: number): HwptData => ({
  type: selftest.hwptData,
  data: words(value, 0),
});
const forget = (entry: number, flags = 0): Uint8Array => words(flags, entry);

describeMock('the mock IOMMU', () => {
  let iommufd: Iommufd;
  let mock: MockIommu;
  let ioas: Ioas;
  let device: MockDevice;

  beforeEach(() => {
    iommufd = Iommufd.open();
    mock = new MockIommu(iommufd);
    ioas = iommufd.createIoas();
    device = mock.makeDevice(ioas.id, selftest.pasid);
  });
  afterEach(() => {
    // With it goes all that was made in it.
    iommufd.closeSync();
  });

  const iotlb = (table: number, value: number): boolean[] =>
    [0, 1, 2, 3].map((entry) => mock.hasIotlb(table, entry, value));

  it('says what it can', () => {
    const info = iommufd.hardwareInfo(device);
    assert.equal(info.type, selftest.hardwareInfo);
    assert.deepEqual(info.data, words(0, 0xdeadbeef));
    assert.deepEqual([info.dirtyTracking, info.maxPasids], [true, 2 ** 20]);
    assert.deepEqual([info.vtd, info.smmuv3, info.cmdqv, info.amd], Array(4).fill(undefined));
    const asked = iommufd.hardwareInfo(device, selftest.hardwareInfo);
    assert.deepEqual(asked, info);
    const plain = mock.makeDevice(ioas.id, selftest.noDirty);
    const none = iommufd.hardwareInfo(plain);
    assert.deepEqual([none.dirtyTracking, none.maxPasids], [false, 0]);
  });

  it('says so where it is not the IOMMU that is asked for', async () => {
    await failure(() => iommufd.hardwareInfo(device, 'intel-vtd'), 'ENOTSUP');
    await failure(() => iommufd.hardwareInfo({ devId: device.devId + 100 }), 'ENOENT');
  });

  it('leads to what is mapped, and to nothing else', async () => {
    const memory = binding().memoryAllocateSync(16n * 4096n, 0, 0) as NativeMemory;
    const fd = binding().memoryFile(memory) ?? -1;
    await using mapping = await ioas.map({ fd, offset: 4 * page, length: 8 * page });
    assert.ok(mapping.iova >= selftest.aperture);
    await using hwpt = await ioas.createHwpt(device);
    mock.replace(device, hwpt.id);
    assert.ok(mock.leadsTo(hwpt.id, mapping.iova, 8 * page, fd, 4 * page));
    assert.ok(!mock.leadsTo(hwpt.id, mapping.iova, 8 * page, fd, 5 * page));
    await mapping.unmap();
    assert.ok(!mock.leadsTo(hwpt.id, mapping.iova, page, fd, 4 * page));
    binding().memoryRelease(memory);
    mock.replace(device, ioas.id);
  });

  it('nests page tables, whose caches are invalidated', async () => {
    await using parent = await ioas.createHwpt(device, { nestParent: true });
    await using nested = await parent.createNested(device, filledWith(0xbadbeef));
    assert.equal(nested.ioas, ioas);
    mock.replace(device, nested.id);
    assert.deepEqual(iotlb(nested.id, 0xbadbeef), [true, true, true, true]);

    const type = selftest.invalidation;
    assert.equal(await nested.invalidate({ type, entries: [] }), 0);
    assert.equal(await nested.invalidate({ type, entries: [forget(1), forget(3)] }), 2);
    assert.deepEqual(iotlb(nested.id, 0), [false, true, false, true]);

    // What stands before a wrong entry is done, and what comes after it is not.
    const entries = [forget(0), forget(4), forget(2)];
    const error = await vfioFailure(() => nested.invalidate({ type, entries }), 'EINVAL');
    assert.equal(error.reason, 'invalidated-in-part');
    assert.deepEqual(error.facts, { handled: 1, entries: 3 });
    assert.match(
      error.message,
      /IOMMU_HWPT_INVALIDATE.*of 3 entries 1 was handled, and entry 1 was/,
    );
    assert.deepEqual(iotlb(nested.id, 0), [true, true, false, true]);
    assert.ok(mock.hasIotlb(nested.id, 2, 0xbadbeef));
    const flags = await vfioFailure(
      () => nested.invalidateSync({ type, entries: [forget(0, 8)] }),
      'ENOTSUP',
    );
    assert.deepEqual(flags.facts, { handled: 0, entries: 1 });
    assert.equal(nested.invalidateSync({ type, entries: [forget(3, 1)] }), 1, 'all of them');
    assert.deepEqual(iotlb(nested.id, 0), [true, true, true, true]);

    const other = await vfioFailure(
      () => nested.invalidate({ type: 'vtd-s1', entries: [{ addr: 0n, npages: 1n }] }),
      'EINVAL',
    );
    assert.deepEqual(other.facts, { handled: 0, entries: 1 });

    // The parent is in use, and says by what.
    const busy = await vfioFailure(() => parent.close(), 'EBUSY');
    assert.deepEqual(busy.facts, {
      ...{ what: `HWPT ${parent.id}`, devices: [], pageTables: [] },
      objects: [`HWPT ${nested.id}`],
    });
    // The device is attached to it, which another process did.
    await vfioFailure(() => nested.close(), 'EBUSY');
    mock.replace(device, ioas.id);
  });

  it('refuses to nest where it cannot', async () => {
    await using plain = await ioas.createHwpt(device);
    await failure(() => plain.createNested(device, filledWith(1)), 'EINVAL');
    await failure(() => plain.createViommu(device, { type: selftest.viommu }), 'EINVAL');
    await using parent = await ioas.createHwpt(device, { nestParent: true });
    for (const data of [
      { type: 'vtd-s1', pgtblAddr: 0n, addrWidth: 48 },
      { type: 'arm-smmuv3', ste: [1n, 0n] },
      { type: 'amd-guest', dte: [1n, 0n, 0n, 0n] },
    ] as const) {
      await failure(() => parent.createNested(device, data), 'ENOTSUP');
    }
    for (const type of ['arm-smmuv3', 'tegra241-cmdqv'] as const) {
      await failure(() => parent.createViommu(device, { type }), 'ENOTSUP');
    }
    // The mock takes data for its own tables: huge pages alone.
    const data = { type: selftest.hwptData, data: words(0, 1) };
    await (await ioas.createHwpt(device, { data })).close();
    await failure(
      () => ioas.createHwpt(device, { data: { ...data, data: words(0, 9) } }),
      'ENOTSUP',
    );
  });

  it('makes vIOMMUs with data and memory of their own', async () => {
    await using parent = await ioas.createHwpt(device, { nestParent: true });
    const given = new Uint8Array(24);
    given.set(words(0x1234_5678));
    await using viommu = await parent.createViommu(device, { type: selftest.viommu, data: given });
    const told = new DataView(viommu.data.buffer);
    assert.equal(told.getUint32(4, true), 0x1234_5678, 'it answers what it was given');
    const part = {
      offset: told.getBigUint64(8, true),
      length: Number(told.getBigUint64(16, true)),
    };
    assert.equal(part.length, 2 * page);
    const mapped = viommu.map(part);
    assert.equal(mapped.read32(0), 0x1234_5678);
    mapped.write32(page, 0x9abc_def0);
    assert.equal(viommu.map(part).read32(page), 0x9abc_def0, 'another mapping of the same');
    for (const wrong of [
      { ...part, length: page },
      { ...part, offset: part.offset + BigInt(page) },
      { offset: 0n, length: page },
    ]) {
      await failure(() => viommu.map(wrong), 'ENXIO');
    }
    // What is mapped keeps it.
    refused('EBUSY', () => {
      mock.destroy(viommu.id);
    });
    const { id } = viommu;
    await viommu.close();
    await failure(() => mapped.read32(0), 'ERR_VFIO_CLOSED');
    refused('ENOENT', () => {
      mock.destroy(id);
    });
  });

  it('knows devices by the ids that a guest has', async () => {
    await using parent = await ioas.createHwpt(device, { nestParent: true });
    await using viommu = await parent.createViommu(device, { type: selftest.viommu });
    await using nested = await viommu.createNested(device, filledWith(7));
    refused('ENOENT', () => {
      mock.replace(device, nested.id);
    });
    await using vdevice = await viommu.createVdevice(device, 0x99n);
    assert.equal(vdevice.virtId, 0x99n);
    await failure(() => viommu.createVdevice(device, 0x9an), 'EEXIST');
    const second = mock.makeDevice(ioas.id);
    await failure(() => viommu.createVdeviceSync(second, 0x99n), 'EEXIST');
    mock.replace(device, nested.id);
    assert.deepEqual(iotlb(nested.id, 7), [true, true, true, true]);

    const cached = (value: number): boolean[] =>
      [0, 1, 2, 3].map((entry) => mock.hasCache(device, entry, value));
    assert.deepEqual(cached(0xbaddad), [true, true, true, true]);
    const type = selftest.invalidation;
    const drop = (virtId: number, entry: number): Uint8Array => words(0, virtId, entry);
    assert.equal(await viommu.invalidate({ type, entries: [drop(0x99, 2)] }), 1);
    assert.deepEqual(cached(0), [false, false, true, false]);
    const entries = [drop(0x99, 0), drop(0x77, 1), drop(0x99, 1)];
    const error = await vfioFailure(() => viommu.invalidate({ type, entries }), 'EINVAL');
    assert.deepEqual(error.facts, { handled: 1, entries: 3 });
    assert.deepEqual(cached(0), [true, false, true, false]);

    mock.replace(device, ioas.id);
    await vdevice.close();
    // The number is free again.
    await (await viommu.createVdevice(second, 0x99n)).close();
    // A device that goes takes its vDEVICE along.
    const lost = await viommu.createVdevice(second, 0x98n);
    mock.destroy(second.own);
    await lost.close();
  });

  it('tells the events of a guest’s devices, and how many were lost', async () => {
    await using parent = await ioas.createHwpt(device, { nestParent: true });
    await using viommu = await parent.createViommu(device, { type: selftest.viommu });
    await using _vdevice = await viommu.createVdevice(device, 0x42n);
    await using nested = await viommu.createNested(device, filledWith(7));
    mock.replace(device, nested.id);
    const options = { type: selftest.veventQueue, dataLength: 4, depth: 2 };
    await using queue = viommu.createVeventQueue(options);
    await failure(() => viommu.createVeventQueue(options), 'EEXIST');
    assert.deepEqual(queue.read(), []);
    const data = words(0x42);

    const waiting = queue.wait();
    mock.event(device);
    await waiting;
    assert.deepEqual(queue.read(), [{ sequence: 0, lost: 0, data }]);

    // The queue keeps two. Of those after them it only says that they were.
    for (let count = 0; count < 5; count++) mock.event(device);
    assert.deepEqual(queue.read(), [
      { sequence: 1, lost: 0, data },
      { sequence: 2, lost: 0, data },
      { sequence: 5, lost: 3, data: undefined },
    ]);
    mock.event(device);
    const loop = queue.events();
    assert.deepEqual(await loop.next(), {
      value: [{ sequence: 6, lost: 0, data }],
      done: false,
    });
    const next = loop.next();
    mock.event(device);
    assert.deepEqual((await next).value, [{ sequence: 7, lost: 0, data }]);

    const ended = queue[Symbol.asyncIterator]().next();
    await queue.close();
    assert.deepEqual(await ended, { value: undefined, done: true });
    const error = await vfioFailure(() => viommu.close(), 'EBUSY');
    assert.ok(!JSON.stringify(error.facts).includes('vEVENTQ'), 'it was destroyed');
    viommu.createVeventQueue(options).closeSync();
    mock.replace(device, ioas.id);
  });

  it('tells nobody of events where there is no queue', async () => {
    await using parent = await ioas.createHwpt(device, { nestParent: true });
    await using viommu = await parent.createViommu(device, { type: selftest.viommu });
    await failure(
      () => viommu.createVeventQueue({ type: 'arm-smmuv3', depth: 0 }),
      'ERR_OUT_OF_RANGE',
    );
    await failure(
      () => viommu.createVeventQueue({ type: 7, dataLength: 4, depth: 2 ** 32 - 1 }),
      'EINVAL',
    );
  });

  it('reads queues of a guest’s, which are pinned', async () => {
    await using buffer = await DmaBuffer.allocate(4 * page);
    await using mapping = await ioas.map(buffer);
    await using parent = await ioas.createHwpt(device, { nestParent: true });
    await using viommu = await parent.createViommu(device, { type: selftest.viommu });
    const at = (index: number, more: object = {}): Parameters<typeof viommu.createHwQueue>[0] => ({
      type: selftest.hwQueue,
      index,
      nestingParentIova: mapping.iova,
      length: BigInt(page),
      ...more,
    });
    await failure(() => viommu.createHwQueue(at(1)), 'EIO');
    await failure(() => viommu.createHwQueue(at(2)), 'EINVAL');
    await failure(() => viommu.createHwQueue(at(0, { type: 'tegra241-cmdqv' })), 'ENOTSUP');
    await failure(() => viommu.createHwQueue(at(0, { nestingParentIova: 0x7000_0000n })), 'ENOENT');
    const first = await viommu.createHwQueue(at(0));
    await failure(() => viommu.createHwQueue(at(0)), 'EEXIST');
    const second = viommu.createHwQueueSync(at(1));
    assert.deepEqual([first.index, second.index], [0, 1]);
    await failure(() => mapping.unmap(), 'EBUSY');
    // The second stands on the first.
    await vfioFailure(() => first.close(), 'EBUSY');
    await second.close();
    first.closeSync();
  });

  it('has an address space for each PASID, which is replaced and detached', async () => {
    await using first = await ioas.createHwpt(device, { pasid: true });
    await using second = await ioas.createHwpt(device, { pasid: true, dirtyTracking: true });
    await using without = await ioas.createHwpt(device);
    mock.replace(device, first.id);
    assert.ok(mock.hasPasid(device, 100, 0));
    mock.attachPasid(device, 100, first.id);
    assert.ok(mock.hasPasid(device, 100, first.id));
    mock.replacePasid(device, 100, second.id);
    assert.ok(mock.hasPasid(device, 100, second.id) && !mock.hasPasid(device, 100, first.id));
    refused('EINVAL', () => {
      mock.attachPasid(device, 101, without.id);
    });
    await using parent = await ioas.createHwpt(device, { nestParent: true, pasid: true });
    await using nested = await parent.createNested(device, filledWith(3), { pasid: true });
    mock.attachPasid(device, 101, nested.id);
    assert.ok(mock.hasPasid(device, 101, nested.id));
    await vfioFailure(() => nested.close(), 'EBUSY');
    mock.detachPasid(device, 100);
    mock.detachPasid(device, 101);
    assert.ok(mock.hasPasid(device, 100, 0) && mock.hasPasid(device, 101, 0));
    mock.replace(device, ioas.id);
  });
});

/** The mock itself refuses. */
function refused(code: string, attempt: () => void): void {
  assert.throws(attempt, { code });
}
