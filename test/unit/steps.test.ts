import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { call, pause, run, runSync, type Steps } from '../../lib/core/steps.ts';
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
});
