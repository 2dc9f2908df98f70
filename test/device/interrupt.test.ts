import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { it } from 'mocha';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import { type Interrupt, type InterruptVector, VfioDevice, VfioError } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { plug, unplug } from '../support/hotplug.ts';
import { assertNoMore, openFds } from '../support/proc.ts';
import { root } from '../support/root.ts';

/** The loop has polled once at least: the first turn may begin after its polling. */
async function turn(): Promise<void> {
  await setImmediate();
  await setImmediate();
}

/** Sums what a vector tells, and the turns it took. */
function sum(vector: InterruptVector): { total: number; calls: number } {
  const seen = { total: 0, calls: 0 };
  vector.on('interrupt', (count) => {
    seen.total += count;
    seen.calls++;
  });
  return seen;
}

async function enableOne(interrupt: Interrupt): Promise<InterruptVector> {
  const [vector] = await interrupt.enable();
  assert.ok(vector);
  return vector;
}

const eventfds = (): string[] => openFds().filter((target) => target.includes('eventfd'));

describeLab('interrupts', ['edu', 'nvme0', 'e1000e-port'], (lab) => {
  it('are told by name and index, with their counts', async () => {
    await using device = await VfioDevice.open(lab.nvme0);
    const msix = device.interrupt('msix');
    assert.equal(msix, device.interrupt(2));
    assert.deepEqual([msix.name, msix.index, msix.enabled], ['msix', 2, false]);
    assert.ok(msix.count > 8 && msix.flags.includes('eventfd'));
    await failure(() => device.interrupt('msiy'), 'ERR_VFIO_NO_IRQ');
    await failure(() => device.interrupt(7), 'ERR_VFIO_NO_IRQ');
    await failure(() => msix.enable(0), 'ERR_OUT_OF_RANGE');
    await failure(() => msix.enable(msix.count + 1), 'ERR_OUT_OF_RANGE');
    await failure(() => msix.enable('2' as never), 'ERR_INVALID_ARG_TYPE');
    await failure(() => msix.enable({ eventfds: [-1] }), 'ERR_OUT_OF_RANGE');
    await failure(() => msix.enable({ eventfds: [] }), 'ERR_OUT_OF_RANGE');
    await failure(() => {
      msix.trigger(-1);
    }, 'ERR_OUT_OF_RANGE');
    const off = await vfioFailure(() => {
      msix.trigger();
    }, 'EINVAL');
    const facts = { address: lab.nvme0.address, interrupt: 'msix' };
    assert.deepEqual([off.reason, off.facts], ['irq-disabled', facts]);
    assert.match(off.message, /msix of .* is not enabled/);
    assert.equal(msix.enabled, false);
  });

  it('are delivered to handlers, added up, and to none after disable()', async () => {
    await using device = await VfioDevice.open(lab.nvme0);
    const msix = device.interrupt('msix');
    const vectors = await msix.enable(3);
    assert.deepEqual(
      vectors.map(({ index }) => index),
      [0, 1, 2],
    );
    const seen = vectors.map(sum);
    for (let at = 0; at < 1000; at++) msix.trigger(1);
    msix.trigger([true, false, true]);
    await turn();
    const [zero, one, two] = seen;
    assert.deepEqual([zero?.total, one?.total, two?.total], [1, 1000, 1]);
    assert.equal(one?.calls, 1, 'what happened before the loop turned is one count');
    msix.trigger(0);
    await msix.disable();
    assert.deepEqual([zero?.total, zero?.calls], [2, 2], 'what happened before is told');
    await failure(() => vectors[0]?.fd, 'ERR_VFIO_CLOSED');
    assert.equal(msix.enabled, false);
    await msix.disable();
  });

  it('are iterated over, until disable(), break or abort', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const msi = device.interrupt('msi');
    const vector = await enableOne(msi);
    msi.trigger();
    msi.trigger();
    const counts: number[] = [];
    for await (const count of vector) {
      counts.push(count);
      if (counts.length === 1) for (let at = 0; at < 5; at++) msi.trigger();
      if (counts.length === 2) break;
    }
    assert.deepEqual(counts, [2, 5]);

    const aborter = new AbortController();
    const iterator = vector.counts({ signal: aborter.signal });
    const waiting = iterator.next();
    aborter.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
    assert.deepEqual(await iterator.next(), { value: undefined, done: true });
    assert.throws(() => vector.counts({ signal: AbortSignal.abort(new Error('late')) }), /late/);
    await failure(() => vector.counts({ signal: 1 as never }), 'ERR_INVALID_ARG_TYPE');

    const rest = vector.counts();
    msi.trigger();
    await msi.disable();
    assert.deepEqual(await rest.next(), { value: 1, done: false });
    assert.deepEqual(await rest.next(), { value: undefined, done: true });
    assert.equal((await vector.counts().next()).done, true, 'a disabled vector tells nothing');
  });

  it('stay in the eventfd while nobody listens', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const vector = await enableOne(device.interrupt('msi'));
    for (let at = 0; at < 7; at++) device.interrupt('msi').trigger();
    await turn();
    const native = binding();
    const copy = native.dup(vector.fd) as NativeFd;
    assert.equal(native.eventfdRead(copy), 7);
    device.interrupt('msi').trigger();
    const [count] = (await once(vector, 'interrupt')) as [number];
    assert.equal(count, 1);
    device.interrupt('msi').trigger();
    await turn();
    assert.equal(native.eventfdRead(copy), 1, 'once() has ended the listening');
    native.closeSync(copy);
  });

  it('signal the caller’s own eventfds', async () => {
    await using device = await VfioDevice.open(lab.nvme0);
    const native = binding();
    const own = native.eventfdOpen() as NativeFd;
    const msix = device.interrupt('msix');
    const number = native.fdNumber(own) ?? -1;
    assert.deepEqual(await msix.enable({ eventfds: [null, number] }), []);
    assert.ok(msix.enabled);
    msix.trigger([true, true]);
    assert.equal(native.eventfdRead(own), 1);
    await failure(() => msix.enable(), 'ERR_VFIO_IRQ_ENABLED');
    await failure(() => msix.resize(1), 'ERR_VFIO_IRQ_DISABLED');
    await msix.disable();
    native.closeSync(own);
    await failure(() => msix.enable({ eventfds: [number] }), 'EBADF');
    assert.equal(msix.enabled, false);
  });

  it('exclude one another, and the error says which', async () => {
    await using device = await VfioDevice.open(lab['e1000e-port']);
    await device.interrupt('msix').enable(2);
    const error = await failure(() => device.interrupt('msi').enable(), 'EINVAL');
    assert.match(error.message, /cannot be enabled while msix is/);
    await failure(() => device.interrupt('intx').enableSync(), 'EINVAL');
    // The turns are kept: the one waits for the other.
    const [, vectors] = await Promise.all([
      device.interrupt('msix').disable(),
      device.interrupt('msi').enable(),
    ]);
    assert.equal(vectors.length, 1);
  });

  it('grow and shrink, with a gap where the kernel wants one', async () => {
    await using nvme = await VfioDevice.open(lab.nvme0);
    const msix = nvme.interrupt('msix');
    const [first] = await msix.enable(2);
    assert.ok(first);
    const seen = sum(first);
    const grown = await msix.resize(5);
    assert.equal(grown.gap, msix.flags.includes('noresize'));
    assert.equal(grown.vectors.length, 5);
    assert.equal(grown.vectors[0], first);
    msix.trigger([true, false, false, false, true]);
    await turn();
    assert.equal(seen.total, 1);
    const shrunk = await msix.resize(1);
    assert.deepEqual([shrunk.gap, shrunk.vectors.length], [false, 1]);
    await failure(() => grown.vectors[4]?.fd, 'ERR_VFIO_CLOSED');
    msix.trigger();
    await msix.disable();
    assert.equal(seen.total, 2);
    await failure(() => msix.resize(1), 'ERR_VFIO_IRQ_DISABLED');
  });

  it('mask, automask and resample (INTx)', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const intx = device.interrupt('intx');
    assert.ok(intx.flags.includes('automasked') && intx.flags.includes('maskable'));
    for (const act of ['mask', 'unmask'] as const) {
      const off = await vfioFailure(() => {
        intx[act]();
      }, 'EINVAL');
      assert.equal(off.reason, 'irq-disabled', act);
    }
    const seen = sum(await enableOne(intx));
    intx.mask();
    intx.unmask();
    const native = binding();
    const resampler = native.eventfdOpen() as NativeFd;
    intx.resample(native.fdNumber(resampler) ?? -1);
    await failure(() => {
      intx.resample(native.fdNumber(resampler) ?? -1);
    }, 'EBUSY');
    native.eventfdWrite(resampler, 1);
    intx.resample(null);
    const none = await vfioFailure(() => {
      intx.resample(0);
    }, 'EINVAL');
    assert.equal(none.reason, 'not-an-eventfd');
    intx.trigger();
    await intx.disable();
    assert.equal(seen.total, 1);
    native.closeSync(resampler);

    const msi = device.interrupt('msi');
    await msi.enable();
    await failure(() => {
      msi.mask();
    }, 'ENOTTY');
  });

  it('are not tied to what is no eventfd, which is named', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const msi = device.interrupt('msi');
    const file = openSync('/dev/null', 'r');
    const error = await vfioFailure(() => msi.enable({ eventfds: [file] }), 'EINVAL');
    closeSync(file);
    const facts = { fd: file, found: '/dev/null' };
    assert.deepEqual([error.reason, error.facts], ['not-an-eventfd', facts]);
    assert.equal(msi.enabled, false);
    await failure(() => msi.enable({ eventfds: [file] }), 'EBADF');
    await enableOne(msi);
  });

  it('have blocking forms, which do not break into a promise’s work', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const msi = device.interrupt('msi');
    const [vector] = msi.enableSync();
    assert.ok(vector);
    const seen = sum(vector);
    msi.trigger();
    msi.disableSync();
    assert.equal(seen.total, 1);
    const enabling = msi.enable();
    await failure(() => msi.enableSync(), 'ERR_VFIO_BUSY');
    await failure(() => {
      msi.disableSync();
    }, 'ERR_VFIO_BUSY');
    await enabling;
  });

  it('end with the device', async () => {
    const before = eventfds();
    const device = await VfioDevice.open(lab.edu);
    const msi = device.interrupt('msi');
    const vector = await enableOne(msi);
    const seen = sum(vector);
    const iterator = vector.counts();
    msi.trigger();
    await device.close();
    assert.equal(seen.total, 1);
    assert.deepEqual(await iterator.next(), { value: 1, done: false });
    assert.equal((await iterator.next()).done, true);
    await failure(() => msi.enable(), 'ERR_VFIO_CLOSED');
    await failure(() => {
      msi.trigger();
    }, 'ERR_VFIO_CLOSED');
    assertNoMore(eventfds(), before);
  });

  it('are lost in no round of a thousand', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const msi = device.interrupt('msi');
    let sent = 0;
    let told = 0;
    const before = eventfds();
    for (let round = 0; round < 1000; round++) {
      const vector = await enableOne(msi);
      vector.on('interrupt', (count) => (told += count));
      for (let at = round % 7; at >= 0; at--) {
        msi.trigger();
        sent++;
        if (at === 3) await turn();
      }
      await msi.disable();
      assert.equal(told, sent, `in round ${round}`);
    }
    assertNoMore(eventfds(), before);
  }).timeout(120_000);

  it('end with a worker that takes them, and leave the device free', async () => {
    const file = new URL('build-test/programs/irq_worker.js', root);
    const before = eventfds();
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(file, { workerData: lab.edu.address });
      await once(worker, 'message');
      await worker.terminate();
    }
    assertNoMore(eventfds(), before);
    await using device = await VfioDevice.open(lab.edu);
    assert.equal((await device.interrupt('msi').enable()).length, 1);
  }).timeout(120_000);

  it('are all counted at full rate', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const msi = device.interrupt('msi');
    const seen = sum(await enableOne(msi));
    for (let sent = 0; sent < 1_000_000; sent++) {
      msi.trigger();
      if (sent % 10_000 === 0) await turn();
    }
    await msi.disable();
    assert.equal(seen.total, 1_000_000);
    assert.ok(seen.calls > 10 && seen.calls <= 2 + 1_000_000 / 10_000, `${seen.calls} calls`);
  }).timeout(180_000);
});

describeLab('too many vectors', ['edu-port'], (lab) => {
  it('are refused with the number that there are', async () => {
    // In the place of edu a device that has more vectors than two processors can have.
    const nvme = { ...lab['edu-port'], kind: 'nvme' };
    await unplug(lab['edu-port']);
    await plug(nvme, { serial: 'many', msix_qsize: 2048 });
    try {
      await using device = await VfioDevice.open(nvme);
      const msix = device.interrupt('msix');
      assert.equal(msix.count, 2048);
      for (const enable of [() => msix.enable(2048), () => msix.enableSync(2048)]) {
        const error = await failure(enable, 'ENOSPC');
        assert.ok(error instanceof VfioError);
        const available = error.available ?? -1;
        assert.ok(available > 8 && available < 2048, error.message);
        assert.ok(error.message.includes(`gives ${available} of the `));
        assert.equal(msix.enabled, false);
        assert.equal((await msix.enable(available)).length, available);
        await msix.disable();
      }
    } finally {
      await unplug(nvme);
      await plug(lab['edu-port']);
    }
  });
});
