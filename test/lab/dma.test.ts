import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { CHECKOUT, lab } from './vm.ts';

// The device tests run on 6.12, which maps addresses only; 7.3 maps files.

describe('address spaces and DMA memory', () => {
  it('do on Linux 7.3 what they do on 6.12', async function () {
    if (process.env['VFIO_LAB_TEST_7_3'] !== '1') this.skip();
    const files = ['dma', 'ioas', 'share', 'peer'].map((name) =>
      join(CHECKOUT, `build-test/test/device/${name}.test.js`),
    );
    const mocha = ['npx', 'mocha', '--no-config', '--timeout', '60000', '--reporter', 'min'];
    const { stdout, status } = await lab(['--kernel', '7.3', '--', ...mocha, ...files]);
    assert.equal(status, 0, stdout.toString());
    assert.match(stdout.toString(), /4\d passing/);
  }).timeout(300_000);
});
