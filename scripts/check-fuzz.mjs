// npm run check:fuzz [-- --minutes N --seed S target…]: tries the parsers of native/ by libFuzzer, and the
// properties of lib/ by fast-check, for so long altogether: an hour, unless it is said otherwise. What
// libFuzzer finds new goes to build-fuzz/corpus; `--keep` puts the few files that reach all of it into
// test/fuzz/corpus.
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { requireCommands } from './commands.mjs';
import { buildTarget, targets } from './fuzz-targets.mjs';
import { statusOf } from './run.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const { values, positionals } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string', default: `${Date.now() % 2 ** 31}` },
    keep: { type: 'boolean' },
  },
  allowPositionals: true,
});
const unknown = positionals.filter((name) => name !== 'lib' && !targets.includes(name));
const seconds = Number(values.minutes) * 60;
const first = Number(values.seed);
if (unknown.length > 0 || !(seconds > 0) || !Number.isInteger(first)) {
  console.error(`check:fuzz: --minutes N --seed S [${[...targets, 'lib'].join(' ')}]`);
  process.exit(2);
}
const chosen = positionals.length > 0 ? positionals : [...targets, 'lib'];
requireCommands('check:fuzz', { 'clang++': 'clang libclang-rt-14-dev' });

console.log(`check:fuzz: seed ${first}`);
const share = Math.max(1, Math.round(seconds / chosen.length));
const failed = chosen.filter((name) => (name === 'lib' ? fuzzLib() : fuzzNative(name)) !== 0);
console.log(`check:fuzz: ${chosen.length - failed.length} passed, ${failed.length} failed`);
if (failed.length > 0)
  console.log(`again: npm run check:fuzz -- --seed ${first} ${failed.join(' ')}`);
process.exitCode = failed.length > 0 ? 1 : 0;

function fuzzNative(target) {
  const program = buildTarget(target, 'clang++', ['-fsanitize=fuzzer,address,undefined']);
  const corpus = `build-fuzz/corpus/${target}`;
  const kept = `test/fuzz/corpus/${target}`;
  for (const folder of [corpus, kept]) mkdirSync(folder, { recursive: true });
  console.log(`\n# ${target}: ${share} s`);
  const status = statusOf(program, [
    ...[`-max_total_time=${share}`, `-seed=${first}`, '-max_len=1024', '-use_value_profile=1'],
    ...['-print_final_stats=1', '-verbosity=0', `-artifact_prefix=build-fuzz/${target}-`],
    ...[corpus, kept],
  ]);
  if (status === 0 && values.keep) keep(program, corpus, kept);
  return status;
}

/** The fewest files that reach what all of them do. */
function keep(program, corpus, kept) {
  const all = `${corpus}.all`;
  cpSync(kept, all, { recursive: true });
  cpSync(corpus, all, { recursive: true });
  rmSync(kept, { recursive: true });
  mkdirSync(kept);
  statusOf(program, ['-set_cover_merge=1', '-verbosity=0', kept, all]);
  rmSync(all, { recursive: true });
}

/** Round after round, each by the next seed, which test/support/fuzzed.ts tells fast-check. */
function fuzzLib() {
  const end = Date.now() + share * 1000;
  for (let seed = first; Date.now() < end; seed++) {
    console.log(`\n# lib: seed ${seed}`);
    const status = statusOf('mocha', ['--config', 'test/fuzz/.mocharc.json'], {
      VFIO_TEST_SEED: `${seed}`,
      VFIO_TEST_RUNS: '2000',
    });
    if (status !== 0) return status;
  }
  return 0;
}
