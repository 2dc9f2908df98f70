import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'mocha';
import { backend } from '../support/backend.ts';
import { vfio as runCli, type CliRun } from '../support/cli.ts';
import { describeLab } from '../support/devices.ts';
import { root } from '../support/root.ts';

function vfio(...argv: string[]): Promise<CliRun> {
  return runCli([...argv, '--backend', backend]);
}

async function printed(...argv: string[]): Promise<string> {
  const { status, out, err } = await vfio(...argv);
  assert.deepEqual([status, err], [0, '']);
  return out;
}

describeLab('vfio --backend', ['edu', 'nvme0', 'edu-port'], (lab) => {
  const edu = lab.edu.address;
  const nvme = lab.nvme0.address;
  const asked = { kind: backend, isolated: true, why: 'asked for' };

  it('opens the device so, and says so', async () => {
    const info = JSON.parse(await printed('info', edu, '--json')) as Record<string, unknown>;
    assert.deepEqual(info['backend'], asked);
    assert.equal(info['cdev'] === null, backend !== 'cdev');
    assert.match(await printed('info', edu), new RegExp(`^ {2}backend +${backend}$`, 'm'));
    const config = JSON.parse(await printed('config', edu, '--json')) as Record<string, unknown>;
    assert.deepEqual([config['backend'], config['responds']], [asked, true]);
  });

  it('reaches registers, features and resets', async () => {
    assert.equal(await printed('read', edu, 'bar0', '0'), '0x010000ed\n');
    assert.equal(await printed('write', edu, 'bar0', '4', '0xffff0000'), '');
    assert.equal(await printed('read', edu, 'bar0', '4'), '0x0000ffff\n');
    assert.ok(Array.isArray(JSON.parse(await printed('features', edu, '--json'))));
    assert.equal(await printed('reset', nvme), `${nvme} was reset\n`);
    const port = lab['edu-port'].address;
    assert.equal(await printed('reset', port, '--hot'), `${port} was reset\n`);
  });

  it('says what a write to the configuration space changed', async () => {
    // Interrupt line and bus mastering are the user's; of the status all bits are cleared by 1.
    assert.equal(await printed('write', edu, 'config', '0x3c', '0x0b', '--width', '8'), '');
    assert.equal(await printed('write', edu, 'config', '6', '0xf910', '--width', '16'), '');
    const refused = await vfio('write', edu, 'config', '0', '0x5555', '--width', '16');
    assert.deepEqual(
      [refused.status, refused.out, refused.err],
      [
        1,
        '',
        `vfio write: config+0x0 of ${edu} reads 0x1234 after 0x5555 was written: the bits 0x4761 did not take it\n`,
      ],
    );
    const sized = await vfio('write', edu, 'config', '0x10', '0xffffffff');
    assert.equal(sized.status, 1);
    assert.match(sized.err, /reads 0xfff00000 after 0xffffffff .*: the bits 0x000fffff/);
  });

  it('names a command where a device has no reset of its own', async () => {
    const { status, err } = await vfio('reset', edu);
    assert.equal(status, 1);
    assert.match(err, /no reset of its own\nhint: vfio reset \S+ --hot --dry-run says/);
    assert.doesNotMatch(err, /\w\(/);
  });

  it('tells an ordinary user that sysfs shows the first 64 bytes only', () => {
    const main = new URL('dist/cli/main.js', root).pathname;
    const args = [main, 'config', nvme, '--no-open'];
    const nobody = { uid: 65534, gid: 65534, encoding: 'utf8' } as const;
    const { status, stdout, stderr } = spawnSync(process.execPath, args, nobody);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /\nincomplete: capabilities are not known: the first 64 bytes were read/);
    assert.match(
      stderr,
      /^vfio config: sysfs shows this user the first 64 bytes only.*\nhint: sudo /,
    );
  });
});
