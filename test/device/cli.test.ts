import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'mocha';
import { commands } from '../../lib/cli/commands.ts';
import { run } from '../../lib/cli/run.ts';
import { VfioDevice } from '../../lib/index.ts';
import { describeDevice } from '../support/devices.ts';
import { root } from '../support/root.ts';
import { assertNoMore, vfioFds } from '../support/proc.ts';

interface Report {
  device: { bus: string; address: string; driver: string | null };
  cdev: { name: string; path: string; major: number; minor: number };
  flags?: string[];
  regions?: { index: number; name: string; size: string; offset: string }[];
  irqs?: { index: number; name: string; count: number }[];
}

async function info(...args: string[]): Promise<{ status: number; report: Report; err: string }> {
  let out = '';
  let err = '';
  const status = await run(['info', ...args, '--json'], commands, {
    print: (text) => void (out += text),
    note: (text) => void (err += text),
    colour: false,
  });
  return { status, report: JSON.parse(out) as Report, err };
}

describeDevice('vfio info', (spec) => {
  it('runs under plain node', async () => {
    const main = new URL('dist/cli/main.js', root).pathname;
    const command = spawnSync(process.execPath, [main, 'info', spec.address, '--json']);
    assert.equal(command.status, 0, command.stderr.toString());
    const { report } = await info(spec.address);
    assert.deepEqual(JSON.parse(command.stdout.toString()), report);
  });

  it('says in JSON what VfioDevice says', async () => {
    const { status, report, err } = await info(spec.address);
    assert.deepEqual([status, err], [0, '']);
    await using device = await VfioDevice.open(spec);
    assert.equal(report.device.address, spec.address);
    assert.equal(report.cdev.path, device.path);
    assert.deepEqual(report.flags, device.info.flags);
    const regions = device.info.regions.map(({ index, name, size, offset }) => [
      index,
      name,
      BigInt(size),
      offset,
    ]);
    assert.deepEqual(
      report.regions?.map(({ index, name, size, offset }) => [
        index,
        name,
        BigInt(size),
        BigInt(offset),
      ]),
      regions,
    );
    assert.deepEqual(report.irqs, device.info.irqs);
  });

  it('opens nothing with --no-open', async () => {
    await using device = await VfioDevice.open(spec);
    const before = vfioFds();
    const { status, report, err } = await info(spec.address, '--no-open');
    assert.deepEqual([status, err], [0, '']);
    assertNoMore(vfioFds(), before);
    assert.equal(report.cdev.name, device.name);
    assert.equal(report.regions, undefined);
  });

  it('says what sysfs says of a device that another holds', async () => {
    await using device = await VfioDevice.open(spec);
    const { status, report, err } = await info(spec.address);
    assert.equal(status, 3);
    assert.match(err, /the device is in use .*EINVAL.*by this process/);
    assert.equal(report.cdev.name, device.name);
    assert.equal(report.regions, undefined);
  });
});
