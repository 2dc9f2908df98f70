import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { binding } from '../../lib/core/binding.ts';
import { Eventfd } from '../../lib/interrupt/eventfd.ts';
import { InterruptVector } from '../../lib/interrupt/vector.ts';
import { withBinding } from '../support/fake_binding.ts';

/** The vectors here belong to no device. */
const nobodys = undefined as never;

describe('the listeners of a vector', () => {
  let event: Eventfd;
  let vector: InterruptVector;
  const heard: string[] = [];
  const hear = (name: string) => (count: number) => heard.push(`${name} ${count}`);

  beforeEach(() => {
    event = Eventfd.open('a test');
    vector = InterruptVector.of(nobodys, 0, event);
    heard.length = 0;
  });

  afterEach(() => {
    vector.end();
  });

  /** What is heard of so many interrupts. */
  async function after(count: number): Promise<string[]> {
    binding().eventfdWrite(event.native, count);
    await setImmediate();
    await setImmediate();
    return heard.splice(0);
  }

  it('hear in their order, as they come and go', async () => {
    const first = hear('first');
    vector.on('interrupt', first);
    assert.deepEqual(await after(1), ['first 1']);
    const second = hear('second');
    vector.prependListener('interrupt', second);
    assert.deepEqual(await after(2), ['second 2', 'first 2']);
    vector.off('interrupt', first);
    assert.deepEqual(await after(3), ['second 3']);
    vector.once('interrupt', first);
    assert.deepEqual(await after(4), ['second 4', 'first 4']);
    assert.deepEqual(await after(5), ['second 5']);
    vector.off('interrupt', second);
    assert.deepEqual(await after(6), []);
    vector.once('interrupt', first);
    assert.deepEqual(await after(1), ['first 7']);
    assert.deepEqual(await after(2), []);
    vector.on('interrupt', second);
    assert.deepEqual(await after(1), ['second 3']);
  });

  it('are called by the addon itself where there is one, until another is told', async () => {
    const { eventfdMethod } = binding();
    const methods: unknown[] = [];
    const noting: typeof eventfdMethod = (fd, receiver, method) => {
      methods.push(method);
      return eventfdMethod(fd, receiver, method);
    };
    await withBinding({ eventfdMethod: noting }, async () => {
      const first = hear('first');
      const second = hear('second');
      const twice = async (...expected: string[]): Promise<void> => {
        for (const count of [1, 2]) {
          assert.deepEqual(
            await after(count),
            expected.map((name) => `${name} ${count}`),
          );
        }
      };
      vector.on('interrupt', first);
      await twice('first');
      assert.deepEqual(methods.splice(0), [first]);
      vector.on('interrupt', second);
      await twice('first', 'second');
      assert.deepEqual(methods.splice(0), [undefined]);
      vector.off('interrupt', first);
      await twice('second');
      assert.deepEqual(methods.splice(0), [second]);
      const wait = vector.wait();
      await twice('second');
      assert.equal(await wait, 1);
      assert.deepEqual(methods.splice(0), [undefined, second]);
      const counts = vector.counts();
      await twice('second');
      assert.deepEqual(await counts.next(), { value: 3, done: false });
      await counts.return?.();
      await twice('second');
      assert.deepEqual(methods.splice(0), [undefined, second]);
      vector.once('interrupt', first);
      await twice('second').catch(() => undefined);
      heard.length = 0;
      await twice('second');
      vector.removeAllListeners();
      assert.deepEqual(await after(1), []);
      vector.once('interrupt', second);
      assert.deepEqual(await after(1), ['second 2']);
      assert.deepEqual(await after(1), []);
      vector.on('interrupt', first);
      assert.deepEqual(await after(1), ['first 2']);
    });
  });

  it('are called with the vector as this by the addon, too, and remove themselves', async () => {
    let calls = 0;
    vector.on('interrupt', function listener(this: InterruptVector) {
      heard.push(String(this === vector));
      if (++calls === 3) this.off('interrupt', listener);
    });
    for (let at = 0; at < 3; at++) assert.deepEqual(await after(1), ['true']);
    assert.deepEqual(await after(1), []);
    assert.equal(event.read(), 1, 'nobody took it');
  });

  it('are gone when all are removed, and new ones hear', async () => {
    const first = hear('first');
    vector.on('interrupt', first);
    assert.deepEqual(await after(1), ['first 1']);
    for (const name of ['interrupt', undefined] as const) {
      vector.removeAllListeners(name);
      assert.deepEqual(await after(1), []);
      vector.on('interrupt', first);
      assert.deepEqual(await after(1), ['first 2']);
    }
    // Its own listeners of these events stay.
    vector.removeAllListeners('removeListener' as never);
    vector.removeAllListeners('newListener' as never);
    vector.off('interrupt', first);
    assert.deepEqual(await after(1), []);
    vector.on('interrupt', first);
    assert.deepEqual(await after(1), ['first 2']);
  });

  it('are called with the vector as this, and removed while they run', async () => {
    vector.on('interrupt', function (this: InterruptVector, count) {
      heard.push(`${this === vector} ${count}`);
      this.removeAllListeners('interrupt');
    });
    assert.deepEqual(await after(1), ['true 1']);
    assert.deepEqual(await after(1), []);
  });

  it('are the emitter’s to call where it looks after what they reject with', async () => {
    const before = EventEmitter.captureRejections;
    EventEmitter.captureRejections = true;
    try {
      const capturing = InterruptVector.of(nobodys, 1, Eventfd.open('a test'));
      const bare = capturing as EventEmitter;
      const caught: unknown[] = [];
      bare.on('error', (error) => caught.push(error));
      capturing.on('interrupt', () => Promise.reject(new Error('late')) as never);
      const native = binding();
      const fd = native.dup(capturing.fd) as never;
      native.eventfdWrite(fd, 1);
      native.closeSync(fd);
      for (let turn = 0; turn < 5; turn++) await setImmediate();
      assert.equal((caught[0] as Error).message, 'late');
      capturing.end();
    } finally {
      EventEmitter.captureRejections = before;
    }
  });

  it('hear beside those who iterate', async () => {
    vector.on('interrupt', hear('first'));
    const counts = vector.counts();
    const next = counts.next();
    assert.deepEqual(await after(2), ['first 2']);
    assert.deepEqual(await next, { value: 2, done: false });
    await counts.return?.();
    assert.deepEqual(await after(1), ['first 1']);
  });
});
