import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  call,
  closing,
  closingAll,
  type HasClose,
  inOrder,
  Mutex,
  pause,
  run,
  runSync,
  type Steps,
  undoing,
} from '../../lib/core/steps.ts';
import { withBinding } from '../support/fake_binding.ts';

describe('a task of steps', () => {
  const fd = 7 as never;

  function* twice(): Steps<unknown[]> {
    const first = yield* call('reset', fd);
    yield* pause(1);
    return [first, yield* call('hotResetInfo', fd, 16)];
  }

  it('calls one form of the addon’s functions or the other', async () => {
    const words = Uint32Array.of(1);
    const later = {
      reset: () => Promise.resolve(3),
      hotResetInfo: (_: number, room: number) => Promise.resolve(room === 16 ? words : -1),
      resetSync: () => assert.fail('it blocks'),
    };
    await withBinding(later, async () => {
      assert.deepEqual(await run(twice()), [3, words]);
    });
    const now = {
      reset: () => assert.fail('it does not block'),
      resetSync: () => 4,
      hotResetInfoSync: () => -5,
    };
    await withBinding(now, () => {
      assert.deepEqual(runSync(twice()), [4, -5]);
    });
  });

  it('is told of what a call throws, and cleans up', async () => {
    const boom = new Error('boom');
    const done: string[] = [];
    function* cleaning(): Steps<void> {
      try {
        yield* call('reset', fd);
      } finally {
        done.push('cleaned');
      }
    }
    const throwing = {
      reset: () => Promise.reject(boom),
      resetSync: () => {
        throw boom;
      },
    };
    await withBinding(throwing, async () => {
      await assert.rejects(run(cleaning()), boom);
      assert.throws(() => {
        runSync(cleaning());
      }, boom);
    });
    assert.deepEqual(done, ['cleaned', 'cleaned']);
  });

  it('keeps its form, whatever form the tasks have that it starts', async () => {
    const fakes = {
      reset: () => Promise.resolve(1),
      resetSync: () => 2,
    };
    let started: Promise<unknown> | undefined;
    const boom = new Error('boom');
    function* failing(): Steps<number> {
      yield* call('reset', fd);
      throw boom;
    }
    function* starting(): Steps<unknown[]> {
      started = run(call('reset', fd));
      const [before, blocked] = [yield* call('reset', fd), runSync(call('reset', fd))];
      assert.throws(() => runSync(failing()), boom);
      hear(run(failing()));
      return [before, blocked, yield* call('reset', fd)];
    }
    const rejected: unknown[] = [];
    const hear = (task: Promise<unknown>): void => {
      task.catch((error: unknown) => rejected.push(error));
    };
    await withBinding(fakes, async () => {
      assert.deepEqual(runSync(starting()), [2, 2, 2]);
      assert.equal(await started, 1);
      assert.deepEqual(await run(starting()), [1, 2, 1]);
      assert.equal(await started, 1);
    });
    assert.deepEqual(rejected, [boom, boom]);
  });
});

/** Both forms of a task, each with what it did. */
async function bothForms(task: (did: string[]) => Steps<unknown>): Promise<[unknown, string[]][]> {
  const outcomes: [unknown, string[]][] = [];
  for (const form of [run, runSync]) {
    const did: string[] = [];
    const error: unknown = await Promise.resolve()
      .then<unknown>(() => form(task(did)))
      .then(
        (value) => assert.fail(`it did not fail, but answered ${String(value)}`),
        (reason: unknown) => reason,
      );
    outcomes.push([error, did]);
  }
  return outcomes;
}

describe('a task that fails', () => {
  const boom = new Error('boom');
  const stuck = new Error('stuck');

  const closable = (did: string[], name: string, error?: Error): HasClose => ({
    close: async () => {
      await Promise.resolve();
      did.push(name);
      if (error) throw error;
    },
    closeSync: () => {
      did.push(name);
      if (error) throw error;
    },
  });

  function* failing(): Steps<void> {
    yield* pause(1);
    throw boom;
  }

  it('is undone, and its error thrown', async () => {
    const outcomes = await bothForms((did) =>
      undoing(
        failing(),
        inOrder(
          closing(closable(did, 'first')),
          closing(undefined),
          closing(closable(did, 'second')),
        ),
      ),
    );
    for (const outcome of outcomes) assert.deepEqual(outcome, [boom, ['first', 'second']]);
  });

  it('throws both errors where it cannot be undone', async () => {
    const outcomes = await bothForms((did) =>
      undoing(failing(), closing(closable(did, 'first', stuck))),
    );
    for (const [error] of outcomes) {
      assert.ok(error instanceof AggregateError);
      assert.deepEqual([error.errors, error.cause], [[boom, stuck], boom]);
      assert.match(error.message, /: boom; stuck$/);
    }
  });

  it('closes all, also where one of them fails', async () => {
    const outcomes = await bothForms((did) =>
      closingAll([closable(did, 'first', stuck), closable(did, 'second', boom)]),
    );
    for (const [error, did] of outcomes) {
      assert.ok(error instanceof AggregateError);
      assert.deepEqual(
        [error.errors, did],
        [
          [stuck, boom],
          ['first', 'second'],
        ],
      );
      assert.equal(error.message, '2 operations failed: stuck; boom');
    }
  });

  it('goes on with the next, whatever comes of one, and throws one error as it is', async () => {
    const outcomes = await bothForms((did) =>
      inOrder(closing(closable(did, 'first', stuck)), closing(closable(did, 'second'))),
    );
    for (const outcome of outcomes) assert.deepEqual(outcome, [stuck, ['first', 'second']]);
  });
});

describe('a task in its turn', () => {
  it('waits for the one before, and blocking is refused meanwhile', async () => {
    const turns = new Mutex();
    const did: string[] = [];
    function* task(name: string): Steps<string> {
      did.push(`${name} begins`);
      yield* pause(1);
      did.push(`${name} ends`);
      return name;
    }
    const busy = new Error('busy');
    const take = (name: string): Steps<string> =>
      turns.take(
        () => task(name),
        () => busy,
      );
    const both = Promise.all([run(take('one')), run(take('two'))]);
    assert.throws(() => runSync(take('three')), busy);
    assert.deepEqual(await both, ['one', 'two']);
    assert.equal(runSync(take('four')), 'four');
    const each = ['one', 'two', 'four'].flatMap((name) => [`${name} begins`, `${name} ends`]);
    assert.deepEqual(did, each);
  });
});
