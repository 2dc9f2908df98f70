import assert from 'node:assert/strict';
import { afterEach, beforeEach, it } from 'mocha';
import {
  type FaultQueue,
  type Hwpt,
  type Ioas,
  Iommufd,
  type IoPageFault,
} from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { describeMock, type MockDevice, MockIommu, selftest } from '../support/mock_iommu.ts';

// Page requests on the kernel's mock IOMMU. Its devices end each group with its first page, so that
// groups of several pages are not seen here.

describeMock('page faults on the mock IOMMU', () => {
  let iommufd: Iommufd;
  let mock: MockIommu;
  let ioas: Ioas;
  let device: MockDevice;
  let queue: FaultQueue;
  let hwpt: Hwpt;

  beforeEach(async () => {
    iommufd = Iommufd.open();
    mock = new MockIommu(iommufd);
    ioas = iommufd.createIoas();
    device = mock.makeDevice(ioas.id, selftest.pasid);
    queue = iommufd.createFaultQueue();
    hwpt = await ioas.createHwpt(device, { faultQueue: queue });
    mock.replace(device, hwpt.id);
  });
  afterEach(() => {
    queue.closeSync();
    iommufd.closeSync();
  });

  /** So many faults, as they come. */
  async function read(count: number): Promise<IoPageFault[]> {
    const faults: IoPageFault[] = [];
    while (faults.length < count) {
      await queue.wait();
      faults.push(...queue.read());
    }
    return faults;
  }

  /** Whether a group still waits for its answer: the kernel refuses one that nobody waits for. */
  function answers(cookie: number): boolean {
    try {
      queue.respond(cookie, true);
      return true;
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EINVAL');
      return false;
    }
  }

  it('are told and answered', async () => {
    assert.deepEqual(queue.read(), []);
    mock.fault(device, 0x1234_5000n, { permissions: 2, group: 7 });
    const [fault] = await read(1);
    assert.ok(fault);
    const { cookie, ...told } = fault;
    assert.deepEqual(told, {
      devId: device.devId,
      pasid: undefined,
      group: 7,
      last: true,
      ...{ read: false, write: true, execute: false, privileged: false },
      iova: 0x1234_5000n,
      length: 0,
    });
    assert.ok(answers(cookie));
    assert.ok(!answers(cookie), 'once');
    assert.ok(!answers(cookie + 1), 'none that there is not');
  });

  it('are told of in a loop, and answered in any order', async () => {
    const groups = [1, 2, 3, 4, 5];
    for (const group of groups) {
      mock.fault(device, BigInt(group) << 12n, { group, permissions: group });
    }
    const faults: IoPageFault[] = [];
    for await (const some of queue) {
      faults.push(...some);
      if (faults.length === groups.length) break;
    }
    assert.deepEqual(
      faults.map(({ group, iova, read, write, execute }) => [group, iova, read, write, execute]),
      groups.map((group) => [
        group,
        BigInt(group) << 12n,
        (group & 1) !== 0,
        (group & 2) !== 0,
        (group & 4) !== 0,
      ]),
    );
    assert.equal(new Set(faults.map(({ cookie }) => cookie)).size, groups.length);
    for (const { cookie, group } of faults.toReversed()) queue.respond(cookie, group % 2 === 0);
    for (const { cookie } of faults) assert.ok(!answers(cookie));
  });

  it('are of a PASID, where the request has one', async () => {
    await using table = await ioas.createHwpt(device, { faultQueue: queue, pasid: true });
    mock.replace(device, table.id);
    mock.attachPasid(device, 77, table.id);
    mock.fault(device, 0x5000n, { pasid: 77, permissions: 1 | 8 });
    const [fault] = await read(1);
    assert.deepEqual([fault?.pasid, fault?.read, fault?.privileged], [77, true, true]);
    assert.ok(answers(fault?.cookie ?? 0));
    mock.detachPasid(device, 77);
    mock.replace(device, ioas.id);
  });

  it('of nested tables come to their queue', async () => {
    mock.replace(device, ioas.id);
    await using parent = await ioas.createHwpt(device, { nestParent: true });
    const data = { type: selftest.hwptData, data: new Uint8Array(8) };
    await using nested = await parent.createNested(device, data, { faultQueue: queue });
    mock.replace(device, nested.id);
    mock.fault(device, 0x9000n);
    const faults = await read(1);
    assert.deepEqual(
      faults.map(({ iova }) => iova),
      [0x9000n],
    );
    for (const { cookie } of faults) assert.ok(answers(cookie));
    mock.replace(device, ioas.id);
    // A nesting parent takes none.
    await failure(
      () => ioas.createHwpt(device, { nestParent: true, faultQueue: queue }),
      'ENOTSUP',
    );
  });

  it('that are left unanswered keep nothing from being closed', async () => {
    mock.fault(device, 0x1000n, { group: 1 });
    mock.fault(device, 0x2000n, { group: 2 });
    const [first, second] = await read(2);
    mock.fault(device, 0x3000n, { group: 3 });
    await queue.wait();
    // Neither the two that were read nor the one that was not.
    mock.replace(device, ioas.id);
    assert.deepEqual(queue.read(), [], 'the kernel answered for the program');
    assert.ok(!answers(first?.cookie ?? 0) && !answers(second?.cookie ?? 0));
    await hwpt.close();
    await queue.close();
  });

  it('are gone with their device', async () => {
    mock.fault(device, 0x1000n, { group: 1 });
    const [fault] = await read(1);
    mock.fault(device, 0x2000n, { group: 2 });
    await queue.wait();
    mock.destroy(device.own);
    assert.deepEqual(queue.read(), []);
    assert.ok(!answers(fault?.cookie ?? 0));
    await hwpt.close();
    // Of others they come still.
    const other = mock.makeDevice(ioas.id);
    await using table = await ioas.createHwpt(other, { faultQueue: queue });
    mock.replace(other, table.id);
    mock.fault(other, 0x4000n);
    const last = await read(1);
    assert.deepEqual(
      last.map(({ devId }) => devId),
      [other.devId],
    );
    for (const { cookie } of last) assert.ok(answers(cookie));
    mock.destroy(other.own);
  });

  it('of more groups than one read takes are all told', async () => {
    for (let group = 0; group < 70; group++) mock.fault(device, BigInt(group) << 12n, { group });
    const faults = await read(70);
    assert.deepEqual(
      faults.map(({ group }) => group),
      Array.from({ length: 70 }, (_, group) => group),
    );
    for (const { cookie } of faults) assert.ok(answers(cookie));
  }).timeout(300_000);

  it('have a queue as long as a page table uses it', async () => {
    const { id } = queue;
    mock.fault(device, 0x1000n);
    await queue.wait();
    await queue.close();
    await failure(() => queue.read(), 'ERR_VFIO_CLOSED');
    assert.throws(
      () => {
        mock.destroy(id);
      },
      { code: 'EBUSY' },
    );
    mock.replace(device, ioas.id);
    await hwpt.close();
    mock.destroy(id);
  });
});
