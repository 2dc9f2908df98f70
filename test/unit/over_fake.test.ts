import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';
import { tree } from '../support/tree.ts';

// The tests of devices, which run in the lab over a real kernel, run over the fake kernel side as
// well: where it answers otherwise than the kernel, they fail.

/** Titles of what it cannot show, and why not. */
const leftOut: [why: string, titles: string[]][] = [
  [
    'other processes and threads have the real kernel',
    [
      'end with a worker that takes them',
      'says how much this user may pin',
      'is over when the process is killed',
      'reads by a loop of its own, and by workers',
      'lends queues to workers',
      'has a command',
      'is held by another process',
      'lspci',
      'is printed by vfio config',
    ],
  ],
  [
    'it is about QEMU, or the lab',
    [
      'is rung for by prepared accesses, and found by a poll',
      'the memory stays, the kernel tells',
      'ends what is under way when its device is unplugged',
      'too many vectors',
      'stops trying when the device is being removed',
      'a hot reset of several devices',
      'says that the device was asked back when it is unplugged',
      'is an unbound cdev until it is bound',
      'has the capabilities that QEMU’s models have',
    ],
  ],
  [
    'the fake kernel side has none of this: mdevs, ROMs, an IOMMU in sysfs, huge pages, page faults, low power',
    [
      'mtty',
      'mdpy',
      'mbochs',
      'a ROM',
      'ignores what is written, and open leaves nothing open',
      'is explained where there is none',
      'or nothing to map',
      'reaches huge pages',
      'has the registers of the IOMMU that is in front of a device',
      'has options, a page table of its own',
      'low power',
    ],
  ],
  ['it takes long', ['leaves nothing behind in 100,000', 'is lean where nothing happens']],
];

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

interface Report {
  stats: { passes: number; failures: number };
  failures: { fullTitle: string; err: { message?: string } }[];
}

/** Runs a file of the device tests over the fake kernel side. */
async function run(file: string): Promise<Report> {
  const output = join(tree({}), 'report.json');
  const titles = leftOut.flatMap(([, each]) => each).map(escaped);
  const args = [
    ...['node_modules/mocha/bin/mocha.js', '--no-config', '--timeout', '60000', '--exit'],
    ...['--import=tsx', '--require', './test/support/tree.ts'],
    ...['--reporter', 'json', '--reporter-option', `output=${output}`],
    ...['--grep', titles.join('|'), '--invert', `test/device/${file}.test.ts`],
  ];
  const env = { ...process.env, VFIO_TEST_FAKE: '1' };
  const child = spawn(process.execPath, args, { cwd: new URL('.', root), env, stdio: 'ignore' });
  await once(child, 'exit');
  return JSON.parse(readFileSync(output, 'utf8')) as Report;
}

describe('over the fake kernel side', () => {
  for (const [file, passes] of [
    ['abort', 8],
    ['dma', 4],
    ['interrupt', 13],
    ['ioas', 13],
    ['lifetime', 8],
    ['mapped_region', 12],
    ['nvme_driver', 8],
    ['pci', 5],
    ['region', 8],
    ['reset', 2],
    ['vector_wait', 4],
  ] as const) {
    it(`the device tests pass: ${file}`, async () => {
      const { stats, failures } = await run(file);
      const texts = failures.map(({ fullTitle, err }) => `${fullTitle}: ${err.message ?? ''}`);
      assert.deepEqual(texts, []);
      assert.ok(stats.passes >= passes, `${stats.passes} passed`);
    });
  }
});
