import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { CommandQueue } from '../../examples/nvme/command_queue.ts';
import { encode, encodeTransfer, io } from '../../examples/nvme/commands.ts';
import { decodeEvent } from '../../examples/nvme/events.ts';
import { decodeController, decodeNamespaceList } from '../../examples/nvme/identify.ts';
import { maxBytes, PrpTable } from '../../examples/nvme/prp.ts';
import { RandomReads } from '../../examples/nvme/random_reads.ts';
import { controllerRegisters, doorbellOffsets } from '../../examples/nvme/registers.ts';
import { QueuePair, ringLayout } from '../../examples/nvme/queue.ts';
import { NvmeError, statusError } from '../../examples/nvme/status.ts';
import { DmaBuffer, type VfioError } from '../../lib/index.ts';
import { fileRegion } from '../support/file_region.ts';

// What the NVMe example computes; what it does with a controller is in test/device.

/** A queue pair whose device is {@link complete}. */
async function makeRings() {
  const entries = 8;
  const lists = ringLayout(entries).bytes;
  const buffer = await DmaBuffer.allocate(lists + PrpTable.bytes(entries));
  const file = fileRegion(new Uint8Array(0x2000), { size: 0x2000 });
  const bar = file.region.map();
  // The example has the types of the package, and this test the classes of its sources.
  const pair = new QueuePair(bar as never, 0, 0, buffer as never, entries);
  const completions = new Uint32Array(buffer.buffer, ringLayout(entries).completionsAt);
  let at = 0;
  return {
    pair,
    bar,
    prps: new PrpTable(buffer.buffer, lists, 0n, entries),
    complete: (id: number, result: number): void => {
      completions[at * 4] = result;
      completions[at++ * 4 + 3] = id | 0x1_0000;
    },
    [Symbol.dispose](): void {
      bar.closeSync();
      file[Symbol.dispose]();
      buffer.disposeSync();
    },
  };
}

