import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { binding } from '../../lib/core/binding.ts';
import { Eventfd } from '../../lib/interrupt/eventfd.ts';
import { InterruptVector } from '../../lib/interrupt/vector.ts';
import type { VfioError } from '../../lib/core/errors.ts';
import { VfioDevice } from '../../lib/index.ts';
import { FakeHost } from '../../lib/testing/index.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';

describe('waiting for a vector', () => {
  let event: Eventfd;
  let vector: InterruptVector;

  beforeEach(() => {
    event = Eventfd.open('vector 3 of msix of 0000:3b:00.0');
    vector = InterruptVector.of({ name: 'msix', index: 2 }, 3, event);
  });

  afterEach(() => {
    vector.end();
  });

  const signal = (count = 1): void => {
    binding().eventfdWrite(event.native, count);
  };

  it('resolves to what was counted, before it began too', async () => {
    signal(3);
    assert.equal(await vector.wait(), 3);
    const next = vector.wait({ timeout: 60_000 });
    await setImmediate();
    signal(2);
    assert.equal(await next, 2);
    for (let at = 1; at <= 100; at++) {
      signal(at);
      assert.equal(await vector.wait(), at);
    }
  });

  it('tells all who wait the same, and who listens and iterates', async () => {
    const heard: number[] = [];
    vector.on('interrupt', (count) => heard.push(count));
    const counts = vector.counts();
    const next = counts.next();
    const waits = [vector.wait(), vector.wait({ timeout: 60_000 }), vector.wait()];
    signal(4);
    assert.deepEqual(await Promise.all(waits), [4, 4, 4]);
    assert.deepEqual(await next, { value: 4, done: false });
    assert.deepEqual(heard, [4]);
    signal(1);
    await setImmediate();
    await setImmediate();
    assert.deepEqual(heard, [4, 1]);
    await counts.return?.();
    // Who waits is told also where a listener alone was called before.
    signal(5);
    assert.equal(await vector.wait(), 5);
    assert.deepEqual(heard, [4, 1, 5]);
  });

  it('leaves the counts in the eventfd when nobody waits', async () => {
    signal();
    assert.equal(await vector.wait(), 1);
    await setImmediate();
    signal(7);
    await setImmediate();
    await setImmediate();
    assert.equal(event.read(), 7);
  });

  it('polls on where it is waited for again and again', async () => {
    let watched = 0;
    const { eventfdWatch } = binding();
    const counting: typeof eventfdWatch = (...args) => {
      watched++;
      return eventfdWatch(...args);
    };
    await withBinding({ eventfdWatch: counting }, async () => {
      for (let at = 0; at < 10; at++) {
        signal();
        await vector.wait();
      }
    });
    assert.equal(watched, 1);
  });

  it('ends with the time, and tells what was counted until then', async () => {
    const error = await vfioFailure(() => vector.wait({ timeout: 1 }), 'ERR_VFIO_TIMEOUT');
    assert.equal(
      error.message,
      'there was no interrupt of vector 3 of msix of 0000:3b:00.0 within 1 ms',
    );
    await failure(() => vector.wait({ timeout: 0 }), 'ERR_VFIO_TIMEOUT');
    signal(2);
    assert.equal(await vector.wait({ timeout: 0 }), 2);
    // The loop is held up until the time is over.
    const late = vector.wait({ timeout: 1 });
    signal(3);
    const until = performance.now() + 20;
    while (performance.now() < until);
    assert.equal(await late, 3);
    await failure(() => vector.wait({ timeout: 0 }), 'ERR_VFIO_TIMEOUT');
  });

  it('ends with the signal’s reason, and leaves no listener on it', async () => {
    const reason = new Error('enough');
    await assert.rejects(vector.wait({ signal: AbortSignal.abort(reason) }), reason);
    const aborter = new AbortController();
    const [first, second] = [vector.wait({ signal: aborter.signal }), vector.wait()];
    aborter.abort(reason);
    await assert.rejects(first, reason);
    signal(2);
    assert.equal(await second, 2);
    const other = new AbortController();
    const waits = [
      vector.wait({ signal: other.signal, timeout: 60_000 }),
      vector.wait({ signal: other.signal, timeout: 0 }),
    ];
    assert.equal(getEventListeners(other.signal, 'abort').length, 1);
    await failure(() => waits[1], 'ERR_VFIO_TIMEOUT');
    signal();
    assert.equal(await waits[0], 1);
    assert.deepEqual(getEventListeners(other.signal, 'abort'), []);
  });

  it('answers at once, without a timer, where there is no time', async () => {
    const { setTimeout: real } = globalThis;
    let timers = 0;
    globalThis.setTimeout = ((...args: Parameters<typeof real>) => {
      timers++;
      return real(...args);
    }) as typeof real;
    try {
      let told: unknown;
      void vector.wait({ timeout: 0 }).catch((error: unknown) => (told = error));
      // Microtasks alone: no turn of the loop.
      for (let at = 0; at < 5; at++) await Promise.resolve();
      assert.equal((told as { code?: string } | undefined)?.code, 'ERR_VFIO_TIMEOUT');
      const heard: number[] = [];
      const another = vector.wait();
      vector.on('interrupt', (count) => heard.push(count));
      signal(3);
      assert.equal(await vector.wait({ timeout: 0 }), 3);
      assert.deepEqual([await another, heard], [3, [3]]);
      vector.removeAllListeners();
      assert.equal(timers, 0);
    } finally {
      globalThis.setTimeout = real;
    }
  });

  it('has one listener on a signal, however many wait with it, and aborts all of them', async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    process.on('warning', warned);
    const aborter = new AbortController();
    const reason = new Error('enough');
    const waits = Array.from({ length: 20_000 }, () => {
      return vector.wait({ signal: aborter.signal }).catch((error: unknown) => error);
    });
    const counts = vector.counts({ signal: aborter.signal });
    const next = counts.next().catch((error: unknown) => error);
    assert.equal(getEventListeners(aborter.signal, 'abort').length, 1);
    aborter.abort(reason);
    assert.deepEqual(new Set([...(await Promise.all(waits)), await next]), new Set([reason]));
    assert.deepEqual(getEventListeners(aborter.signal, 'abort'), []);
    await setImmediate();
    process.off('warning', warned);
    assert.deepEqual(warnings, []);
    signal(1);
    await setImmediate();
    assert.equal(event.read(), 1, 'nobody waits any more');
  });

  it('hears that the interrupt is off, and what was counted before', async () => {
    const facts = { address: '0000:3b:00.0', interrupt: 'msix' };
    const waits = [vector.wait(), vector.wait({ timeout: 60_000 })];
    vector.end({ reason: 'disabled-elsewhere', certainty: 'certain', facts });
    for (const wait of waits) {
      const error = await vfioFailure(() => wait, 'ERR_VFIO_CLOSED');
      assert.equal(error.reason, 'disabled-elsewhere');
      assert.match(error.message, /^vector 3 of msix of 0000:3b:00\.0 is closed: another owner/);
    }
    await failure(() => vector.wait(), 'ERR_VFIO_CLOSED');
    await failure(() => vector.share(), 'ERR_VFIO_CLOSED');
    event = Eventfd.open('vector 3 of msix of 0000:3b:00.0');
    vector = InterruptVector.of({ name: 'msix', index: 2 }, 3, event);
    const last = vector.wait();
    signal(9);
    vector.end();
    assert.equal(await last, 9);
  });

  it('is a rejection where it cannot be begun, and leaves nothing behind', async () => {
    const EMFILE = -24;
    await withBinding({ eventfdWatch: () => EMFILE }, async () => {
      await failure(() => vector.wait(), 'EMFILE');
      await failure(() => vector.counts(), 'EMFILE');
      await failure(() => vector.on('interrupt', () => undefined), 'EMFILE');
    });
    assert.equal(vector.listenerCount('interrupt'), 0);
    signal(2);
    await setImmediate();
    await setImmediate();
    assert.equal(event.read(), 2, 'nobody took it');
    signal(3);
    assert.equal(await vector.wait(), 3);
  });
});

