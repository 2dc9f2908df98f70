import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import { fromShared, type SharedToken } from '../../lib/index.ts';
import { Eventfd } from '../../lib/interrupt/eventfd.ts';
import { InterruptVector } from '../../lib/interrupt/vector.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { eventfdId, eventfdsOf, packetSockets } from '../support/proc.ts';
import { root } from '../support/root.ts';
import { tsWorker } from '../support/ts_worker.ts';
import { VectorThread } from '../support/vector_thread.ts';

const file = new URL('../support/vector_worker.ts', import.meta.url);

describe('a vector that threads share', () => {
  let event: Eventfd;
  let vector: InterruptVector;
  let id: string | undefined;
  const threads: VectorThread[] = [];

  beforeEach(() => {
    event = Eventfd.open('vector 3 of msix of a');
    vector = InterruptVector.of({ name: 'msix', index: 2 }, 3, event);
    id = eventfdId(event.number);
  });

  afterEach(async () => {
    vector.end();
    await Promise.all(threads.splice(0).map(({ worker }) => worker.terminate()));
  });

  async function another(token = vector.share()): Promise<VectorThread> {
    const start = (workerData: SharedToken<'vector'>) => tsWorker(file, { workerData });
    const thread = await VectorThread.of(token, start);
    threads.push(thread);
    return thread;
  }

  /** What is open of it in this process: descriptors of its eventfd, and of pairs of sockets. */
  const open = (): { eventfds: number; sockets: number } => ({
    eventfds: eventfdsOf(id),
    sockets: packetSockets(),
  });

  const signal = (count = 1): void => {
    binding().eventfdWrite(event.native, count);
  };

  it('tells its interrupts where it is listened to, each once', async () => {
    const thread = await another();
    signal(2);
    await thread.does('listen');
    await thread.hears(2);
    for (const begin of [
      () => vector.on('interrupt', () => undefined),
      () => vector.counts(),
      () => vector.wait(),
    ]) {
      const error = await failure(begin, 'ERR_VFIO_VECTOR_BUSY');
      assert.match(
        error.message,
        /^vector 3 of msix of a is listened to already, by another thread/,
      );
    }
    assert.equal(vector.listenerCount('interrupt'), 0);
    for (let at = 0; at < 1000; at++) signal();
    await thread.hears(1002);
    await thread.does('unlisten');
    signal(5);
    let told = 0;
    vector.on('interrupt', (count) => (told += count));
    assert.equal(await vector.wait(), 5);
    assert.equal(await thread.fails('listen'), 'ERR_VFIO_VECTOR_BUSY');
    assert.equal(await thread.fails('wait', 0), 'ERR_VFIO_VECTOR_BUSY');
    assert.equal(told, 5);
    vector.removeAllListeners();
    signal(3);
    assert.equal(await thread.does('wait', 60_000), 3);
    assert.equal(await thread.fails('wait', 0), 'ERR_VFIO_TIMEOUT');
  });

  it('loses none while threads take turns', async () => {
    const thread = await another();
    let told = 0;
    let sent = 0;
    for (let round = 0; round < 50; round++) {
      const send = (): void => {
        signal(round);
        sent += round;
      };
      await thread.does('listen');
      send();
      await thread.does('unlisten');
      send();
      const listener = (count: number): void => void (told += count);
      vector.on('interrupt', listener);
      send();
      await setImmediate();
      vector.off('interrupt', listener);
    }
    await thread.does('listen');
    signal();
    while (told + ((await thread.does('total')) as number) < sent + 1);
    assert.equal(told + ((await thread.does('total')) as number), sent + 1);
  });

  it('is over in the other thread when it is over here, what was counted told', async () => {
    const { eventfds, sockets } = open();
    const [listening, second, third] = [await another(), await another(), await another()];
    await listening.does('iterate');
    signal(4);
    await listening.hears(4);
    // The event loop of the other may be late: what is counted now is its own all the same.
    signal(2);
    vector.end();
    assert.equal(await listening.next('over'), true);
    assert.equal(await listening.does('total'), 6);
    for (const thread of [second, third]) await thread.until('number', 'ERR_VFIO_CLOSED');
    assert.deepEqual(
      open(),
      { eventfds: eventfds - 1, sockets },
      'those who did not listen have closed theirs',
    );
  });

  it('ends who waits in the other thread', async () => {
    const thread = await another();
    await thread.does('begin');
    assert.equal(await failureOf(() => vector.wait()), 'ERR_VFIO_VECTOR_BUSY');
    vector.end();
    assert.equal(await thread.next('code'), 'ERR_VFIO_CLOSED');
    assert.equal(await thread.fails('number'), 'ERR_VFIO_CLOSED');
    assert.equal(await thread.fails('share'), 'ERR_VFIO_CLOSED');
  });

  for (const how of ['terminate', 'close', 'in the middle of a listener'] as const) {
    it(`is free when the other thread is gone: ${how}`, async () => {
      const { eventfds, sockets } = open();
      const thread = await another();
      await thread.does(how === 'in the middle of a listener' ? 'stay' : 'listen');
      signal();
      await thread.next('told');
      await failure(() => vector.wait(), 'ERR_VFIO_VECTOR_BUSY');
      if (how === 'close') await thread.does('close');
      else await thread.worker.terminate();
      signal(7);
      assert.equal(await vector.wait(), 7);
      assert.deepEqual(open(), { eventfds, sockets: sockets + 2 });
      vector.end();
      assert.deepEqual(open(), { eventfds: eventfds - 1, sockets });
    });
  }

  it('is shared on, and hangs on the thread that enabled it alone', async () => {
    // The worker is the one that shares on: its own of the first is what the second follows.
    const thread = await another();
    const token = (await thread.does('share')) as SharedToken<'vector'>;
    const shared = fromShared(token);
    signal(2);
    assert.equal(await shared.wait(), 2);
    await thread.worker.terminate();
    signal(3);
    assert.equal(await shared.wait(), 3, 'it hangs on who enabled it alone');
    await failure(() => fromShared(token), 'ERR_VFIO_CLOSED');
    const over = shared.wait();
    await setImmediate();
    vector.end();
    await failure(() => over, 'ERR_VFIO_CLOSED');
    await failure(() => shared.fd, 'ERR_VFIO_CLOSED');
  });

  it('keeps no thread alive that does not listen, nor one that unrefs it', async () => {
    const idle = await another();
    let exit = once(idle.worker, 'exit');
    idle.worker.postMessage(['unref']);
    await exit;
    const listening = await another();
    await listening.does('listen');
    exit = once(listening.worker, 'exit');
    listening.worker.postMessage(['unref']);
    await exit;
  });

  it('is one more object in this thread, which closes for itself', async () => {
    const { eventfds, sockets } = open();
    const token = structuredClone(vector.share());
    const [first, second] = [fromShared(token), fromShared(token)];
    assert.deepEqual([first.interrupt, first.index], [{ name: 'msix', index: 2 }, 3]);
    assert.notEqual(first.fd, second.fd);
    const waiting = first.wait();
    for (const other of [vector, second]) {
      await failure(() => other.wait(), 'ERR_VFIO_VECTOR_BUSY');
    }
    signal(2);
    assert.equal(await waiting, 2);
    await setImmediate();
    const again = second.wait();
    second.close();
    second.close();
    await failure(() => again, 'ERR_VFIO_CLOSED');
    await failure(() => second.share(), 'ERR_VFIO_CLOSED');
    const third = fromShared(first.share());
    {
      using closed = first;
      assert.equal(closed, first);
    }
    signal(1);
    assert.equal(await third.wait(), 1);
    await setImmediate();
    signal(4);
    assert.equal(await vector.wait(), 4);
    await setImmediate();
    assert.equal(open().eventfds, eventfds + 1);
    const iterator = third.counts();
    vector.end();
    assert.deepEqual(await iterator.next(), { value: undefined, done: true });
    // The end of the other is told in the next turn.
    assert.deepEqual(open(), { eventfds: eventfds - 1, sockets });
    await failure(() => fromShared(token), 'ERR_VFIO_CLOSED');
  });

  it('leaves nothing open where it cannot be shared, or taken', async () => {
    const EMFILE = -24;
    await withBinding({ socketPair: () => EMFILE }, () => failure(() => vector.share(), 'EMFILE'));
    const token = vector.share();
    const before = open();
    const { fdTake } = binding();
    let calls = 0;
    const second = (offer: number) => (calls++ < 1 ? fdTake(offer) : EMFILE);
    for (const fakes of [{ fdTake: () => EMFILE }, { fdTake: second }, { fdPoll: () => EMFILE }]) {
      await withBinding(fakes, () => failure(() => fromShared(token), 'EMFILE'));
      assert.deepEqual(open(), before);
    }
    for (const bad of [
      { ...token, fd: 4e9 },
      { ...token, line: 4e9 },
    ]) {
      const error = await failure(() => fromShared(bad), 'ERR_VFIO_CLOSED');
      assert.equal(error.message, 'vector 3 of msix of a that was shared is closed');
    }
    await failure(() => fromShared({ ...token, interrupt: 3 } as never), 'ERR_INVALID_ARG_TYPE');
    assert.deepEqual(open(), before);
  });

  it('is closed where the program drops it, unless it listens', () => {
    const code = `
      import { setTimeout } from 'node:timers/promises';
      import { fromShared } from './lib/index.ts';
      import { Eventfd } from './lib/interrupt/eventfd.ts';
      import { InterruptVector } from './lib/interrupt/vector.ts';
      import { eventfdId, eventfdsOf, packetSockets } from './test/support/proc.ts';
      const event = Eventfd.open('the test');
      const vector = InterruptVector.of({ name: 'msix', index: 2 }, 0, event);
      const id = eventfdId(event.number);
      const take = (listens) => {
        const shared = fromShared(vector.share());
        if (listens) shared.on('interrupt', () => undefined).unref();
      };
      take(true);
      for (let at = 0; at < 10; at++) take(false);
      console.log(eventfdsOf(id), packetSockets());
      for (let at = 0; at < 1500 && eventfdsOf(id) + packetSockets() > 5; at++) {
        globalThis.gc();
        await setTimeout(20);
      }
      console.log(eventfdsOf(id), packetSockets());
    `;
    const args = ['--expose-gc', '--import', 'tsx', '--input-type=module', '--eval', code];
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    assert.deepEqual([stdout, stderr], ['12 13\n2 3\n', '']);
  });

  it('is polled by one loop at a time, as the addon says', () => {
    const native = binding();
    const [EBUSY, EEXIST] = [-16, -17];
    const first = native.eventfdOpen() as NativeFd;
    const second = native.fdTake(native.fdOffer(first) ?? 0) as NativeFd;
    const watch = (fd: NativeFd) => native.eventfdWatch(fd, () => undefined);
    assert.equal(
      native.eventfdMethod(first, {}, () => undefined),
      0,
      'it is not watched',
    );
    assert.equal(watch(first), 0);
    assert.deepEqual([watch(second), watch(first)], [EBUSY, EEXIST]);
    assert.equal(
      native.eventfdMethod(first, {}, () => undefined),
      1,
    );
    for (const bad of [undefined, null, 3, 'x']) {
      assert.equal(
        native.eventfdMethod(first, bad as never, () => undefined),
        undefined,
      );
      assert.equal(native.eventfdMethod(first, {}, bad as never), undefined);
    }
    native.closeSync(first);
    assert.equal(watch(second), 0);
    assert.equal(native.eventfdUnwatch(second), 1);
    assert.equal(watch(second), 0);
    native.closeSync(second);
  });
});

async function failureOf(run: () => unknown): Promise<unknown> {
  try {
    await run();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return undefined;
}
