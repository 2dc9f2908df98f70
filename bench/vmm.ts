// What handing a device to a VMM adds to opening it: for a VMM in this process, KVM is told of it (the
// option `kvm`); for another program, the descriptors and arguments are made, and what they name is
// bound, as QEMU does by ioctls, or as a program with this package does.
//
//   npm run bench:vmm                              in the lab, its edu and an NVMe
//   node build-test/bench/vmm.js [rounds]
import { spawnSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { loadKvm } from '../examples/vmm/kvm/kvm.ts';
import { median } from '../lib/cli/bench/rounds.ts';
import { Iommufd, KvmVfio, openCdev, qemuArguments, VfioCdev, VfioDevice } from '../lib/index.ts';
import { devices, type TestDevice } from '../test/support/devices.ts';

const rounds = Number(process.argv[2] ?? '200');

spawnSync('modprobe', ['kvm_amd']);
const vm = loadKvm().createVm();
const kvm = await KvmVfio.create(vm);

type Opened = VfioDevice | VfioCdev | Iommufd;

/**
 * Ways to a bound device with an iommufd: what has to be closed, in this order. What the giver closes
 * of its own is not among what the taker waits for.
 */
const waysTo = (address: string): Record<string, () => Promise<Opened[]>> => ({
  directly: async () => [await VfioDevice.open(address, { requestEvents: false })],
  'with the option kvm': async () => [
    await VfioDevice.open(address, { requestEvents: false, kvm }),
  ],
  // The binding is the VMM's: the same calls of the kernel, whoever makes them.
  'with arguments for QEMU': async () => {
    const iommufd = Iommufd.open();
    const cdev = await openCdev(address);
    qemuArguments({ cdev, iommufd });
    return [await cdev.bind(iommufd, { requestEvents: false }), iommufd];
  },
  'with arguments, and taken by fromFd': async () => {
    const iommufd = Iommufd.open();
    const cdev = await openCdev(address);
    const { fds } = qemuArguments({ cdev, iommufd });
    const [iommufdThere = -1, cdevThere = -1] = fds;
    const own = Iommufd.fromFd(iommufdThere);
    const device = await VfioCdev.fromFd(cdevThere).bind(own, { requestEvents: false });
    return [device, own, cdev, iommufd];
  },
});

async function compare({ name, address }: TestDevice, count: number): Promise<void> {
  const times = new Map<string, number[]>();
  // Until the engine has optimised all; then in turns, so that each has the same neighbours.
  for (let round = -count; round < count; round++) {
    for (const [how, open] of Object.entries(waysTo(address))) {
      const begin = performance.now();
      const opened = await open();
      const time = performance.now() - begin;
      for (const each of opened) await each.close();
      if (round >= 0) times.set(how, [...(times.get(how) ?? []), time]);
    }
  }
  const direct = median(times.get('directly') ?? []);
  for (const [how, each] of times) {
    const time = median(each);
    const ratio = (time / direct).toFixed(2);
    console.log(`${name}, ${how}: ${time.toFixed(2)} ms, ÷ directly ${ratio}; median of ${count}`);
  }
}

/** What KVM itself takes, which nobody who tells it can save. */
async function timeKvm({ name, address }: TestDevice): Promise<void> {
  await using cdev = await openCdev(address);
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const begin = performance.now();
    kvm.addSync(cdev);
    times.push(performance.now() - begin);
    kvm.removeSync(cdev);
  }
  console.log(`${name}, KVM told alone: ${median(times).toFixed(2)} ms; median of ${rounds}`);
}

for (const name of ['edu', 'nvme0']) {
  const spec = devices.find((each) => each.name === name);
  if (spec === undefined) throw new Error(`the lab has no ${name}`);
  await timeKvm(spec);
  await compare(spec, spec.kind === 'edu' ? rounds : Math.ceil(rounds / 10));
}
await kvm.close();
closeSync(vm);
