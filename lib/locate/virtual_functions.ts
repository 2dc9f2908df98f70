import type { SysfsDevice } from '../core/location.ts';
import { listNames, readLinkName } from './sysfs.ts';

// How many virtual functions there are is told by their links, and not by `sriov_numvfs`: reading that
// waits for the lock of the device (sriov_numvfs_show, drivers/pci/iov.c), which an unbinding has
// until whoever has the device open lets go of it, and no signal ends that.

/** Of the names in a physical function's folder those that lead to virtual functions, in order. */
export function virtfnNames(names: readonly string[]): string[] {
  const own = names.filter((name) => /^virtfn\d+$/.test(name));
  return own.sort((a, b) => Number(a.slice(6)) - Number(b.slice(6)));
}

/** The addresses of a physical function's virtual functions, in their order. */
export function virtfnsOf({ sysfsPath }: Pick<SysfsDevice, 'sysfsPath'>): string[] {
  return virtfnNames(listNames(sysfsPath) ?? [])
    .map((name) => readLinkName(`${sysfsPath}/${name}`))
    .filter((address) => address !== undefined);
}

/** The same as devices. */
export function virtualFunctionsOf(
  { bus, sysfsPath }: SysfsDevice,
  sysfsRoot: string,
): SysfsDevice[] {
  return virtfnsOf({ sysfsPath }).map((address) => ({
    ...{ bus, address },
    sysfsPath: `${sysfsRoot}/bus/${bus}/devices/${address}`,
  }));
}