describe('the NVMe example', () => {
  const commands = 4;
  const memory = new ArrayBuffer(8192 + PrpTable.bytes(commands));
  const iova = 0x1_0000_0000n;

  it('says where data is: one page, two, and more by a list', () => {
    const prps = new PrpTable(memory, 8192, iova, commands);
    prps.set(1, 0x5000n, 4096);
    assert.deepEqual(prps.get(1), { prp1: 0x5000n, prp2: 0n });
    prps.set(1, 0x5ffcn, 8);
    assert.deepEqual(prps.get(1), { prp1: 0x5ffcn, prp2: 0x6000n });
    prps.set(2, 0xf_ffff_f200n, 3 * 4096);
    assert.deepEqual(prps.get(2), { prp1: 0xf_ffff_f200n, prp2: iova + 8192n + 2n * 4096n });
    const list = new BigUint64Array(memory, 8192 + 2 * 4096, 4);
    assert.deepEqual([...list], [0x10_0000_0000n, 0x10_0000_1000n, 0x10_0000_2000n, 0n]);
    prps.set(3, 0x5000n, maxBytes);
    assert.throws(() => {
      prps.set(3, 0x5004n, maxBytes + 4096);
    }, RangeError);
  });

  it('encodes a transfer by numbers as it does by an object', () => {
    const prps = new PrpTable(memory, 8192, iova, commands);
    prps.set(3, 0x12_3456_7000n, 8192);
    const block = 2 ** 40 + 0xffff_fffe;
    const [lean, whole] = [new Uint32Array(32), new Uint32Array(32)];
    encodeTransfer(lean, 16, 3, io.write, 7, block, 16, prps.words, 3 * 4);
    encode(whole, 16, 3, {
      opcode: io.write,
      namespace: 7,
      ...prps.get(3),
      cdw10: 0xffff_fffe,
      cdw11: 2 ** 8,
      cdw12: 15,
    });
    assert.deepEqual(lean, whole);
    assert.deepEqual([...whole.subarray(16, 18)], [io.write | (3 << 16), 7]);
  });

  it('leaves nothing of the command that was in an entry before', () => {
    const entries = new Uint32Array(16).fill(0xffff_ffff);
    encode(entries, 0, 5, { opcode: io.flush, namespace: 1 });
    assert.deepEqual([...entries], [5 << 16, 1, ...new Array<number>(14).fill(0)]);
  });

  it('finds doorbells, whatever their distance', () => {
    assert.deepEqual(doorbellOffsets(0, 0), { submission: 0x1000, completion: 0x1004 });
    assert.deepEqual(doorbellOffsets(3, 2), { submission: 0x1060, completion: 0x1070 });
  });

  it('ends what is under way where the device’s memory has gone', async () => {
    const entries = 4;
    const buffer = await DmaBuffer.allocate(ringLayout(entries).bytes);
    using file = fileRegion(new Uint8Array(0x2000), { size: 0x2000 });
    using bar = file.region.map();
    // The example has the types of the package, and this test the classes of its sources.
    const pair = new QueuePair(bar as never, 0, 0, buffer as never, entries);
    const onTimeout = (): void => undefined;
    const options = { timeout: 60_000, polled: true, onTimeout, onStray: onTimeout };
    const queue = new CommandQueue(pair, options);
    const ended = queue.run('flush', () => ({ opcode: io.flush, namespace: 1 }));
    buffer.disposeSync();
    await assert.rejects(ended, (error: unknown) => {
      assert.ok(error instanceof NvmeError);
      assert.deepEqual(
        [error.code, error.message],
        ['removed', 'flush: the device does not answer'],
      );
      assert.equal((error.cause as VfioError).code, 'ERR_VFIO_CLOSED');
      return true;
    });
    await assert.rejects(
      queue.run('flush', () => ({ opcode: io.flush })),
      { code: 'removed' },
    );
  });

  it('looks now and then for what may take for ever, and tells of what nobody asked for', async () => {
    using rings = await makeRings();
    const { pair, complete } = rings;
    let looks = 0;
    const look = pair.look.bind(pair);
    pair.look = (take) => {
      looks++;
      return look(take);
    };
    const strays: number[] = [];
    const queue = new CommandQueue(pair, {
      timeout: 60_000,
      polled: true,
      onTimeout: () => undefined,
      onStray: (_, id) => strays.push(id),
    });
    const event = queue.run('event', () => ({ opcode: 0x0c }), Infinity);
    for (let turn = 0; turn < 1000; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(looks < 500, `${looks} looks in 1,000 turns of the event loop`);
    // What ends soon is looked for in each turn, and what else has ended is found with it.
    const flush = queue.run('flush', () => ({ opcode: io.flush, namespace: 1 }));
    const before = looks;
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(looks >= before + 9);
    complete(2, 0);
    complete(1, 7);
    assert.equal(await flush, 7);
    assert.deepEqual(strays, [2]);
    // The timer keeps no program running.
    const alive = setInterval(() => undefined, 1000);
    complete(0, 0x0002_0101);
    assert.equal(await event, 0x0002_0101);
    clearInterval(alive);
  });

  for (const [name, status, code, text] of [
    ['is off', 0, 'reset', /^3 reads did not end: the controller is off \(CSTS\.RDY\)/],
    ['has failed', 0b11, 'reset', /^3 reads did not end: the controller has failed/],
    ['is gone', 0xffff_ffff, 'removed', /^3 reads did not end: the device does not answer$/],
    ['does nothing', 1, 'timeout', /^3 reads did not end in their time$/],
  ] as const) {
    it(`ends waiting for reads where the controller ${name}`, async () => {
      using rings = await makeRings();
      const { pair, prps, complete } = rings;
      rings.bar.write32(0x1c, status);
      const reads = new RandomReads({
        pair,
        registers: controllerRegisters(rings.bar as never),
        prps,
        namespace: { id: 1, blocks: 100, blockSize: 512 },
        bytes: 512,
        depth: 3,
        data: { bytes: new Uint8Array(0), iova: 0n },
      });
      reads.begin();
      assert.throws(
        () => {
          // Only what does not answer in all its time takes all of it.
          reads.finish(code === 'timeout' ? 50 : 100_000);
        },
        (error) => error instanceof NvmeError && error.code === code && text.test(error.message),
      );
      for (const id of [2, 0, 1]) complete(id, 0);
      reads.finish();
      assert.deepEqual([reads.done, reads.errors], [3, 0]);
    });
  }

  it('takes answers apart', () => {
    assert.deepEqual(decodeEvent(0x0002_0101), { type: 'health', info: 1, logPage: 2 });
    assert.equal(decodeEvent(6).type, 'other');
    const error = statusError('read', 0x4080);
    assert.equal(error.message, 'read: the blocks are outside the namespace');
    assert.deepEqual([error.code, error.status], ['status', 0x080]);
    assert.equal(statusError('read', 0x007).code, 'timeout');
    assert.match(statusError('x', 0x3aa).message, /^x: status type 3, code 0xaa$/);
    const page = Buffer.alloc(4096);
    page.write('SN0', 4);
    assert.deepEqual(decodeController(page).maxTransfer, Infinity);
    assert.equal(decodeController(page).serial.replaceAll('\0', ''), 'SN0');
    page.fill(0);
    page.writeUInt32LE(1, 0);
    page.writeUInt32LE(9, 4);
    assert.deepEqual(decodeNamespaceList(page), [1, 9]);
  });
});
