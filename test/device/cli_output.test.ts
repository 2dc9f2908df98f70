import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { it } from 'mocha';
import { commands } from '../../lib/cli/commands.ts';
import { runOf, runsOnDevice } from '../support/command_runs.ts';
import { describeLab } from '../support/devices.ts';
import { assertEndings, commandLine } from '../support/endings.ts';
import { root } from '../support/root.ts';

describeLab('the output of every command on a device', ['edu'], (lab) => {
  const main = fileURLToPath(new URL('dist/cli/main.js', root));

  for (const command of commands) {
    it(`ends without a stack, whatever becomes of its streams: vfio ${command.name}`, () => {
      const run = runOf(runsOnDevice(lab.edu.address), command);
      // One at a time is proved on any machine: a VM takes long to start so many programs.
      const { out, err } = assertEndings(commandLine(main, command.name, run), [['out', 'err']]);
      assert.ok(out !== '' || err !== '', 'it says something');
    });
  }
});
