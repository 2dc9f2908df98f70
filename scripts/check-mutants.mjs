// npm run check:mutants [-- room…]: changes the sources of a room of lib/ at one place after the other, and
// tells which changes no test of it notices: docs/reliability.md says what became of those. The work is done
// in a copy of the checkout, since Stryker wants an older mocha than this project's.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { leftOut } from '../test/support/over_fake.ts';
import { statusOf } from './run.mjs';

const packages = ['mocha@11', '@stryker-mutator/core@9.6.1', '@stryker-mutator/mocha-runner@9.6.1'];

const unit = (...names) => names.map((name) => `test/unit/${name}.test.ts`);
const device = (...names) => names.map((name) => `test/device/${name}.test.ts`);

/**
 * What is changed; the tests that have to notice; and, where there are any, those of them that are
 * left out.
 */
const rooms = {
  pci: {
    mutate: ['lib/pci/*.ts'],
    spec: unit('pci_config', 'pci_lengths', 'pci_values', 'capabilities'),
  },
  locate: {
    mutate: ['lib/locate/*.ts'],
    spec: [
      ...unit('address', 'bind_driver', 'causes', 'cli_list', 'doctor', 'driver_override'),
      ...unit('explain', 'find_cdev'),
      ...unit('groups', 'hidden', 'hidden_parts', 'hostile_node', 'identify', 'late_node', 'list'),
      ...unit('node', 'only_group', 'open_steps', 'refusals', 'resolve', 'sriov', 'suggest'),
      ...unit('sysfs_trees', 'unpack_device', 'watch_devices'),
    ],
  },
  iommu: {
    mutate: ['lib/iommu/*.ts'],
    spec: [
      ...unit('dma_buffer', 'dma_poll', 'dma_span', 'fault_queue', 'iova_allocator', 'mappable'),
      ...unit('page_tables', 'pasid', 'peer', 'scatter_list', 'shared', 'viommu'),
      ...device('ioas', 'dma'),
    ],
    // The tests of devices run over the fake kernel side.
    without: leftOut,
  },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { static: { type: 'boolean' } },
});
const names = positionals.length > 0 ? positionals : Object.keys(rooms);
const unknown = names.filter((name) => !(name in rooms));
if (unknown.length > 0) {
  console.error(
    `check:mutants: no room ${unknown.join(', ')}; there are ${Object.keys(rooms).join(', ')}`,
  );
  process.exit(2);
}

process.chdir(new URL('..', import.meta.url).pathname);
const copy = mkdtempSync(join(tmpdir(), 'vfio-mutants-'));
process.on('exit', () => {
  rmSync(copy, { recursive: true });
});
for (const part of ['build', 'dist', 'docs', 'examples', 'lib', 'native', 'scripts', 'test']) {
  cpSync(part, join(copy, part), { recursive: true });
}
for (const file of ['package.json', 'package-lock.json', 'tsconfig.json', 'README.md']) {
  cpSync(file, join(copy, file));
}
process.chdir(copy);
const options = ['--no-save', '--ignore-scripts', '--legacy-peer-deps'];
if (statusOf('npm', ['install', ...options, ...packages]) !== 0) process.exit(1);
const statuses = names.map((name) => mutants(name, rooms[name]));
process.exitCode = statuses.find((status) => status !== 0) ?? 0;

function mutants(name, { mutate, spec, without }) {
  const config = {
    mutate,
    testRunner: 'mocha',
    plugins: ['@stryker-mutator/mocha-runner'],
    testRunnerNodeArgs: ['--import', 'tsx'],
    mochaOptions: {
      spec,
      'no-config': true,
      require: ['./test/support/whole_errors.ts', './test/support/tree.ts'],
      ...(without !== undefined && { grep: `^(?!.*(?:${without}))` }),
    },
    inPlace: true,
    coverageAnalysis: 'perTest',
    // What is done once, when a module is loaded, takes a new start of all tests for each change.
    ignoreStatic: values.static !== true,
    concurrency: 2,
    reporters: ['clear-text', 'progress-append-only'],
    clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
  };
  const file = `${name}.json`;
  writeFileSync(file, JSON.stringify(config));
  // The tests of devices take the fake kernel side by this variable.
  return statusOf('npx', ['stryker', 'run', file], { VFIO_TEST_FAKE: '1' });
}
