import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cacheRoot } from '../../lab/cache.ts';
import { makeInitramfs } from '../../lab/kernel/initramfs.ts';
import { type Lane, prepareKernel } from '../../lab/kernel/kernel.ts';

/** A system that a VMM of the lab boots, which has passed devices. */
export interface PassedGuest extends AsyncDisposable {
  kernel: string;
  initrd: string;
}

/** Loads the drivers, and runs what comes over the serial line: test/support/qemu_guest.ts. */
const init = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done </modules/root.list
exec 3<>/dev/ttyS0
stty -F /dev/ttyS0 -echo -onlcr
echo ready >&3
while read -r command <&3; do eval "$command" >&3 2>&1; done
`;

/** The lab's own kernel with an NVMe driver. The lab's guest sees the files where the host has them. */
export async function passedGuest(lane: Lane): Promise<PassedGuest> {
  const { image, modules, release } = await prepareKernel(cacheRoot(), lane);
  const folder = await mkdtemp(join(tmpdir(), 'vfio-guest-'));
  const initrd = join(folder, 'initrd');
  const base = dirname(dirname(dirname(modules)));
  // Both lists have to have something.
  const lists = { root: ['nvme'], vfio: ['nvme'] };
  await makeInitramfs(initrd, init, { base, release }, lists);
  return {
    kernel: image,
    initrd,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}
