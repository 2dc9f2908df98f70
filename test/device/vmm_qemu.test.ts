import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { it } from 'mocha';
import { Iommufd, openCdev, qemuArguments, VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { firstWords } from '../support/first_words.ts';
import { root } from '../support/root.ts';

/** A QEMU from 9.0 on: test/lab/vmm.test.ts says which. */
const qemu = process.env['VFIO_TEST_QEMU'];

const title = qemu === undefined ? ' (a newer QEMU: npm test -- build lab)' : '';

describeLab(`a device that QEMU is given${title}`, ['edu', 'nvme0'], ({ edu, nvme0 }) => {
  const itWithQemu = qemu === undefined ? it.skip : it;

  itWithQemu('is on its guest’s bus, and comes back when it ends (the example)', () => {
    const path = new URL('build-test/examples/vmm/qemu.js', root).pathname;
    const args = [path, edu.address, qemu ?? ''];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /PCI device 1234:11e8/);
    assert.match(stdout, new RegExp(`^QEMU ended with 0\n${edu.address} is back$`, 'm'));
  });

  itWithQemu('is refused by it where it is bound, which is why we refuse it first', async () => {
    await using iommufd = Iommufd.open();
    await using cdev = await openCdev(edu);
    const { args, fds } = qemuArguments({ cdev, iommufd });
    await using device = await cdev.bind(iommufd);
    assert.throws(() => qemuArguments({ cdev, iommufd }), { code: 'ERR_VFIO_ALREADY_BOUND' });
    assert.ok(device.fd > 0);
    const machine = ['-machine', 'q35', '-accel', 'tcg', '-m', '64', '-nodefaults'];
    const none = ['-display', 'none', ...machine, ...args];
    const { status, stderr } = spawnSync(qemu ?? '', none, {
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe', ...fds],
    });
    assert.equal(status, 1, stderr);
    assert.match(stderr, /error bind device.*Invalid argument/);
  });

  itWithQemu('comes back from one that is killed; several share an iommufd', async () => {
    const iommufd = Iommufd.open();
    const cdevs = [await openCdev(edu), await openCdev(nvme0)];
    const { args, fds } = qemuArguments({ cdev: cdevs, iommufd });
    const machine = ['-machine', 'q35', '-accel', 'tcg', '-m', '64', '-nodefaults', '-S'];
    const child = spawn(qemu ?? '', ['-display', 'none', ...machine, '-qmp', 'stdio', ...args], {
      stdio: ['pipe', 'pipe', 'inherit', ...fds],
    });
    await Promise.all([...cdevs, iommufd].map((each) => each.close()));
    // Its greeting comes when the machine is complete.
    assert.ok(child.stdout);
    await firstWords(child.stdout);
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    for (const spec of [edu, nvme0]) await (await VfioDevice.open(spec, { timeout: 0 })).close();
  });
});
