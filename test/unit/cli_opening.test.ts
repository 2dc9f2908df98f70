import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, describe, it } from 'mocha';
import { commands } from '../../lib/cli/commands.ts';
import { VfioDevice, VfioError } from '../../lib/index.ts';
import { vfio } from '../support/cli.ts';
import { runOf, runsOnDevice } from '../support/command_runs.ts';
import { skip } from '../support/skip.ts';

/** A device that is there, whatever it is: nothing opens it here. */
function anyDevice(): string | undefined {
  try {
    for (const bus of readdirSync('/sys/bus')) {
      const [device] = readdirSync(`/sys/bus/${bus}/devices`);
      if (device !== undefined) return `/sys/bus/${bus}/devices/${device}`;
    }
  } catch {
    // No sysfs here.
  }
  return undefined;
}

describe('every command that opens a device', () => {
  const own = Object.getOwnPropertyDescriptors(VfioDevice);
  const backends = ['auto', 'cdev', 'group', 'compat', 'noiommu'];
  /** How devices were to be opened since the last command began. */
  let asked: unknown[] = [];
  let device = '';

  before(function () {
    device = anyDevice() ?? skip(this, 'a device in sysfs');
    const refuse = (_spec: unknown, options: { backend?: unknown } = {}): never => {
      asked.push(options.backend);
      throw new VfioError({ code: 'ENODEV', message: 'opened' });
    };
    Object.assign(VfioDevice, { open: refuse, openSync: refuse });
  });
  after(() => {
    Object.defineProperties(VfioDevice, { open: own.open, openSync: own.openSync });
  });

  /** Whether a command opens a device, as its run shows. */
  async function opens(name: string, args: readonly string[]): Promise<boolean> {
    asked = [];
    await vfio([...name.split(' '), ...args]);
    return asked.length > 0;
  }

  it('takes --backend, and opens it so', async () => {
    const opening: string[] = [];
    for (const command of commands) {
      const { name } = command;
      const { args, env } = runOf(runsOnDevice(device), command);
      // What needs an environment of its own is a program of its own.
      if (env !== undefined || !(await opens(name, args))) continue;
      opening.push(name);
      assert.ok('backend' in command.options, `vfio ${name} opens, and has no --backend`);
      for (const backend of backends) {
        asked = [];
        const { err } = await vfio([...name.split(' '), ...args, '--backend', backend]);
        assert.ok(asked.length > 0, `${name} --backend ${backend}: ${err}`);
        // `vfio bench open` opens by every way in turn.
        if (backend === 'auto') continue;
        assert.deepEqual([...new Set(asked)], [backend], name);
      }
      const { status, err } = await vfio([...name.split(' '), ...args, '--backend', 'vhost']);
      assert.equal(status, 2, name);
      assert.match(err, /--backend must be auto, cdev, group, compat or noiommu, not 'vhost'/);
      assert.match((await vfio([...name.split(' '), '--help'])).out, /^ {2}--backend +\S/m);
    }
    const known = ['info', 'config', 'read', 'write', 'features', 'reset', 'bench open'];
    assert.deepEqual(
      known.filter((name) => !opening.includes(name)),
      [],
    );
  });
});
