import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { leftOut } from '../support/over_fake.ts';
import { root } from '../support/root.ts';
import { tree } from '../support/tree.ts';

// The tests of devices, which run in the lab over a real kernel, run over the fake kernel side as
// well: where it answers otherwise than the kernel, they fail.

interface Report {
  stats: { passes: number; failures: number };
  failures: { fullTitle: string; err: { message?: string } }[];
}

/** Runs a file of the device tests over the fake kernel side. */
async function run(file: string): Promise<Report> {
  const output = join(tree({}), 'report.json');
  const args = [
    ...['node_modules/mocha/bin/mocha.js', '--no-config', '--timeout', '60000', '--exit'],
    ...['--import=tsx/esm', '--require', './test/support/tree.ts'],
    ...['--reporter', 'json', '--reporter-option', `output=${output}`],
    ...['--grep', leftOut, '--invert', `test/device/${file}.test.ts`],
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
