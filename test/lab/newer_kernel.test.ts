import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { CHECKOUT, lab, skipUnlessPrepared } from './vm.ts';

// `npm run test:lab` runs them on 6.12, which has no regions for other devices, maps addresses
// only, checks no tokens, and has no mock IOMMU. Allocations that fail take minutes by themselves:
// npm run test:fail-nth.

describe('the device tests', () => {
  it('pass on Linux 7.3', async function () {
    skipUnlessPrepared(this);
    const files = join(CHECKOUT, 'build-test/test/device/*.test.js');
    const slow = join(CHECKOUT, 'build-test/test/device/fail_nth.test.js');
    const options = ['--no-config', '--timeout', '60000', '--reporter', 'dot', '--ignore', slow];
    const mocha = ['npx', 'mocha', ...options, files];
    const { stdout, status } = await lab([
      '--kernel',
      '7.3',
      '--nvme',
      '2',
      '--deadline',
      '2400',
      '--',
      ...mocha,
    ]);
    assert.equal(status, 0, stdout.toString());
    assert.match(stdout.toString(), /\d{3} passing/);
  }).timeout(2_500_000);
});
