import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { openDevices } from '../../lib/index.ts';

describe('openDevices', () => {
  it('rejects with the reason of a signal that was aborted before', async () => {
    const signal = AbortSignal.abort(new Error('before'));
    await assert.rejects(openDevices(['3b:00.0'], { signal }), /before/);
  });
});
