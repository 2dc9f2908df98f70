import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { it } from 'mocha';
import { describeLab } from '../support/devices.ts';
import { bash, type Ended, noReader } from '../support/endings.ts';
import { root } from '../support/root.ts';

// That each stream alone is spoiled, and for each command by itself, is proved on any machine: a VM
// takes seconds to start a program.
describeLab('the output of all commands on a device', ['edu'], (lab) => {
  const program = fileURLToPath(new URL('build-test/programs/cli_runs_child.js', root));

  /** Runs them all; their statuses by name. */
  function runAll(name: string, redirects: string): Ended & { statuses: Record<string, number> } {
    const file = join(tmpdir(), `cli-runs-${process.pid}-${name}`);
    const command = `'${process.execPath}' '${program}' ${lab.edu.address} '${file}'`;
    const ended = bash(`${noReader} ${command} ${redirects}`);
    assert.equal(ended.status, 0, ended.err);
    const statuses = JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>;
    return { ...ended, statuses };
  }

  it('changes no status where nobody reads, and one of success on a full disk', () => {
    const usual = runAll('usual', '');
    assert.doesNotMatch(`${usual.out}\n${usual.err}`, /^\s+at .*:\d+:\d+\)?$/m);
    const succeeding = ['info', 'list', 'config', 'read', 'features', 'bench open'];
    for (const name of succeeding) assert.equal(usual.statuses[name], 0, name);
    assert.deepEqual(runAll('gone', '>&3 2>&3').statuses, usual.statuses);
    const lost = Object.fromEntries(
      Object.entries(usual.statuses).map(([name, status]) => [name, status || 1]),
    );
    assert.deepEqual(runAll('full', '>/dev/full 2>/dev/full').statuses, lost);
  });
});
