import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { constants as os } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import { binding, type Binding, type NativeFd } from '../../lib/core/binding.ts';
import { compiledWorker } from '../support/compiled_worker.ts';
import { isEmulated, unknownIoctl } from '../support/emulation.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { root } from '../support/root.ts';

const { EAGAIN, EBADF, EEXIST, EINVAL } = os.errno;
const trigger = 32;

function openEvent(): NativeFd {
  const event = binding().eventfdOpen();
  assert.ok(event !== undefined && event > 0);
  return event as NativeFd;
}

/** What a program of its own prints. */
function outputOf(program: string): string {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', program],
    { cwd: root, encoding: 'utf8' },
  );
  assert.equal(stderr, '');
  assert.equal(status, 0);
  return stdout;
}

const head = `
  import { binding } from './lib/core/binding.ts';
  import { Eventfd } from './lib/interrupt/eventfd.ts';
  import { InterruptVector } from './lib/interrupt/vector.ts';
  const native = binding();
`;

describe('eventfds', () => {
  it('count, and are read once', () => {
    const native = binding();
    const event = openEvent();
    assert.equal(native.eventfdRead(event), -EAGAIN);
    assert.equal(native.eventfdWrite(event, 3), 0);
    assert.equal(native.eventfdWrite(event, 4), 0);
    assert.equal(native.eventfdRead(event), 7);
    const copy = native.dup(native.fdNumber(event) ?? -1) as NativeFd;
    native.eventfdWrite(event, 1);
    assert.equal(native.closeSync(event), 0);
    assert.equal(native.eventfdRead(copy), 1);
    native.closeSync(copy);
    assert.equal(native.dup(1_000_000), -EBADF);
  });

  it('call back from the loop with what was added up', async () => {
    const native = binding();
    const event = openEvent();
    const counts: number[] = [];
    assert.equal(native.eventfdUnwatch(event), 0);
    assert.equal(native.eventfdRef(event, true), 0);
    assert.equal(
      native.eventfdWatch(event, (count) => counts.push(count)),
      0,
    );
    assert.equal(
      native.eventfdWatch(event, () => undefined),
      -EEXIST,
    );
    for (let at = 0; at < 10; at++) native.eventfdWrite(event, 1);
    await setImmediate();
    await setImmediate();
    assert.deepEqual(counts, [10]);
    assert.equal(native.eventfdUnwatch(event), 1);
    native.eventfdWrite(event, 1);
    await setImmediate();
    await setImmediate();
    assert.deepEqual(counts, [10]);
    assert.equal(
      native.eventfdWatch(event, (count) => counts.push(count)),
      0,
    );
    await setImmediate();
    await setImmediate();
    assert.deepEqual(counts, [10, 1]);
    assert.equal(native.closeSync(event), 0, 'closing ends the polling');
    await setImmediate();
  });

  it('are closed while they are polled, and their numbers are used again', async () => {
    const native = binding();
    const before = libraryFds();
    let told = 0;
    for (let round = 0; round < 200; round++) {
      const event = openEvent();
      native.eventfdWatch(event, () => told++);
      native.eventfdWrite(event, 1);
      if (round % 2 === 0) await setImmediate();
      assert.equal(native.closeSync(event), 0);
      assert.equal(
        native.eventfdWatch(event, () => told++),
        undefined,
      );
    }
    await setImmediate();
    assertNoMore(libraryFds(), before);
    assert.ok(told <= 100);
  });

  it('refuse every wrong argument', () => {
    const event = openEvent();
    const bad = [undefined, null, 0, -1, 1.5, 4e9, '1', {}, []];
    const cases: [keyof Binding, unknown[]][] = [
      ...bad.flatMap((wrong): [keyof Binding, unknown[]][] => [
        ['eventfdRead', [wrong]],
        ['eventfdWrite', [wrong, 1]],
        ['eventfdWatch', [wrong, () => undefined]],
        ['eventfdWatch', [event, wrong]],
        ['fdPoll', [wrong, 1, () => undefined]],
        ['fdPoll', [event, 1, wrong]],
        ['eventfdRef', [event, wrong]],
        ['setIrqsSync', [wrong, trigger, 0, 0, 0]],
        ['setIrqsSync', [event, wrong, 0, 0, 0]],
        ['setIrqsBoolSync', [event, trigger, 0, 0, wrong]],
        ['setIrqsEventfdSync', [event, trigger, 0, 0, wrong]],
      ]),
      ['dup', [-1]],
      ['dup', ['1']],
      ['take', [-1]],
      ['take', ['1']],
      ['hold', [0, 0]],
      ['eventfdWrite', [event, -1]],
      ['eventfdUnwatch', ['x']],
      ['setIrqsSync', [event, trigger | 8, 0, 0, 0]],
      ['setIrqsSync', [event, trigger, 0, 0]],
      ['setIrqsSync', [event, trigger, -1, 0, 0]],
      ['setIrqsBoolSync', [event, trigger, 0, 0, new Uint8Array(0)]],
      ['setIrqsEventfdSync', [event, trigger, 0, 0, new Int32Array(1)]],
      ['setIrqsEventfdSync', [event, trigger, 0, 0, new Uint32Array([4e9])]],
    ];
    for (const [name, args] of cases) {
      const native = binding()[name] as (...args: unknown[]) => unknown;
      assert.equal(native(...args), undefined, `${name}(${inspect(args)})`);
    }
    binding().closeSync(event);
  });

  it('are what SET_IRQS takes, in its three forms', async () => {
    const native = binding();
    const event = openEvent();
    const none = new Uint32Array([0, event]);
    for (const answer of [
      native.setIrqsSync(event, trigger, 0, 0, 0),
      native.setIrqsBoolSync(event, trigger, 0, 0, new Uint8Array([1, 0])),
      native.setIrqsEventfdSync(event, trigger, 0, 0, none),
      await native.setIrqs(event, trigger, 0, 0, 0),
      await native.setIrqsBool(event, trigger, 0, 0, new Uint8Array([1, 0])),
      await native.setIrqsEventfd(event, trigger, 0, 0, none),
    ]) {
      assert.ok(answer === -unknownIoctl || answer === -EINVAL, `an eventfd answered ${answer}`);
    }
    native.closeSync(event);
  });

  it('run microtasks and ticks after a handler, and report what it throws', () => {
    const program = `${head}
      const event = Eventfd.open('the test');
      const vector = InterruptVector.of({}, 0, event);
      const order = [];
      let again = 2;
      process.on('uncaughtException', (error) => order.push(error.message));
      vector.on('interrupt', (count) => {
        order.push('handler');
        process.nextTick(() => order.push('tick'));
        Promise.resolve().then(() => order.push('microtask'));
        setImmediate(() => {
          order.push('immediate');
          if (again-- > 0) return native.eventfdWrite(event.native, 1);
          console.log(order.join(' '));
          vector.end();
        });
        if (again === 1) throw new Error('thrown');
      });
      native.eventfdWrite(event.native, 1);
    `;
    const quiet = 'handler tick microtask immediate';
    // What the handler left for later runs too, before the error is told.
    const thrown = 'handler tick microtask thrown immediate';
    assert.equal(outputOf(program), `${quiet} ${thrown} ${quiet}\n`);
  });

  it('report what a bare callback throws, and go on', () => {
    const program = `${head}
      const event = native.eventfdOpen();
      let calls = 0;
      process.on('uncaughtException', (error) => console.log(error.message));
      native.eventfdWatch(event, () => {
        if (++calls === 2) return native.closeSync(event);
        native.eventfdWrite(event, 1);
        throw new Error('thrown');
      });
      native.eventfdWrite(event, 1);
      process.on('exit', () => console.log(calls));
    `;
    assert.equal(outputOf(program), 'thrown\n2\n');
  });

  it('keep the loop alive while somebody listens, unless told otherwise', () => {
    // An unref'd timer that is late, as on a busy machine, would run before the loop ends.
    const waiting = (code: string, milliseconds = 60_000): string => `${head}
      const event = Eventfd.open('the test');
      const vector = InterruptVector.of({}, 0, event);
      const timer = setTimeout(() => {
        console.log('alive');
        process.exit();
      }, ${milliseconds});
      timer.unref();
      ${code}
    `;
    assert.equal(outputOf(waiting('')), '');
    assert.equal(outputOf(waiting(`vector.on('interrupt', () => 0);`, 500)), 'alive\n');
    assert.equal(outputOf(waiting(`vector.on('interrupt', () => 0).unref();`)), '');
    assert.equal(outputOf(waiting(`vector.unref().on('interrupt', () => 0);`)), '');
    assert.equal(
      outputOf(waiting(`vector.unref().on('interrupt', () => 0).ref();`, 500)),
      'alive\n',
    );
    assert.equal(outputOf(waiting(`vector.on('interrupt', () => 0).removeAllListeners();`)), '');
    assert.equal(outputOf(waiting(`vector.once('interrupt', () => 0).ref(); vector.end();`)), '');
  }).timeout(isEmulated ? 900_000 : 120_000);

  // Under QEMU's emulation a worker takes seconds to start.
  const rounds = isEmulated ? 5 : 100;
  it(`end cleanly with a worker, ${3 * rounds} times`, async () => {
    const start = compiledWorker(new URL('../support/eventfd_worker.ts', import.meta.url));
    const round = async (): Promise<void> => {
      const worker = start();
      await once(worker, 'message');
      await worker.terminate();
    };
    const before = libraryFds();
    for (let at = 0; at < rounds; at++) await Promise.all([round(), round(), round()]);
    assertNoMore(libraryFds(), before);
  }).timeout(600_000);
});
