import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, it } from 'mocha';
import { loadKvm } from '../../examples/vmm/kvm/kvm.ts';
import { listDevices, VfioDevice, VfioError } from '../../lib/index.ts';
import { describeLab, type TestDevice } from '../support/devices.ts';
import { rebind, unbind } from '../support/hotplug.ts';
import { isLinux } from '../support/linux.ts';
import { NvmeAdmin } from '../support/nvme.ts';
import { readByKernel, withKernelDriver } from '../support/nvme_lab.ts';
import { startPhysical } from '../support/nvme_vfs.ts';
import { openFds } from '../support/proc.ts';
import { hasQemuGuest, passed, QemuGuest } from '../support/qemu_guest.ts';

const title = hasQemuGuest ? '' : ' (a newer QEMU: npm test -- build lab)';
/** By cdev tokens are checked since 6.17. QEMU 10 has none to give there. */
const checks = isLinux(6, 17);
const token = '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c';

const mib = 2 ** 20;
const hashOf = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

// What a guest on KVM does with devices that it was passed by descriptors alone. The guest is Linux
// with the driver of its kernel.
describeLab(`devices that a guest has${title}`, ['nvme0', 'nvme-port', 'nvme-sriov'], (devices) => {
  const itWithGuest = hasQemuGuest ? it : it.skip;
  const { nvme0, 'nvme-port': second, 'nvme-sriov': sriov } = devices;
  const isPhysical = ({ address }: { address: string }): boolean => address === sriov.address;

  let vm: number | undefined;

  before(() => {
    if (!hasQemuGuest) return;
    // Emulation in software offers SVM.
    spawnSync('modprobe', ['kvm_amd']);
    // With its first VM and after its last Linux patches its own code, which QEMU's emulation of
    // two processors does not always survive.
    vm = loadKvm().createVm();
  });

  after(() => {
    if (vm !== undefined) closeSync(vm);
  });

  afterEach(() => {
    QemuGuest.killAll();
  });

  /** The driver of the guest finds its disks on a thread of its own. */
  const hasDisk = async (guest: QemuGuest, disk: string): Promise<void> => {
    await guest.run(`until test -e /dev/${disk}; do sleep 0.1; done`);
  };

  /** In the guest: the hash of a part of a disk, in MiB. */
  const hashIn = async (guest: QemuGuest, disk: string, at: number): Promise<string> => {
    await guest.run('echo 3 >/proc/sys/vm/drop_caches');
    const read = `dd if=/dev/${disk} bs=1M skip=${at} count=1 2>/dev/null | sha256sum`;
    return (await guest.run(read)).split(' ')[0] ?? '';
  };

  /** In a guest: copies the first MiB to the second, and writes the third, whose hash it answers. */
  const copyAndWrite = async (expected: string): Promise<string> => {
    await using guest = await QemuGuest.boot([nvme0]);
    await hasDisk(guest, 'nvme0n1');
    assert.equal(await hashIn(guest, 'nvme0n1', 0), expected);
    const copy = 'of=/dev/nvme0n1 bs=1M count=1 conv=fsync 2>/dev/null';
    await guest.run(`dd if=/dev/nvme0n1 seek=1 ${copy}`);
    await guest.run(`dd if=/dev/urandom seek=2 ${copy}`);
    // Interrupts that came by irqfds, as the guest counts them.
    const interrupts = await guest.run('grep nvme0q1 /proc/interrupts');
    assert.ok(Number(/:\s+(\d+).*MSI/.exec(interrupts)?.[1]) > 0, interrupts);
    return await hashIn(guest, 'nvme0n1', 2);
  };

  itWithGuest('are read and written by it, and the host sees what it wrote', async () => {
    const seed = randomBytes(mib);
    await withKernelDriver(nvme0, (disk) => {
      writeFileSync(disk, seed, { flag: 'r+' });
    });
    const written = await copyAndWrite(hashOf(seed));
    const found = await readByKernel(nvme0);
    assert.equal(Buffer.compare(found.subarray(mib, 2 * mib), seed), 0);
    assert.equal(hashOf(found.subarray(2 * mib, 3 * mib)), written);
  });

  itWithGuest('leave it in mid-run, are the host’s, and are given back to it', async () => {
    await using guest = await QemuGuest.boot([nvme0], [nvme0]);
    await hasDisk(guest, 'nvme0n1');
    await guest.run('dd if=/dev/urandom of=/dev/nvme0n1 bs=1M count=1 conv=fsync 2>/dev/null');
    const written = await hashIn(guest, 'nvme0n1', 0);
    await guest.execute('device_del', { id: 'passed0' });
    await guest.gone('passed0');
    await guest.run('! test -e /dev/nvme0n1');
    {
      await using device = await openWhenFree(nvme0);
      const ioas = device.createIoas();
      await device.attach(ioas);
      using admin = await NvmeAdmin.start(device, ioas, 0x100000n);
      assert.equal((await admin.identify()).serial, 'nvme0');
    }
    const again = { driver: 'vfio-pci', fd: '7', iommufd: 'iommufd0', ...passed[0] };
    await guest.execute('device_add', again);
    await hasDisk(guest, 'nvme0n1');
    assert.equal(await hashIn(guest, 'nvme0n1', 0), written);
  });

  itWithGuest('leave it when the host asks: unbinding ends when the guest has let go', async () => {
    await using guest = await QemuGuest.boot([nvme0]);
    await hasDisk(guest, 'nvme0n1');
    await unbind(nvme0);
    await guest.gone('passed0');
    await guest.run('! test -e /dev/nvme0n1');
    rebind(nvme0);
    await (await VfioDevice.open(nvme0)).close();
  });

  itWithGuest('are two, behind one iommufd', async () => {
    await using guest = await QemuGuest.boot([nvme0, second]);
    for (const disk of ['nvme0n1', 'nvme1n1']) {
      await hasDisk(guest, disk);
      await guest.run(`dd if=/dev/urandom of=/dev/${disk} bs=1M count=1 conv=fsync 2>/dev/null`);
    }
    const serials = await guest.run('cat /sys/class/nvme/nvme*/serial');
    assert.deepEqual(serials.split(/\s+/).toSorted(), ['nvme-port', 'nvme0']);
    const hashes = [await hashIn(guest, 'nvme0n1', 0), await hashIn(guest, 'nvme1n1', 0)];
    assert.equal(new Set(hashes).size, 2);
    const open = openFds(guest.pid).filter((target) => target.startsWith('/dev/'));
    assert.equal(open.filter((target) => target === '/dev/iommu').length, 1);
    assert.equal(open.filter((target) => target.startsWith('/dev/vfio/devices/')).length, 2);
  });

  itWithGuest('may be a virtual function, where the kernel asks for no token', async () => {
    const count = `/sys/bus/pci/devices/${sriov.address}/sriov_numvfs`;
    await using pf = await VfioDevice.open(sriov);
    const ioas = pf.createIoas();
    writeFileSync(count, '1');
    try {
      await pf.feature.setVfToken(token);
      using admin = await startPhysical(pf, ioas, 1);
      const [vf = ''] = (await listDevices()).find(isPhysical)?.virtfns ?? [];
      const device = { ...sriov, address: vf };
      if (checks) {
        await assert.rejects(() => QemuGuest.boot([device]), /QEMU ended with 1/);
        await (await VfioDevice.open(vf, { vfToken: token })).close();
        return;
      }
      await using guest = await QemuGuest.boot([device]);
      await guest.run('until grep -q live /sys/class/nvme/nvme0/state; do sleep 0.1; done');
      const told = await guest.run('cd /sys/class/nvme/nvme0; cat serial cntlid');
      assert.deepEqual(told.split(/\s+/), ['nvme-sriov', '1']);
      assert.equal((await admin.identify()).id, 0);
    } finally {
      writeFileSync(count, '0');
    }
  });
});

/** A VMM lets go a moment after it has said so. */
async function openWhenFree(spec: TestDevice): Promise<VfioDevice> {
  for (;;) {
    try {
      return await VfioDevice.open(spec);
    } catch (error) {
      if (!(error instanceof VfioError) || error.code !== 'EINVAL') throw error;
    }
  }
}
