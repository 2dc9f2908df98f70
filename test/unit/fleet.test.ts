import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { closeDevices, openDevices } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';

describe('openDevices', () => {
  const bad: [unknown, unknown, string][] = [
    [undefined, {}, 'ERR_INVALID_ARG_TYPE'],
    ['0000:3b:00.0', {}, 'ERR_INVALID_ARG_TYPE'],
    [[], { concurrency: 0 }, 'ERR_OUT_OF_RANGE'],
    [[], { concurrency: 65 }, 'ERR_OUT_OF_RANGE'],
    [[], { concurrency: 1.5 }, 'ERR_OUT_OF_RANGE'],
    [[], { concurrency: '2' }, 'ERR_INVALID_ARG_TYPE'],
    [[], { onProgress: {} }, 'ERR_INVALID_ARG_TYPE'],
    [[], { signal: {} }, 'ERR_INVALID_ARG_TYPE'],
  ];
  for (const [specs, options, code] of bad) {
    it(`refuses ${JSON.stringify([specs, options])}, and opens nothing`, async () => {
      const none = { open: () => assert.fail('opened') };
      await withBinding(none, async () => {
        await failure(() => openDevices(specs as never, options as never), code);
      });
    });
  }

  it('rejects with the reason of a signal that was aborted before', async () => {
    const signal = AbortSignal.abort(new Error('before'));
    await assert.rejects(openDevices(['3b:00.0'], { signal }), /before/);
  });
});

describe('closeDevices', () => {
  it('refuses what are no devices', async () => {
    await failure(() => closeDevices({} as never), 'ERR_INVALID_ARG_TYPE');
    await failure(() => closeDevices([{}] as never), 'ERR_INVALID_ARG_TYPE');
  });
});
