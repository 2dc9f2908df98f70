import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { before, it } from 'mocha';
import { VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { readByKernel, withKernelDriver } from '../support/nvme_lab.ts';
import { hasQemuGuest, passed, QemuGuest } from '../support/qemu_guest.ts';

const title = hasQemuGuest ? '' : ' (a newer QEMU: npm test -- build lab)';
const mib = 2 ** 20;
const hashOf = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

// What a guest on KVM does with devices that it was passed by descriptors alone. The guest is Linux
// with the driver of its kernel.
describeLab(`devices that a guest has${title}`, ['nvme0', 'nvme-port'], (devices) => {
  const itWithGuest = hasQemuGuest ? it : it.skip;
  const { nvme0, 'nvme-port': second } = devices;

  before(() => {
    // Emulation in software offers SVM.
    if (hasQemuGuest) spawnSync('modprobe', ['kvm_amd']);
  });

  /** In the guest: the hash of a part of a disk, in MiB. */
  const hashIn = async (guest: QemuGuest, disk: string, at: number): Promise<string> => {
    const read = `dd if=/dev/${disk} bs=1M skip=${at} count=1 iflag=direct 2>/dev/null | sha256sum`;
    return (await guest.run(read)).split(' ')[0] ?? '';
  };

  itWithGuest('are read and written by it, and the host sees what it wrote', async () => {
    const seed = randomBytes(mib);
    await withKernelDriver(nvme0, (disk) => {
      writeFileSync(disk, seed, { flag: 'r+' });
    });
    let written = '';
    {
      await using guest = await QemuGuest.boot([nvme0]);
      assert.equal(await hashIn(guest, 'nvme0n1', 0), hashOf(seed));
      await guest.run(
        'dd if=/dev/nvme0n1 of=/dev/nvme0n1 bs=1M seek=1 count=1 conv=fsync 2>/dev/null',
      );
      await guest.run(
        'dd if=/dev/urandom of=/dev/nvme0n1 bs=1M seek=2 count=1 conv=fsync 2>/dev/null',
      );
      written = await hashIn(guest, 'nvme0n1', 2);
      // Interrupts that came by irqfds, as the guest counts them.
      const interrupts = await guest.run('grep nvme0q1 /proc/interrupts');
      assert.match(interrupts, /MSI.*nvme0q1/);
      assert.ok(Number(/:\s+(\d+)/.exec(interrupts)?.[1]) > 0, interrupts);
    }
    const found = await readByKernel(nvme0);
    assert.equal(Buffer.compare(found.subarray(mib, 2 * mib), seed), 0);
    assert.equal(hashOf(found.subarray(2 * mib, 3 * mib)), written);
  });

  itWithGuest('leave it in mid-run, are the host’s, and are given back to it', async () => {
    const seed = randomBytes(mib);
    await using guest = await QemuGuest.boot([nvme0], [nvme0]);
    await guest.execute('device_del', { id: 'passed0' });
    await guest.gone('passed0');
    await guest.run('! test -e /dev/nvme0n1');
    await (await VfioDevice.open(nvme0, { timeout: 0 })).close();
    await withKernelDriver(nvme0, (disk) => {
      writeFileSync(disk, seed, { flag: 'r+' });
    });
    await guest.execute('device_add', {
      driver: 'vfio-pci',
      fd: '7',
      iommufd: 'iommufd0',
      ...passed[0],
    });
    await guest.run('until test -e /dev/nvme0n1; do sleep 0.1; done');
    assert.equal(await hashIn(guest, 'nvme0n1', 0), hashOf(seed));
  });

  itWithGuest('are two, behind one iommufd', async () => {
    await using guest = await QemuGuest.boot([nvme0, second]);
    for (const disk of ['nvme0n1', 'nvme1n1']) {
      await guest.run(`dd if=/dev/urandom of=/dev/${disk} bs=1M count=1 conv=fsync 2>/dev/null`);
    }
    const serials = await guest.run('cat /sys/class/nvme/nvme*/serial');
    assert.deepEqual(serials.split(/\s+/).toSorted(), ['nvme-port', 'nvme0']);
    const hashes = [await hashIn(guest, 'nvme0n1', 0), await hashIn(guest, 'nvme1n1', 0)];
    assert.equal(new Set(hashes).size, 2);
    assert.ok(readFileSync(`/proc/${guest.pid}/status`, 'utf8').includes('VmLck'));
  });
});
