import { deviceLines, MAX_ROOT_NVME } from './devices.ts';

const HELP = `Runs a command in a VM with real VFIO devices, emulated by QEMU.

  npm run lab -- [options] [--] command [argument...]

The guest sees this host's files at their own paths; what it writes is forgotten,
except in the results folder. The first use prepares a kernel (about a minute).

  --kernel 6.12|7.3   6.12 (default): Debian's kernel, its VFIO modules built with cdevs.
                      7.3: a whole kernel from Debian's newest sources (about 8 minutes).
  --stock             Debian's 6.12 as it is: no cdevs, groups only
  --results DIR       a folder the guest may write, at the same path on both sides;
                      in the guest VFIO_LAB_RESULTS names it (without this option: a
                      folder that is forgotten)
  --env NAME[=VALUE]  set NAME for the command, or pass it on; may be repeated
  --deadline SECONDS  stop the VM after that time (default 900)
  --silence SECONDS   stop the VM when one of its processors did nothing for so long
                      (default 120; more on a host that is busy)
  --nvme N            NVMe controllers on the root bus, 0 to ${MAX_ROOT_NVME} (default 1)
  --memory MIB        the guest's memory (default 3072)
  --cpus N            the guest's processors (default 2)
  --in-turns          emulate them by one thread, in turns: none was seen to lose a timer
  --append WORDS      more kernel parameters, such as intremap=off
  --prepare           only prepare the kernel
  --headers 6.12|7.3  print an include folder with that kernel's VFIO headers
  --vmm               print a QEMU of a newer Debian, which runs in the guest, too
  --list              list the devices of the VM
  -h, --help          this text

Exit status: the command's own, 128+n if signal n ended it; 124 at the deadline;
125 if the lab failed; 2 for a mistake on this command line.

Environment: VFIO_LAB_ACCEL=kvm uses KVM instead of software emulation.
XDG_CACHE_HOME moves the cache, otherwise ~/.cache/vfio-lab. More: docs/lab.md
`;

export function helpText(): string {
  return HELP;
}

/** The devices in words, for `--list`. */
export function deviceTable(...args: Parameters<typeof deviceLines>): string {
  const rows = deviceLines(...args)
    .split('\n')
    .map((line) => {
      const [name = '', kind = '', bus = '', where = '', extra = ''] = line.split(' ');
      const place =
        bus === 'pci' ? `00:${where}${extra === '' ? '' : ' (behind that port)'}` : where;
      return `${name.padEnd(12)} ${kind.padEnd(12)} ${bus.padEnd(5)} ${place}\n`;
    });
  return rows.join('');
}
