import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, it } from 'mocha';
import { whyNotCompiled } from '../support/emulation.ts';
import { root } from '../support/root.ts';

// The parsers of native/, given what fuzzers found worth keeping, and changes of it. `npm run check:fuzz`
// looks for more.

const runs = 20_000;
const seed = process.env['VFIO_TEST_SEED'] ?? `${Date.now()}`;
const why = whyNotCompiled('g++');

const targets = readdirSync(new URL('test/fuzz', root))
  .filter((name) => name.endsWith('.cc') && name !== 'replay.cc')
  .map((name) => name.slice(0, -'.cc'.length));

/** Compiles one in a process of its own, since it is a script's part. */
function build(target: string): string {
  const flags = ['-fsanitize=address,undefined'];
  const sources = ['test/fuzz/replay.cc'];
  const args = [target, 'g++', flags, sources].map((one) => JSON.stringify(one)).join();
  const program = `import { buildTarget } from './scripts/fuzz-targets.mjs'; console.log(buildTarget(${args}))`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', program],
    { cwd: root, encoding: 'utf8' },
  );
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

(why === undefined ? describe : describe.skip)(
  `the parsers of native/${why === undefined ? '' : ` (${why})`}`,
  () => {
    for (const target of targets) {
      it(`take whatever comes: ${target}`, () => {
        const folder = new URL(`test/fuzz/corpus/${target}/`, root).pathname;
        const corpus = readdirSync(folder).map((name) => folder + name);
        assert.ok(corpus.length > 0);
        // A sanitizer that the suite itself may run with is another's.
        const env = { ...process.env, LD_PRELOAD: '', ASAN_OPTIONS: '' };
        const ran = spawnSync(build(target), [seed, `${runs}`, ...corpus], {
          encoding: 'utf8',
          env,
        });
        const said = `VFIO_TEST_SEED=${seed}\n${ran.stderr}`;
        assert.deepEqual([ran.status, ran.signal], [0, null], said);
        assert.equal(ran.stdout, `${corpus.length} files and ${runs} changes of them\n`);
      }).timeout(600_000);
    }
  },
);
