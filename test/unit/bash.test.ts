import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'mocha';
import { bashArgs } from '../support/bash.ts';
import { tree } from '../support/tree.ts';

it('the bash of tests does not read what the user has for it', () => {
  const home = tree({ '.bashrc': 'echo read' });
  // As in a session's first shell, such as in the lab.
  const env = { ...process.env, HOME: home, SHLVL: undefined };
  const options = { env, encoding: 'utf8' } as const;
  const usual = spawnSync('bash', ['-c', 'echo "$0"', 'run'], options);
  assert.equal(usual.stdout, 'read\nrun\n', usual.stderr);
  const { stdout, stderr } = spawnSync('bash', bashArgs('echo "$0"', 'run'), options);
  assert.deepEqual({ stdout, stderr }, { stdout: 'run\n', stderr: '' });
});
