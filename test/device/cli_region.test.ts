import assert from 'node:assert/strict';
import { it } from 'mocha';
import { vfio } from '../support/cli.ts';
import { describeLab } from '../support/devices.ts';

describeLab('vfio read and write', ['edu', 'nvme0'], ({ edu: { address }, nvme0 }) => {
  it('read registers of every width', async () => {
    const read = async (...args: string[]): Promise<string> => {
      const { status, out, err } = await vfio(['read', ...args]);
      assert.deepEqual([status, err], [0, '']);
      assert.ok(out.endsWith('\n'));
      return out.slice(0, -1);
    };
    assert.equal(await read(address, 'bar0', '0'), '0x010000ed');
    assert.equal(await read(address, 'config', '0x0', '--width', '16'), '0x1234');
    assert.equal(await read(address, '7', '2', '--width=16'), '0x11e8');
    assert.equal(await read(address, 'config', '9', '--width', '8'), '0x00');
    assert.match(await read(nvme0.address, 'bar0', '0', '--width', '64'), /^0x[0-9a-f]{16}$/);
  });

  it('write them: edu is not reset, and remembers', async () => {
    const { status, out, err } = await vfio(['write', address, 'bar0', '4', '0xffff0000']);
    assert.deepEqual([status, out, err], [0, '', '']);
    assert.equal((await vfio(['read', address, 'bar0', '4'])).out, '0x0000ffff\n');
  });

  it('fail with a reason', async () => {
    const { status, err } = await vfio(['read', address, 'bar0', '2']);
    assert.equal(status, 2);
    assert.match(err, /^vfio read: <offset> must be a multiple of 4, not 2$/m);
    assert.match((await vfio(['read', address, 'bar0', '0x100000'])).err, /from 0 to 1048572/);
    const none = await vfio(['read', address, 'bar5', '0']);
    assert.deepEqual(
      [none.status, none.err.includes("has no region 'bar5'; it has bar0, config")],
      [1, true],
    );
    const wide = await vfio(['write', address, 'bar0', '4', '0x100000000']);
    assert.deepEqual([wide.status, wide.err.includes('from 0 to 0xffffffff')], [2, true]);
  });
});
