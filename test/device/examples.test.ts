import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'mocha';
import { describeLab } from '../support/devices.ts';
import { blocksOf } from '../support/readme.ts';
import { root } from '../support/root.ts';

describeLab('the examples', ['edu', 'testdev'], ({ edu, testdev }) => {
  const run = (file: string, ...args: string[]): [number | null, string, string] => {
    const path = new URL(`build-test/examples/${file}.js`, root).pathname;
    const { status, stdout, stderr } = spawnSync(process.execPath, [path, ...args], {
      encoding: 'utf8',
    });
    return [status, stdout, stderr];
  };

  it('edu: is identified, is alive, computes, copies by DMA', () => {
    const said = `edu 1.0 at ${edu.address}\nit is alive\n12! = 479001600\n4000 bytes went there and came back\n`;
    assert.deepEqual(run('edu', edu.address), [0, said, '']);
  });

  it('edu: prints what the tutorial says', () => {
    assert.deepEqual(run('edu'), [0, blocksOf('docs/tutorial.md', 'text').join(), '']);
  });

  it('edu: says that another device is none', () => {
    const [status, , err] = run('edu', testdev.address);
    assert.equal(status, 1);
    assert.match(err, /is no edu device/);
  });
});
