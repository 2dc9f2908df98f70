import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { labVmm } from '../../lab/vmm.ts';
import { passedGuest } from './passed_guest.ts';
import { CHECKOUT, lab, skipUnlessPrepared } from './vm.ts';

// Debian 12's QEMU takes no device by its descriptor; that of Debian 13 runs in the guest from the
// cache.

describe('a VMM in the lab', () => {
  it('is handed devices by their descriptors, and gives them back', async () => {
    const qemu = await labVmm();
    const file = join(CHECKOUT, 'build-test/test/device/vmm_qemu.test.js');
    const mocha = ['npx', 'mocha', '--no-config', '--timeout', '60000', '--reporter', 'min', file];
    const { stdout, status } = await lab(['--env', `VFIO_TEST_QEMU=${qemu}`, '--', ...mocha]);
    assert.equal(status, 0, stdout.toString());
    assert.match(stdout.toString(), /3 passing/);
  }).timeout(300_000);

  const useGuests = async (lane: '6.12' | '7.3'): Promise<void> => {
    const qemu = await labVmm();
    await using guest = await passedGuest(lane);
    const file = join(CHECKOUT, 'build-test/test/device/vmm_guest.test.js');
    const mocha = ['npx', 'mocha', '--no-config', '--timeout', '120000', file];
    const system = `${guest.kernel}:${guest.initrd}`;
    const env = ['--env', `VFIO_TEST_QEMU=${qemu}`, '--env', `VFIO_TEST_GUEST=${system}`];
    const { stdout, status } = await lab(['--kernel', lane, ...env, '--', ...mocha]);
    assert.equal(status, 0, stdout.toString());
    assert.match(stdout.toString(), /5 passing/);
  };

  it('has guests on KVM that use passed devices', () => useGuests('6.12')).timeout(600_000);

  it('has such guests on Linux 7.3, which boot Linux 7.3', function () {
    skipUnlessPrepared(this);
    return useGuests('7.3');
  }).timeout(600_000);
});
