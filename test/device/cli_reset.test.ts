import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'mocha';
import { VfioDevice } from '../../lib/index.ts';
import { vfio as runCli } from '../support/cli.ts';
import { describeLab } from '../support/devices.ts';
import { root } from '../support/root.ts';

async function vfio(...args: string[]): Promise<{ status: number; out: string[]; err: string[] }> {
  const { status, out, err } = await runCli(args);
  return { status, out: lines(out), err: lines(err) };
}

const lines = (text: string): string[] => text.split('\n').slice(0, -1);

describeLab('vfio reset', ['nvme0', 'edu', 'edu-port'], (lab) => {
  const nvme = lab.nvme0.address;
  const edu = lab.edu.address;
  const port = lab['edu-port'].address;

  it('resets a device, or says that it has no reset', async () => {
    const done = await vfio('reset', nvme);
    assert.deepEqual(done, { status: 0, out: [`${nvme} was reset`], err: [] });
    const would = await vfio('reset', nvme, '--dry-run');
    assert.deepEqual(would, { status: 0, out: [`${nvme} would be reset`], err: [] });
    const refused = await vfio('reset', edu);
    assert.equal(refused.status, 1);
    assert.match(refused.err.join(), /no reset of its own/);
    const dry = await vfio('reset', edu, '--dry-run');
    assert.deepEqual(dry, { status: 1, out: [`${edu} has no reset of its own`], err: [] });
  });

  it('resets the bus, or says why not', async () => {
    const plan = await vfio('reset', port, '--hot', '--dry-run');
    assert.equal(plan.status, 0);
    assert.match(plan.out.join('\n'), new RegExp(`would hit\\n {2}${port} +vfio-pci +open here`));
    const done = await vfio('reset', port, '--hot');
    assert.deepEqual(done, { status: 0, out: [`${port} was reset`], err: [] });
    const refused = await vfio('reset', edu, '--hot');
    assert.equal(refused.status, 1);
    assert.match(refused.err.join(), /neither its slot nor its bus/);
    assert.equal((await vfio('reset')).status, 2);
  });
});

describeLab('vfio features', ['edu', 'mtty'], (lab) => {
  it('lists what the device has', async () => {
    const { status, out, err } = await vfio('features', lab.mtty.address);
    assert.deepEqual([status, err], [0, []]);
    assert.ok(out.some((line) => /^1 +migration +5\.18 +get$/.test(line.trim())));
    const json = await vfio('features', lab.edu.address, '--json');
    await using device = await VfioDevice.open(lab.edu);
    assert.deepEqual(JSON.parse(json.out.join('\n')), await device.feature.list());
  });
});

describeLab('the example of edu’s interrupt', ['edu'], (lab) => {
  it('computes factorials', () => {
    const file = new URL('build-test/examples/edu_interrupt.js', root).pathname;
    const args = [file, lab.edu.address, '3', '7', '12'];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.deepEqual([status, stderr], [0, '']);
    assert.equal(stdout, '3! = 6\n7! = 5040\n12! = 479001600\n');
  });
});
