import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'mocha';
import { addonFile } from '../../lib/addon.ts';
import { undefinedSymbols, unknownSymbols } from '../faults/calls.ts';
import { whyNotCompiled } from '../support/emulation.ts';
import { root } from '../support/root.ts';

/** One that VFIO_ADDON_PATH names is watched, and what watches it calls more functions. */
const isWatched = process.env['VFIO_ADDON_PATH'] !== undefined;
const why = isWatched ? 'the addon is watched' : whyNotCompiled('g++');

/** The whole of it is `npm run check:faults`. */
(why === undefined ? describe : describe.skip)(
  `a call of the C library that fails${why === undefined ? '' : ` (${why})`}`,
  () => {
    it('is made to fail, whichever the addon calls, or it is said why it cannot', () => {
      const symbols = undefinedSymbols(addonFile());
      assert.ok(symbols.includes('ioctl'));
      assert.deepEqual(unknownSymbols(symbols), []);
      assert.deepEqual(unknownSymbols([...symbols, 'splice']), ['splice']);
    });

    it('is told by its name and leaves nothing behind, and the next try works', () => {
      const scenarios = ['open-cdev', 'map-cdev', 'interrupts', 'hand-over'];
      const options = ['--most', '1', '--errnos', '1', '--memory', '1', '--no-node-api'];
      const program = new URL('test/faults/main.ts', root).pathname;
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        ['--import', 'tsx', program, ...options, ...scenarios],
        { cwd: root, encoding: 'utf8' },
      );
      const [last = ''] = stdout.trim().split('\n').slice(-1);
      assert.match(last, /^\d+ failures tried, 0 lost$/, stdout + stderr);
      assert.ok(parseInt(last) > 50, last);
      assert.equal(status, 0);
    }).timeout(300_000);
  },
);