describe('a wait for an interrupt that does not come', () => {
  let host: FakeHost;
  let device: VfioDevice;

  beforeEach(async () => {
    host = FakeHost.install();
    device = await VfioDevice.open(host.addDevice({ msix: 2 }).address);
  });
  afterEach(async () => {
    await device.close();
    host.dispose();
  });

  const late = async (name: string, timeout: number): Promise<VfioError> => {
    const [vector] = await device.interrupt(name).enable();
    const error = await vfioFailure(() => vector?.wait({ timeout }), 'ERR_VFIO_TIMEOUT');
    await device.interrupt(name).disable();
    return error;
  };

  it('says that bus mastering is off, without which there is no MSI', async () => {
    const error = await late('msix', 1);
    assert.deepEqual([error.reason, error.certainty], ['bus-master-off', 'likely']);
    assert.deepEqual(error.facts, { address: '0000:3b:00.0', interrupt: 'msix' });
    assert.match(
      error.message,
      /^there was no interrupt of vector 0 of msix of 0000:3b:00\.0 within 1 ms: likely because bus mastering of 0000:3b:00\.0 is off/,
    );
    assert.match(error.hint ?? '', /setBusMaster\(true\)/);
  });

  it('does not say so where it is on, or is not needed, or where nobody waited', async () => {
    assert.equal((await late('intx', 1)).reason, undefined);
    assert.equal((await late('msix', 0)).reason, undefined);
    device.pci.setBusMaster(true);
    assert.equal((await late('msix', 1)).reason, undefined);
  });

  it('does not say so where that cannot be seen', async () => {
    host.inject({ call: 'pread', errno: 'EIO', times: Infinity });
    assert.equal((await late('msix', 1)).reason, undefined);
  });
});
