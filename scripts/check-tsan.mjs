// npm run check:tsan [-- file…]: the unit tests of what threads do together, or those files, by an
// addon that ThreadSanitizer watches.
import { fileURLToPath } from 'node:url';
import { statusOf } from './run.mjs';
import {
  buildWatched,
  readable,
  reportFolder,
  reportsIn,
  requirePlanted,
  runtimeOf,
} from './watched.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

/** What slow calls, leases, polls and sharing are tested by. */
const files = [
  ...['abort', 'closing', 'dma_buffer', 'dma_poll', 'dropped', 'eventfd', 'fd_channel'],
  ...['faults', 'irq_owners', 'map_mail', 'mapped_region', 'native', 'native_iommu'],
  ...['native_mmio', 'notices', 'prepared', 'read_folders', 'shared', 'shared_vector'],
  ...['vector', 'vector_wait', 'workers'],
].map((name) => `test/unit/${name}.test.ts`);

const { addon, planted } = buildWatched('tsan');
const folder = reportFolder();
const env = {
  LD_PRELOAD: runtimeOf('libtsan.so'),
  TSAN_OPTIONS: [
    `log_path=${folder}/report`,
    'symbolize=0',
    // Node is not instrumented: what libc's functions read and write for it is not judged. What they
    // order, locks, semaphores, threads, pipes, is known all the same.
    'ignore_noninstrumented_modules=1',
    // Our guard handles SIGBUS (native/fault_guard.cc), and tests end programs by others.
    ...['segv', 'sigbus', 'abort', 'sigill', 'sigfpe'].map((signal) => `handle_${signal}=0`),
    'exitcode=0',
    'halt_on_error=0',
    `suppressions=${fileURLToPath(new URL('tsan.supp', import.meta.url))}`,
  ].join(':'),
};

requirePlanted({ planted, folder, env, faults: { race: 'data race' }, isFound: () => true });

const asked = process.argv.slice(2);
const chosen = asked.length > 0 ? asked : files;
const args = ['--no-config', '--import=tsx', '--timeout', '600000'];
const requires = ['whole_errors', 'tree'].map((name) => `--require=./test/support/${name}.ts`);
const status = statusOf('mocha', [...args, ...requires, ...chosen], {
  ...env,
  VFIO_ADDON_PATH: addon,
});
const reports = [...new Set(reportsIn(folder).map(readable))];
for (const report of reports) console.error(`\n${report}`);
console.log(`check:tsan: ${reports.length} reports, tests ended with ${status}`);
process.exitCode = reports.length > 0 ? 1 : status;
