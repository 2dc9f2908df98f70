import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { it } from 'mocha';
import { VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { makeMdev } from '../support/mdev.ts';

// A device that runs on while most of its state is copied, as a VMM moves it: two of the kernel's
// mttys, whose registers are what is moved.

/** The scratch register of the first port: of 8 bits, and of no meaning to the device. */
const scratch = 7;

describeLab('live migration', ['mtty'], (lab) => {
  const uuid = '6d747479-0000-4000-8000-0000000000a7';

  it('moves a device as a stream, while it runs on', async () => {
    using target = makeMdev(uuid, 'mtty-1');
    await using from = await VfioDevice.open(lab.mtty);
    await using to = await VfioDevice.open(target);
    const port = from.region(0);
    port.write8(scratch, 0x11);
    const { dmaLogging, migration } = from.feature;
    const range = { iova: 0x100000n, length: 0x400000n };
    await dmaLogging.start({ pageSize: 4096, ranges: [range] });

    const source = await migration.setState('pre-copy');
    const sink = await to.feature.migration.setState('resuming');
    const early = await source.precopyInfo();
    let moved = 0;
    const counter = new Transform({
      transform(bytes: Buffer, _encoding, callback) {
        moved += bytes.length;
        callback(null, bytes);
      },
    });
    const idle = once(source, 'idle');
    const flowing = pipeline(source, counter, sink);
    await idle;
    assert.equal((await source.precopyInfo()).initialBytes, 0n);
    assert.equal(BigInt(moved), early.initialBytes);

    // It runs on, and so changes after the first part went.
    assert.equal(await migration.state(), 'pre-copy');
    port.write8(scratch, 0x22);
    assert.equal(port.read8(scratch), 0x22);
    const dirty = await dmaLogging.report({ ...range, pageSize: 4096 });
    assert.deepEqual([...dirty], [], 'it does no DMA');
    await dmaLogging.stop();

    const stopped = process.hrtime.bigint();
    assert.equal(await migration.setState('stop-copy'), source);
    await flowing;
    await to.feature.migration.setState('running');
    assert.ok(process.hrtime.bigint() > stopped);
    assert.ok(BigInt(moved) > early.initialBytes, 'there was a second part');
    assert.equal(to.region(0).read8(scratch), 0x22);
    assert.equal(await to.feature.migration.state(), 'running');

    // The source, which is where the guest was, is stopped for good.
    assert.equal(await migration.state(), 'stop-copy');
    await migration.setState('stop');
  });

  it('is given up: the device runs on where it was', async () => {
    using target = makeMdev(uuid, 'mtty-1');
    await using from = await VfioDevice.open(lab.mtty);
    await using to = await VfioDevice.open(target);
    from.region(0).write8(scratch, 0x33);
    const { migration } = from.feature;
    const source = await migration.setState('pre-copy');
    const sink = await to.feature.migration.setState('resuming');
    const controller = new AbortController();
    const idle = once(source, 'idle');
    const flowing = pipeline(source, sink, { signal: controller.signal });
    await idle;
    controller.abort(new Error('enough'));
    await assert.rejects(flowing, { name: 'AbortError' });
    await migration.setState('running');
    assert.equal(await migration.state(), 'running');
    assert.equal(from.region(0).read8(scratch), 0x33);
    await failure(() => source.precopyInfo(), 'ERR_VFIO_CLOSED');
    // What got half of a state is reset.
    await assert.rejects(to.feature.migration.setState('running'));
    await to.reset();
    assert.equal(await to.feature.migration.state(), 'running');
  });

  it('of a device at work ends the same by every way to stop-copy', async () => {
    using target = makeMdev(uuid, 'mtty-1');
    await using from = await VfioDevice.open(lab.mtty);
    await using to = await VfioDevice.open(target);
    for (const [value, ways] of [
      [0x44, ['stop-copy']],
      [0x55, ['pre-copy', 'stop-copy']],
      [0x66, ['pre-copy', 'pre-copy-p2p', 'stop-copy']],
    ] as const) {
      from.region(0).write8(scratch, value);
      const { migration } = from.feature;
      const support = await migration.support();
      assert.ok(support.preCopy && support.p2p);
      const [first, ...others] = ways;
      const source = await migration.setState(first);
      const sink = await to.feature.migration.setState('resuming');
      const flowing = pipeline(source, sink);
      for (const way of others) assert.equal(await migration.setState(way), source);
      await flowing;
      await to.feature.migration.setState('running');
      assert.equal(to.region(0).read8(scratch), value);
      await migration.setState('running');
    }
  });
});
