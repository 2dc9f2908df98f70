// npm run check:asan [-- file…]: the unit suite, or those files of it, by an addon that
// AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer watch. With --lab [file…]: compiled
// device tests, in the lab, whose guest sees this machine's files and so the runtime too.
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runOrExit, statusOf } from './run.mjs';
import {
  buildWatched,
  isOf,
  readable,
  reportFolder,
  reportsIn,
  requirePlanted,
  runtimeOf,
} from './watched.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const { values, positionals } = parseArgs({
  options: { lab: { type: 'boolean' } },
  allowPositionals: true,
});

const { addon, planted } = buildWatched('asan');
const folder = reportFolder();
const options = [
  `log_path=${folder}/report`,
  // Lines of the sources come from addr2line, for the few reports that are about us.
  'symbolize=0',
  // Our guard handles SIGBUS (native/fault_guard.cc); tests end programs by signals, and V8 has
  // handlers of its own. None of them is a fault in memory.
  ...['segv', 'sigbus', 'abort', 'sigill', 'sigfpe'].map((signal) => `handle_${signal}=0`),
  // A size that nobody has memory for is answered by ENOMEM, as without a sanitizer.
  'allocator_may_return_null=1',
  // Leaks are judged here, and change no exit status that a test compares; a fault aborts.
  'exitcode=0',
  'abort_on_error=1',
  'detect_leaks=1',
].join(':');
const env = {
  LD_PRELOAD: runtimeOf('libasan.so'),
  ASAN_OPTIONS: options,
  // Beside ASan it knows no log_path: it writes to standard error, and its abort fails a test.
  UBSAN_OPTIONS: 'print_stacktrace=1:symbolize=0:abort_on_error=1',
};

requirePlanted({
  planted,
  folder,
  env,
  faults: {
    overflow: 'heap-buffer-overflow',
    useAfterFree: 'heap-use-after-free',
    undefined: 'signed integer overflow',
    leak: 'leak of 256 byte',
  },
  isFound: (report) => isOf(report, 'planted.node'),
});

const status = values.lab ? runInLab(positionals) : runHere(positionals);
// Node leaks much where it ends, and so do other programs.
const ours = reportsIn(folder).filter((report) => isOf(report, 'vfio.node'));
const reports = [...new Set(ours.map(readable))];
for (const report of reports) console.error(`\n${report}`);
console.log(`check:asan: ${reports.length} reports, tests ended with ${status}`);
process.exitCode = reports.length > 0 ? 1 : status;

function runHere(files) {
  const only = ['--no-config', '--import=tsx', '--timeout', '600000'];
  const required = ['./test/support/whole_errors.ts', './test/support/tree.ts'];
  const requires = required.map((file) => `--require=${file}`);
  // These start compilers and groff, which have faults of their own, and nothing of the addon.
  const others = ['builds', 'manual'].map((name) => `--ignore=test/unit/${name}.test.ts`);
  const all = ['--timeout', '600000', ...others];
  return statusOf('mocha', files.length > 0 ? [...only, ...requires, ...files] : all, {
    ...env,
    VFIO_ADDON_PATH: addon,
  });
}

function runInLab(files) {
  runOrExit('npm', ['run', '--silent', 'build:test']);
  const tests = files.length > 0 ? files : ['build-test/test/device/*.test.js'];
  mkdirSync(folder, { recursive: true });
  const variables = { ...env, VFIO_ADDON_PATH: addon };
  return statusOf('npm', [
    ...['run', '--silent', 'lab', '--', '--deadline', '7200', '--nvme', '2'],
    ...['--memory', '6144', '--results', folder, 'env'],
    ...Object.entries(variables).map(([name, value]) => `${name}=${value}`),
    ...['npx', 'mocha', '--no-config', '--timeout', '600000', ...tests],
  ]);
}
