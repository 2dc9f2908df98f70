// The lanes of `npm test`: what runs in each.
import { readdirSync } from 'node:fs';

/** A part of the tests that runs by itself, beside others. */
export interface Lane {
  name: string;
  /**
   * The program and its arguments; a lane of tests writes its results to that file of the folder.
   */
  command: (folder: string, file: string) => string[];
  /** It has no tests of mocha: its exit status alone says how it went. */
  isCheck?: boolean;
  /** It runs where it is named, and not with all others. */
  isOnDemand?: boolean;
  /** The lanes that have to have passed before. */
  after?: readonly string[];
}

const node = (...args: string[]): string[] => [process.execPath, ...args];
const npm = (script: string): string[] => ['npm', 'run', '--silent', script];
const mocha = 'node_modules/mocha/bin/mocha.js';
const built = { after: ['build'] };

/** Of sources, by tsx; `support` is where the reporter is. */
function reportTo(file: string, support = 'test/support', extension = 'ts'): string[] {
  return [
    ...['--require', `./${support}/whole_errors.${extension}`],
    ...['--reporter', `./${support}/reporter.${extension}`],
    ...['--reporter-option', `output=${file}`],
  ];
}

function sources(pattern: string, timeout: number): Lane['command'] {
  const args = ['--no-config', '--import=tsx', '--timeout', `${timeout}`, pattern];
  return (_folder, file) => node(mocha, ...reportTo(file), ...args);
}

interface InLab {
  /** The lab's own options. */
  lab: readonly string[];
  /**
   * The VM's processors. Two take turns: where QEMU emulates them side by side, the same tests take
   * longer, and now and then one of the two loses its timer.
   */
  cpus?: 1 | 2;
  /** The device tests, by the names of their files. */
  tests: readonly string[];
  /** Files that are loaded before them. */
  requires?: readonly string[];
}

/** Runs compiled device tests in the lab. */
function inLab({ lab, cpus = 1, tests, requires = [] }: InLab): Lane['command'] {
  const files = tests.map((name) => `build-test/test/device/${name}.test.js`);
  const loaded = requires.flatMap((file) => ['--require', `./build-test/test/support/${file}.js`]);
  return (folder, file) => {
    const processors = ['--cpus', `${cpus}`, ...(cpus > 1 ? ['--in-turns'] : [])];
    const options = [...processors, '--deadline', '3600', '--results', folder, ...lab, '--'];
    const report = reportTo(file, 'build-test/test/support', 'js');
    const tester = [mocha, '--no-config', '--timeout', '600000', ...report, ...loaded, ...files];
    return node('--import', 'tsx', 'lab/main.ts', ...options, ...node(...tester));
  };
}

/** Those that run over every backend. */
const overBackends = [
  ...[
    'cli_backend',
    'cli_sriov',
    'dma',
    'doctor',
    'feature',
    'interrupt',
    'mapped_region',
    'parts',
  ],
  ...['pci', 'region', 'removal', 'request', 'reset', 'sriov', 'unbind'],
];

/** Those that need a VM of another kind: a lane of its own, or test/lab, which starts one. */
const elsewhere = ['noiommu', 'vmm_guest', 'vmm_qemu'];

/** Those in which threads of one program do something at the same time. */
const withThreads = [
  ...['ending', 'event_loop', 'interrupt', 'nvme_driver', 'pages', 'parts', 'share'],
  ...['shared_interrupt', 'shared_vector', 'unbind'],
];

function byCdev(): string[] {
  const names = readdirSync('test/device')
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => file.slice(0, -'.test.ts'.length));
  return names.filter((name) => !elsewhere.includes(name) && !withThreads.includes(name));
}

/** What finds out by itself which nodes the kernel has: run on each kernel. */
const onEachKernel = ['cdi', 'cli_each', 'groups', 'udev', 'watch'];

function byBackend(
  backend: string,
  more: readonly string[] = [],
  ...options: string[]
): Lane['command'] {
  const lab = [...options, '--nvme', '2', '--env', `VFIO_TEST_BACKEND=${backend}`];
  return inLab({ lab, tests: [...overBackends, ...more], requires: ['default_backend'] });
}

const withoutIommu = 'intel_iommu=off vfio.enable_unsafe_noiommu_mode=1';

/** In the order in which they begin: the longest first, so that none is left over at the end. */
export const lanes: readonly Lane[] = [
  { name: 'build', command: () => npm('build:all'), isCheck: true },
  {
    name: 'cdev',
    command: inLab({ lab: ['--nvme', '2'], tests: byCdev() }),
    ...built,
  },
  {
    name: 'threads',
    command: inLab({ lab: ['--nvme', '2'], cpus: 2, tests: withThreads }),
    ...built,
  },
  // It reads the types in dist/, which the build makes anew.
  { name: 'lint', command: () => npm('lint'), isCheck: true, ...built },
  {
    name: 'prebuilds',
    command: () => [...npm('build:prebuilds'), '--', '--available'],
    isCheck: true,
    ...built,
  },
  { name: 'unit', command: (_folder, file) => node(mocha, ...reportTo(file)), ...built },
  // What `stock` does on a kernel without cdevs, on one that has them.
  { name: 'group', command: byBackend('group'), isOnDemand: true, ...built },
  { name: 'compat', command: byBackend('compat'), ...built },
  { name: 'stock', command: byBackend('group', onEachKernel, '--stock'), ...built },
  { name: 'lab', command: sources('test/lab/*.test.ts', 400_000), ...built },
  {
    name: 'package',
    command: (_folder, file) =>
      node(mocha, '--config', 'test/package/.mocharc.json', ...reportTo(file)),
    after: ['build', 'prebuilds'],
  },
  {
    name: 'noiommu',
    command: inLab({
      lab: ['--memory', '1024', '--append', withoutIommu],
      tests: ['noiommu', 'cli_each', 'doctor', 'groups', 'watch'],
    }),
    ...built,
  },
];
