import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'mocha';
import { linkFailingAddon, whyNotLinked } from '../support/failing_napi.ts';
import { root } from '../support/root.ts';

const program = new URL('test/support/napi_failures.mjs', root).pathname;
const why = whyNotLinked();

/** The places that were run, each with the function that failed there. */
function placesOf(stdout: string): string[] {
  return stdout.split('\n').filter((line) => / napi_\w+$/.test(line));
}

(why === undefined ? describe : describe.skip)(
  `a call of Node-API that says that JavaScript does not run${why === undefined ? '' : ` (${why})`}`,
  () => {
    for (const [title, which, failing, least] of [
      ['once', 'any', 1, 800],
      ['from then on', 'ending', 1_000_000, 400],
    ] as const) {
      it(`ends nothing and leaves nothing open, wherever it is: ${title}`, () => {
        const { status, signal, stdout, stderr } = spawnSync(
          process.execPath,
          [program, linkFailingAddon(which), String(failing)],
          { encoding: 'utf8' },
        );
        const last = stdout.slice(stdout.lastIndexOf('\n', stdout.length - 2) + 1);
        assert.deepEqual(
          { status, signal, last },
          { status: 0, signal: null, last: 'end\n' },
          stderr,
        );
        const places = placesOf(stdout);
        // More than loading makes: they reach into all parts.
        assert.ok(places.length > least, `${places.length} places`);
      }).timeout(300_000);
    }
  },
);
