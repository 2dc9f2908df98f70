import assert from 'node:assert/strict';
import { it } from 'mocha';
import { DmaBuffer, readUsage, VfioDevice } from '../../lib/index.ts';
import { vfio } from '../support/cli.ts';
import { describeLab } from '../support/devices.ts';

describeLab('vfio top', ['edu', 'nvme0'], (lab) => {
  for (const backend of ['cdev', 'group'] as const) {
    it(`sees this process, what it pinned, and each interrupt that happens (${backend})`, async () => {
      await using device = await VfioDevice.open(lab.nvme0, { backend });
      const before = await readUsage();
      const ours = (usage: typeof before): (typeof before)['processes'][number] | undefined =>
        usage.processes.find(({ pid }) => pid === process.pid);
      const those = (usage: typeof before): (typeof before)['devices'][number] | undefined =>
        usage.devices.find(({ address }) => address === lab.nvme0.address);
      assert.deepEqual([before.hidden, before.searched], [0, true]);
      assert.deepEqual(those(before)?.pids, [process.pid]);
      const names = (usage: typeof before): string[] =>
        (those(usage)?.interrupts ?? []).map(({ name }) => name);
      assert.ok(!names(before).includes('vfio-msix[0]'));

      const ioas = device.createIoas();
      await device.attach(ioas);
      const size = 4 << 20;
      using buffer = DmaBuffer.allocateSync(size);
      const mapping = await ioas.map(buffer);
      const [vector] = await device.interrupt('msix').enable(2);
      assert.ok(vector);
      const during = await readUsage();
      const grown = (name: 'pinned' | 'locked'): number =>
        (ours(during)?.[name] ?? 0) - (ours(before)?.[name] ?? 0);
      assert.equal(grown(backend === 'cdev' ? 'pinned' : 'locked'), size);
      assert.deepEqual(names(during), ['vfio-msix[0]', 'vfio-msix[1]']);
      await mapping.unmap();
      await device.interrupt('msix').disable();
      assert.deepEqual(names(await readUsage()), []);
    });
  }

  it('shows who has which device, and that nobody has the others', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const { out, status } = await vfio(['top', '--count', '1']);
    assert.equal(status, 0);
    const line = out.split('\n').find((each) => each.startsWith(device.device.address));
    assert.match(line ?? '', new RegExp(` ${process.pid} \\(`));
    const other = out.split('\n').find((each) => each.startsWith(lab.nvme0.address));
    assert.match(other ?? '', / -$/);
  });
});
