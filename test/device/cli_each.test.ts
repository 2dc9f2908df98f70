import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe } from 'mocha';
import type { Command } from '../../lib/cli/command.ts';
import { commands } from '../../lib/cli/commands.ts';
import { vfio } from '../support/cli.ts';
import { argvOnDevice } from '../support/command_runs.ts';
import { isFirstOfKind, itEach, itEachKind, type TestDevice } from '../support/devices.ts';
import { root } from '../support/root.ts';
import { tree } from '../support/tree.ts';

// Runs on every kernel of the lab, whatever ways to a device it has.

/** Those of a device; the others have nothing else to say of each. */
const ofDevices = commands.filter(
  ({ name, positionals: [first] }) => name === 'sriov' || first?.startsWith('device'),
);

/** The commands that fail on a device, because it is of the wrong kind for them. */
function failing({ bus, address }: TestDevice): Set<string> {
  const has = (file: string): boolean => existsSync(`/sys/bus/${bus}/devices/${address}/${file}`);
  // Nothing takes another vendor's id.
  const names = ['write'];
  if (!has('driver_override')) names.push('bind', 'unbind');
  if (!has('reset_method')) names.push('reset');
  if (!has('sriov_totalvfs')) names.push('sriov');
  return new Set(names);
}

const stackFrame = /^\s+at .*:\d+:\d+\)?$/m;

describe('each command on each device', () => {
  itEach('says what it did in text, as JSON and by its status', async (device) => {
    const fails = failing(device);
    // An open takes the resets of the device, so that a benchmark of it takes longer than all else.
    const run = ofDevices.filter(({ name }) => name !== 'bench open' || isFirstOfKind(device));
    for (const command of run) await runBoth(command, device, fails.has(command.name));
  });

  // A VM takes seconds to start a program.
  itEachKind('does the same in a terminal', (device) => {
    const program = fileURLToPath(new URL('build-test/programs/cli_runs_child.js', root));
    const file = join(tree({}), 'statuses');
    const line = `'${process.execPath}' '${program}' ${device.address} '${file}'`;
    const { status, stdout } = spawnSync('script', ['-qec', line, '/dev/null'], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stdout);
    assert.doesNotMatch(stdout, stackFrame);
    const statuses = JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>;
    const fails = failing(device);
    for (const { name } of ofDevices) assert.equal(statuses[name], fails.has(name) ? 1 : 0, name);
  });
});

async function runBoth(command: Command, device: TestDevice, fails: boolean): Promise<void> {
  const { name, options } = command;
  const argv = argvOnDevice(command, device);
  const text = await vfio(argv);
  assert.equal(text.status, fails ? 1 : 0, `${argv.join(' ')}: ${text.err}${text.out}`);
  assert.doesNotMatch(text.out + text.err, stackFrame);
  // A rehearsed reset says among its results that there is none.
  if (fails && name !== 'reset') assert.match(text.err, new RegExp(`^vfio ${name}: `));
  else assert.notEqual(text.out, '', name);
  if (!options['json']) return;
  const json = await vfio(argv.includes('--json') ? argv : [...argv, '--json']);
  assert.equal(json.status, text.status, json.err);
  if (fails && name !== 'reset') assert.deepEqual([json.out, json.err], ['', text.err]);
  else assert.equal(typeof JSON.parse(json.out), 'object');
}
