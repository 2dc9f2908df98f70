import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { whyNotCompiled } from '../support/emulation.ts';
import { tree } from '../support/tree.ts';
import { writeFileSync } from 'node:fs';

const script = new URL('../support/faulting.ts', import.meta.url).pathname;

function run(scenario: string): { out: string; signal: string | null; err: string } {
  const path = join(tree({}), 'file');
  for (const end of ['', '-0', '-1', '-2']) writeFileSync(path + end, '');
  const args = ['--import', 'tsx', script, scenario, path];
  // A fault that never ends would hang this: no signal but SIGKILL reaches it.
  const ends = { timeout: 100_000, killSignal: 'SIGKILL' } as const;
  const child = spawnSync(process.execPath, args, { encoding: 'utf8', ...ends });
  return { out: child.stdout.trim(), signal: child.signal, err: child.stderr };
}

/** These load a library of C. */
const whyNoCircle = whyNotCompiled('gcc');

/** Skipped, with the reason in its title, where it cannot run. */
function itOf(title: string, scenario: string, test: () => void): void {
  const why = scenario.startsWith('circle') ? whyNoCircle : undefined;
  if (why === undefined) it(`${title}: ${scenario}`, test);
  else it.skip(`${title}: ${scenario} (${why})`, test);
}

describe('a fault under an access', () => {
  const answers: Record<string, string> = {
    fault: 'EIO',
    'worker-first': 'EIO,EIO',
    'workers-together': 'EIO,EIO,EIO,EIO',
    'listened-signal': 'EIO,SIGBUS',
    'listener-gone': 'EIO',
    'listener-stays': 'EIO,SIGBUS',
    'circle-fault': 'EIO',
  };
  for (const [scenario, wanted] of Object.entries(answers)) {
    itOf('is an error', scenario, () => {
      const { out, signal, err } = run(scenario);
      assert.deepEqual([out, signal], [wanted, null], err);
    });
  }

  for (const scenario of ['sent-signal', 'circle-signal', 'unsafe-buffer']) {
    itOf('is the only SIGBUS that does not end the process', scenario, () => {
      const { out, signal } = run(scenario);
      assert.deepEqual([out, signal], ['', 'SIGBUS']);
    });
  }
});
