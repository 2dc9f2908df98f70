import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { tree } from '../support/tree.ts';
import { writeFileSync } from 'node:fs';

const script = new URL('../support/faulting.ts', import.meta.url).pathname;

function run(scenario: string): { out: string; signal: string | null; err: string } {
  const path = join(tree({}), 'file');
  for (const end of ['', '-0', '-1', '-2']) writeFileSync(path + end, '');
  const args = ['--import', 'tsx', script, scenario, path];
  const child = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return { out: child.stdout.trim(), signal: child.signal, err: child.stderr };
}

describe('a fault under an access', () => {
  const answers: Record<string, string> = {
    fault: 'EIO',
    'worker-first': 'EIO,EIO',
    'workers-together': 'EIO,EIO,EIO,EIO',
    'listened-signal': 'EIO,SIGBUS',
  };
  for (const [scenario, wanted] of Object.entries(answers)) {
    it(`is an error: ${scenario}`, () => {
      const { out, signal, err } = run(scenario);
      assert.deepEqual([out, signal], [wanted, null], err);
    });
  }

  for (const scenario of ['sent-signal', 'unsafe-buffer']) {
    it(`is the only SIGBUS that does not end the process: ${scenario}`, () => {
      const { out, signal } = run(scenario);
      assert.deepEqual([out, signal], ['', 'SIGBUS']);
    });
  }
});
