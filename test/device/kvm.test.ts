import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, it } from 'mocha';
import { type Kvm, loadKvm } from '../../examples/vmm/kvm/kvm.ts';
import { copied, roundsAt, withMachine } from '../../examples/vmm/kvm/machine.ts';
import {
  Container,
  DmaBuffer,
  Iommufd,
  KvmVfio,
  listDevices,
  openCdev,
  VfioDevice,
} from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { explainedFailure, failure } from '../support/errors.ts';
import { assertNoMore, openFds } from '../support/proc.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';

/** The kernel's list of VMs that anything still has: a folder each. */
const debugFolder = '/sys/kernel/debug';
const vms = (): string[] =>
  readdirSync(`${debugFolder}/kvm`).filter((name) => name.startsWith(`${process.pid}-`));

const kvmFds = (): string[] => openFds().filter((target) => /vfio|iommu|kvm/.test(target));

describeLab('a device that a KVM VM has', ['edu', 'nvme0', 'nvme-sriov'], (lab) => {
  const { edu, nvme0, 'nvme-sriov': sriov } = lab;
  let kvm: Kvm;
  let vm: number;

  before(function () {
    // Emulation in software offers SVM.
    spawnSync('modprobe', ['kvm_amd']);
    if (!existsSync('/dev/kvm')) skip(this, 'a kernel with KVM');
    if (process.arch !== 'x64') skip(this, 'x86-64');
    if (!existsSync(`${debugFolder}/kvm`)) {
      spawnSync('mount', ['-t', 'debugfs', 'debugfs', debugFolder]);
    }
    kvm = loadKvm();
    // Open until the last test: with a kernel's first VM, and after its last, Linux patches its
    // own code, which QEMU's emulation of two processors does not always survive.
    vm = kvm.createVm();
  });

  after(() => {
    if (vm) closeSync(vm);
  });

  /** Nobody has it any more. */
  const assertFree = async (): Promise<void> => {
    await (await VfioDevice.open(edu, { timeout: 0 })).close();
  };

  it('is told to it by the option, and forgotten when it closes', async () => {
    await using kvmVfio = await KvmVfio.create(vm);
    const device = await VfioDevice.open(edu, { kvm: kvmVfio });
    assert.equal((await explainedFailure(() => kvmVfio.add(device), 'EEXIST')).reason, 'vm-has-device'); // prettier-ignore
    assert.ok(device.requestEvents, 'the device stopped listening');
    await device.close();
    await assertFree();
    const blocking = VfioDevice.openSync(edu, { kvm: kvmVfio });
    assert.throws(() => {
      kvmVfio.addSync(blocking);
    }, /EEXIST/);
    blocking.closeSync();
    await assertFree();
  });

  it('learns of KVM when it is bound: it keeps the VM then, and not where it was told later', async () => {
    for (const early of [true, false]) {
      const own = kvm.createVm();
      const there = vms().length;
      const kvmVfio = await KvmVfio.create(own);
      await using device = await VfioDevice.open(edu, { kvm: early ? kvmVfio : undefined });
      if (!early) await kvmVfio.add(device);
      await kvmVfio.close();
      closeSync(own);
      assert.equal(vms().length, early ? there : there - 1, early ? 'early' : 'late');
      await device.close();
      assert.equal(vms().length, there - 1);
    }
  });

  it('learns of KVM by its group as well', async () => {
    for (const backend of ['group', 'compat'] as const) {
      const own = kvm.createVm();
      const there = vms().length;
      const kvmVfio = KvmVfio.createSync(own);
      await using device = await VfioDevice.open(edu, { backend, kvm: kvmVfio });
      const error = await explainedFailure(() => kvmVfio.add(device), 'EEXIST');
      assert.equal(error.reason, 'vm-has-device');
      kvmVfio.closeSync();
      closeSync(own);
      assert.equal(vms().length, there, backend);
      await device.close();
      assert.equal(vms().length, there - 1, backend);
    }
  });

  it('is one of a group that is told once, and forgotten with the last', async () => {
    await using kvmVfio = await KvmVfio.create(vm);
    await using container = Container.open();
    const first = await VfioDevice.open(edu, { container, kvm: kvmVfio });
    const second = await VfioDevice.open(edu, { container, kvm: kvmVfio });
    await first.close();
    assert.throws(() => {
      kvmVfio.addSync(second);
    }, /EEXIST/);
    await second.close();
    await assertFree();
  });

  it('is a cdev that is added before it is bound, and removed before it closes', async () => {
    await using kvmVfio = await KvmVfio.create(vm);
    await using iommufd = Iommufd.open();
    await using cdev = await openCdev(edu);
    await kvmVfio.add(cdev);
    await using device = await cdev.bind(iommufd);
    await kvmVfio.remove(device);
    const { reason } = await explainedFailure(() => kvmVfio.remove(device), 'ENOENT');
    assert.equal(reason, 'vm-lacks-device');
    await device.close();
    await assertFree();
    await using again = await openCdev(edu);
    await (await again.bind(iommufd, { kvm: kvmVfio })).close();
    await assertFree();
  });

  it('stays open where it was closed before it was removed, until the VM lets go of it', async () => {
    await using kvmVfio = await KvmVfio.create(vm);
    const device = await VfioDevice.open(edu, { beforeBind: ({ fd }) => kvmVfio.add(fd) });
    await device.close();
    await failure(() => VfioDevice.open(edu, { timeout: 0 }), 'EINVAL');
    await kvmVfio.close();
    await assertFree();
  });

  it('keeps its mapped memory as long as KVM keeps it open', async () => {
    const own = kvm.createVm();
    const kvmVfio = await KvmVfio.create(own);
    const device = await VfioDevice.open(nvme0, { beforeBind: ({ fd }) => kvmVfio.add(fd) });
    const ioas = device.createIoas();
    await device.attach(ioas);
    await ioas.map(await DmaBuffer.allocate(4096));
    await device.close();
    await kvmVfio.close();
    closeSync(own);
    await (await VfioDevice.open(nvme0, { timeout: 0 })).close();
  });

  it('is forgotten where it does not bind', async () => {
    await using kvmVfio = await KvmVfio.create(vm);
    await using holder = await VfioDevice.open(edu);
    const fds = kvmFds();
    for (let round = 0; round < 3; round++) {
      await failure(() => VfioDevice.open(edu, { kvm: kvmVfio, timeout: 0 }), 'EINVAL');
    }
    assertNoMore(kvmFds(), fds);
    await holder.close();
    await (await VfioDevice.open(edu, { kvm: kvmVfio })).close();
  });

  it('has a VM that is one, of this process, with one VFIO device', async () => {
    const null_ = openSync('/dev/null', 'r+');
    const node = openSync('/dev/kvm', 'r+');
    const vcpu = kvm.createVcpu(vm);
    for (const [fd, code] of [
      [null_, 'ENOTTY'],
      [node, 'EINVAL'],
      [vcpu, 'EINVAL'],
    ] as const) {
      const { reason } = await explainedFailure(() => KvmVfio.create(fd), code);
      assert.equal(reason, 'not-a-vm');
      await failure(() => KvmVfio.fromFd(fd), 'ERR_VFIO_NOT_VFIO');
    }
    closeSync(node);
    closeSync(vcpu);
    await using kvmVfio = await KvmVfio.create(vm);
    const again = await explainedFailure(() => KvmVfio.create(vm), 'EBUSY');
    assert.equal(again.reason, 'vm-has-vfio');
    const wrong = await explainedFailure(() => kvmVfio.add(null_), 'EINVAL');
    assert.equal(wrong.reason, 'not-for-kvm');
    closeSync(null_);
    await failure(() => kvmVfio.add(null_), 'EBADF');
    await using same = KvmVfio.fromFd(kvmVfio.fd);
    await using device = await VfioDevice.open(edu, { kvm: kvmVfio });
    await same.remove(device);
    await kvmVfio.add(device);
  });

  it('is none for another process', async () => {
    await using kvmVfio = await KvmVfio.create(vm);
    const library = JSON.stringify(new URL('build-test/programs/vfio.js', root).href);
    const program = `
      import { KvmVfio } from ${library};
      const reasonOf = (run) => { try { run(); } catch (error) { return error.code + ' ' + error.reason; } };
      console.log(reasonOf(() => KvmVfio.createSync(3)), reasonOf(() => KvmVfio.fromFd(4)));`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'pipe', vm, kvmVfio.fd],
      encoding: 'utf8',
    });
    assert.equal(stdout, 'EIO vm-of-other-process EIO vm-of-other-process\n', stderr);
  });

  it('leaves nothing open in 100 rounds', async () => {
    const round = async (at: number): Promise<void> => {
      await using kvmVfio = at % 2 === 0 ? await KvmVfio.create(vm) : KvmVfio.createSync(vm);
      const backend = at % 4 < 2 ? 'cdev' : 'group';
      await using device = await VfioDevice.open(edu, { kvm: kvmVfio, backend });
      assert.ok(device.fd > 0);
    };
    await round(0);
    const fds = kvmFds();
    const there = vms();
    for (let at = 0; at < 100; at++) await round(at);
    assertNoMore(kvmFds(), fds);
    assert.deepEqual(vms(), there);
  });

  it('is used by a guest: registers, an interrupt by an irqfd, DMA (the example)', () => {
    const path = new URL('build-test/examples/vmm/kvm/main.js', root).pathname;
    for (const interrupt of ['msi', 'intx']) {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        [path, edu.address, interrupt],
        { encoding: 'utf8' },
      );
      const lines = stdout.trim().split('\n');
      assert.deepEqual(
        { status, stderr, lines },
        {
          status: 0,
          stderr: '',
          lines: [
            'guest: the device is 0x10000ed',
            'guest: 10! is 0x375f00',
            'guest: DMA brought 0x5a5a5a5a',
            'copied: true',
          ],
        },
      );
    }
  });

  it('interrupts the guest by an irqfd without waking a thread of Node', async () => {
    const rounds = 200;
    for (const interrupt of ['msi', 'intx'] as const) {
      await withMachine(edu.address, { interrupt, rounds }, async ({ memory, next }) => {
        await next();
        const before = wakeUps();
        const { port, value } = await next();
        const after = wakeUps();
        assert.deepEqual([port, value], [2, 3628800]);
        assert.equal(new DataView(memory.buffer).getUint32(roundsAt, true), 0);
        const counts = new Map(
          [...after].map(([id, count]) => [id, count - (before.get(id) ?? 0)]),
        );
        // What begins and ends the run.
        const few = rounds / 20;
        const text = `${interrupt}: ${JSON.stringify([...counts])}`;
        assert.ok((counts.get(`${process.pid}`) ?? NaN) < few, text);
        // The guest's processor waits on the thread that runs it, if it has to wait.
        const [, ...others] = [...counts.values()].toSorted((one, other) => other - one);
        assert.ok(others.reduce((sum, count) => sum + count, 0) < few, text);
      });
    }
  });

  it('stops its guest at an access while memory decoding is off, and goes on', async () => {
    await withMachine(edu.address, {}, async ({ device, next }) => {
      await next();
      const config = device.region('config');
      const command = config.read16(4);
      config.write16(4, command & ~2);
      await assert.rejects(next, /Bad address/);
      config.write16(4, command);
      assert.deepEqual(await next(), { port: 2, value: 3628800 });
    });
  });

  it('leaves nothing when 100 guests with it have come and gone', async function () {
    this.timeout(300_000);
    const guest = async (at: number): Promise<void> => {
      const interrupt = at % 2 === 0 ? 'msi' : 'intx';
      await withMachine(edu.address, { interrupt }, async ({ memory, next }) => {
        await next();
        assert.deepEqual(await next(), { port: 2, value: 3628800 });
        // Its DMA takes a fifth of a second.
        if (at % 10 === 0) assert.deepEqual(await next(), { port: 3, value: 0x5a5a5a5a });
        assert.equal(memory[copied.to], at % 10 === 0 ? 0x5a : 0);
      });
    };
    for (let at = 0; at < 20; at++) await guest(at);
    const before = { fds: kvmFds(), vms: vms(), pinned: pinnedPages(), memory: memoryInUse() };
    for (let at = 0; at < 100; at++) await guest(at);
    assertNoMore(kvmFds(), before.fds);
    assert.deepEqual(vms(), before.vms);
    assert.equal(pinnedPages(), before.pinned);
    // One guest has 2 MiB.
    const more = memoryInUse() - before.memory;
    assert.ok(more < 16 * 2 ** 20, `${more} bytes more`);
  });

  it('is a virtual function with its token', async () => {
    const count = `/sys/bus/pci/devices/${sriov.address}/sriov_numvfs`;
    const vfToken = '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c';
    await using kvmVfio = await KvmVfio.create(vm);
    await using pf = await VfioDevice.open(sriov);
    writeFileSync(count, '1');
    try {
      await pf.feature.setVfToken(vfToken);
      const listed = (await listDevices()).find(({ address }) => address === sriov.address);
      const [vf = ''] = listed?.virtfns ?? [];
      await using device = await VfioDevice.open(vf, { kvm: kvmVfio, vfToken });
      const { reason } = await explainedFailure(() => kvmVfio.add(device), 'EEXIST');
      assert.equal(reason, 'vm-has-device');
    } finally {
      writeFileSync(count, '0');
    }
  });
});

/** How often each thread of this process was woken after it had waited. */
function wakeUps(): Map<string, number> {
  return new Map(
    readdirSync('/proc/self/task').map((id) => {
      const text = readFileSync(`/proc/self/task/${id}/status`, 'utf8');
      return [id, Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(text)?.[1])];
    }),
  );
}

/** Pages of this machine that are pinned, for DMA among others. */
function pinnedPages(): number {
  // Each processor counts by itself for up to a second; a look at this adds it up.
  const addUp = '/proc/sys/vm/stat_refresh';
  if (existsSync(addUp)) readFileSync(addUp);
  const text = readFileSync('/proc/vmstat', 'utf8');
  const [taken = NaN, given = NaN] = ['acquired', 'released'].map((which) =>
    Number(new RegExp(`^nr_foll_pin_${which} (\\d+)`, 'm').exec(text)?.[1]),
  );
  return taken - given;
}

/** Of this process, and what lies in files in memory, as guests' memory does. */
function memoryInUse(): number {
  const shared = /^Shmem:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
  return process.memoryUsage.rss() + Number(shared) * 1024;
}
