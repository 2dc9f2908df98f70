import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { type Binding, binding, replaceBinding } from '../../lib/core/binding.ts';
import type { Roots } from '../../lib/core/location.ts';
import { Container, DmaBuffer, KvmVfio, openCdev, VfioDevice } from '../../lib/index.ts';
import { explainedFailure, failure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeGroupCalls, fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { openNull } from '../support/null_fd.ts';
import { libraryFds } from '../support/proc.ts';
import { countCalls } from '../support/traced_binding.ts';
import { put } from '../support/tree.ts';

const [ENOENT, EIO, EBUSY, EEXIST, ENODEV, EINVAL] = [-2, -5, -16, -17, -19, -22];

/** A KVM that takes everything. */
const kvmFakes: Partial<Binding> = {
  kvmCreateVfio: () => Promise.resolve(openNull()),
  kvmCreateVfioSync: openNull,
  kvmVfioAdd: () => Promise.resolve(0),
  kvmVfioAddSync: () => 0,
  kvmVfioRemove: () => Promise.resolve(0),
  kvmVfioRemoveSync: () => 0,
  kvmVfioHasAdd: () => 0,
};

const fakes: Partial<Binding> = {
  ...fakeIoctls,
  ...kvmFakes,
  ...fakeGroupCalls,
};

const options = { requestEvents: false };

function roots(): Roots {
  const all = fakeVfio();
  put(all.sysfsRoot, {
    [`bus/pci/devices/${fakeAddress}/iommu_group`]: { pointsTo: '../../../kernel/iommu_groups/7' },
    'class/vfio/7/dev': '1:5\n',
    'class/vfio-dev/vfio7/dev': '1:3\n',
  });
  putNode(all, fakeNode, '/dev/null');
  putNode(all, 'vfio/7', '/dev/zero');
  putNode(all, 'iommu', '/dev/full');
  return all;
}

const told = /^(?:kvmVfio(?:Add|Remove)|bind|groupGetDevice|close)(?:Sync)?$/;

/** What of this was called, in its order, and leaves no descriptor. */
async function callsOf(body: () => Promise<void>, more: Partial<Binding> = {}): Promise<string[]> {
  const calls: string[] = [];
  const before = libraryFds();
  await withBinding({ ...fakes, ...more }, async () => {
    const restore = replaceBinding(countCalls(calls));
    try {
      await body();
    } finally {
      restore();
    }
  });
  assert.deepEqual(libraryFds(), before);
  return calls.filter((name) => told.test(name)).map((name) => name.replace(/Sync$/, ''));
}

describe('the VFIO device of a KVM VM', () => {
  it('is told of a device before it is bound, and forgets it before that is closed', async () => {
    const all = roots();
    const asked = await callsOf(async () => {
      await using kvm = await KvmVfio.create(0);
      const device = await VfioDevice.open(fakeAddress, { ...all, ...options, kvm });
      await device.close();
      await device.close();
    });
    const own = ['bind', 'kvmVfioRemove', 'close', 'close', 'close', 'close'];
    // The duplicate of the VM's descriptor goes first; KVM's own device last.
    assert.deepEqual(asked, ['close', ...own]);
    const blocking = await callsOf(() => {
      using kvm = KvmVfio.createSync(0);
      VfioDevice.openSync(fakeAddress, { ...all, ...options, kvm }).closeSync();
      return Promise.resolve();
    });
    assert.deepEqual(blocking, asked);
  });

  it('forgets a device that does not bind, and the cdev stays open', async () => {
    const all = roots();
    const asked = await callsOf(
      async () => {
        await using kvm = await KvmVfio.create(0);
        await using cdev = await openCdev(fakeAddress, all);
        await failure(() => cdev.bind(undefined, { kvm }), 'EINVAL');
        assert.ok(cdev.fd > 0);
        assert.throws(() => cdev.bindSync(undefined, { kvm }), { code: 'EINVAL' });
      },
      { bind: () => Promise.resolve(EINVAL), bindSync: () => EINVAL },
    );
    const once = ['bind', 'kvmVfioRemove', 'close', 'close'];
    assert.deepEqual(asked.slice(1, 9), [...once, ...once]);
  });

  it('binds nothing that KVM does not take', async () => {
    const all = roots();
    const asked = await callsOf(
      async () => {
        await using kvm = await KvmVfio.create(0);
        const open = (): unknown => VfioDevice.open(fakeAddress, { ...all, ...options, kvm });
        const { reason } = await explainedFailure(open, 'EEXIST');
        assert.equal(reason, 'vm-has-device');
      },
      // KVM's refusal, as the addon tells it.
      { bind: () => Promise.resolve(EEXIST - 8192) },
    );
    assert.ok(!asked.includes('kvmVfioRemove'));
  });

  it('is told of a group once, before a device of it is opened; with the last it forgets it', async () => {
    const all = roots();
    const asked = await callsOf(async () => {
      await using kvm = await KvmVfio.create(0);
      await using container = Container.open(all);
      const open = (): Promise<VfioDevice> =>
        VfioDevice.open(fakeAddress, { ...all, ...options, container, kvm });
      const first = await open();
      const second = await open();
      await first.close();
      await second.close();
    });
    const opened = ['close', 'kvmVfioAdd', 'groupGetDevice', 'groupGetDevice'];
    // The two devices, then KVM's part in the group, its duplicate, and the group.
    const closed = ['close', 'close', 'kvmVfioRemove', 'close', 'close'];
    assert.deepEqual(asked.slice(0, 9), [...opened, ...closed]);
  });

  it('lets go of all when it is closed, and devices close as ever afterwards', async () => {
    const all = roots();
    const asked = await callsOf(async () => {
      const kvm = await KvmVfio.create(0);
      const device = await VfioDevice.open(fakeAddress, { ...all, ...options, kvm });
      await kvm.close();
      await kvm.close();
      await failure(() => kvm.add(0), 'ERR_VFIO_CLOSED');
      await device.close();
    });
    assert.equal(asked.filter((name) => name === 'kvmVfioRemove').length, 1);
  });

  it('takes a device, a cdev, an object with a descriptor and a number', async () => {
    const all = roots();
    const asked = await callsOf(async () => {
      await using kvm = await KvmVfio.create(0);
      await using cdev = await openCdev(fakeAddress, all);
      await kvm.add(cdev);
      await using device = await cdev.bind(undefined, options);
      kvm.removeSync(device);
      kvm.addSync({ fd: 0 });
      await kvm.remove(0);
    });
    const ofKvm = asked.filter((name) => name.startsWith('kvm'));
    assert.deepEqual(ofKvm, ['kvmVfioAdd', 'kvmVfioRemove', 'kvmVfioAdd', 'kvmVfioRemove']);
  });

  it('takes nothing that only looks like a device', async () => {
    await withBinding(fakes, async () => {
      using kvm = KvmVfio.createSync(0);
      const fake = { kvmFile: { native: 1 } } as never;
      await failure(() => kvm.add(fake), 'ERR_INVALID_ARG_TYPE');
      await failure(() => kvm.remove(fake), 'ERR_INVALID_ARG_TYPE');
    });
  });

  it('says why the kernel makes none', async () => {
    for (const [errno, code, reason] of [
      [EINVAL, 'EINVAL', 'not-a-vm'],
      [EIO, 'EIO', 'vm-of-other-process'],
      [ENODEV, 'ENODEV', 'kvm-without-vfio'],
      [EBUSY, 'EBUSY', 'vm-has-vfio'],
    ] as const) {
      const fake = { kvmCreateVfioSync: () => errno };
      await withBinding(fake, async () => {
        const error = await explainedFailure(() => KvmVfio.createSync(0), code);
        assert.equal(error.reason, reason);
        assert.equal(error.certainty, code === 'EIO' ? 'likely' : 'certain');
      });
    }
    // No fake: this is no VM.
    const error = await explainedFailure(() => KvmVfio.create(binding().fdNumber(openNull()) ?? -1), 'ENOTTY'); // prettier-ignore
    assert.equal(error.reason, 'not-a-vm');
  });

  it('says why KVM forgets nothing', async () => {
    await withBinding({ ...fakes, kvmVfioRemoveSync: () => ENOENT }, async () => {
      using kvm = KvmVfio.createSync(0);
      const remove = (): void => {
        kvm.removeSync(0);
      };
      const error = await explainedFailure(remove, 'ENOENT');
      assert.deepEqual([error.reason, error.request], ['vm-lacks-device', 'KVM_DEV_VFIO_FILE_DEL']);
    });
  });

  it('is taken from a VMM that made it, and nothing else is', async () => {
    const fd = binding().fdNumber(openNull()) ?? -1;
    const before = libraryFds();
    const error = await vfioFailure(() => KvmVfio.fromFd(fd), 'ERR_VFIO_NOT_VFIO');
    assert.match(error.message, new RegExp(`^the descriptor ${fd} is not that of a KVM VM's`));
    await failure(() => KvmVfio.fromFd(2 ** 20), 'EBADF');
    assert.deepEqual(libraryFds(), before);
    await withBinding(kvmFakes, () => {
      using kvm = KvmVfio.fromFd(fd);
      assert.notEqual(kvm.fd, fd);
    });
    assert.deepEqual(libraryFds(), before);
    await withBinding({ kvmVfioHasAdd: () => EIO }, async () => {
      const { reason } = await explainedFailure(() => KvmVfio.fromFd(fd), 'EIO');
      assert.equal(reason, 'vm-of-other-process');
    });
  });
});

describe('the address of DMA memory', () => {
  it('is where the process has it, and refused once it was disposed of', async () => {
    const buffer = await DmaBuffer.allocate(8192);
    const start = buffer.address.toString(16);
    const end = (buffer.address + 8192n).toString(16);
    const maps = readFileSync('/proc/self/maps', 'utf8');
    assert.match(maps, new RegExp(`^0*${start}-0*${end} rw-s .*memfd`, 'm'));
    await buffer.dispose();
    await failure(() => buffer.address, 'ERR_VFIO_CLOSED');
  });
});
