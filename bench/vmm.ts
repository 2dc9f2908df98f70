// What handing a device to a VMM adds to opening it: for a VMM in this process, KVM is told of it (the
// option `kvm`); for another program, the descriptors and arguments are made, and what they name is
// bound, as that program does.
//
//   npm run bench:vmm                              in the lab, its edu
//   node build-test/bench/vmm.js [rounds]
import { spawnSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { loadKvm } from '../examples/vmm/kvm/kvm.ts';
import { median } from '../lib/cli/bench/rounds.ts';
import { Iommufd, KvmVfio, openCdev, qemuArguments, VfioCdev, VfioDevice } from '../lib/index.ts';
import { devices } from '../test/support/devices.ts';

const rounds = Number(process.argv[2] ?? '200');
const spec = devices.find(({ name }) => name === 'edu');
if (spec === undefined) throw new Error('the lab has no edu');
const { address } = spec;

spawnSync('modprobe', ['kvm_amd']);
const vm = loadKvm().createVm();
const kvm = await KvmVfio.create(vm);

/** Ways to a bound device with an iommufd: what has to be closed, in this order. */
const ways: Record<string, () => Promise<(VfioDevice | Iommufd)[]>> = {
  directly: async () => [await VfioDevice.open(address, { requestEvents: false })],
  'with the option kvm': async () => [
    await VfioDevice.open(address, { requestEvents: false, kvm }),
  ],
  'by descriptors': async () => {
    const iommufd = Iommufd.open();
    const cdev = await openCdev(address);
    const { fds } = qemuArguments({ cdev, iommufd });
    const [iommufdThere = -1, cdevThere = -1] = fds;
    const own = Iommufd.fromFd(iommufdThere);
    const device = await VfioCdev.fromFd(cdevThere).bind(own, { requestEvents: false });
    await Promise.all([cdev.close(), iommufd.close()]);
    return [device, own];
  },
};

const times = new Map<string, number[]>();
// Until the engine has optimised all; then in turns, so that each has the same neighbours.
for (let round = -rounds; round < rounds; round++) {
  for (const [how, open] of Object.entries(ways)) {
    const begin = performance.now();
    const opened = await open();
    const time = performance.now() - begin;
    for (const each of opened) await each.close();
    if (round >= 0) times.set(how, [...(times.get(how) ?? []), time]);
  }
}
await kvm.close();
closeSync(vm);

const direct = median(times.get('directly') ?? []);
for (const [how, each] of times) {
  const time = median(each);
  const ratio = (time / direct).toFixed(2);
  console.log(`${how}: ${time.toFixed(2)} ms, ÷ directly ${ratio}; median of ${rounds}`);
}
