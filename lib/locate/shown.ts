import { VfioError } from '../core/errors.ts';
import type { DeviceAddress, Roots } from '../core/location.ts';
import type { Hidden } from '../core/words.ts';
import { listNames } from './sysfs.ts';

/** Whether a folder is hidden that is never empty. */
export function hiddenFolder(path: string): Hidden | undefined {
  try {
    const names = listNames(path);
    return names === undefined || names.length === 0 ? { path, code: 'ENOENT' } : undefined;
  } catch (error) {
    if (error instanceof VfioError) return { path, code: error.code };
    throw error;
  }
}

/** Whether sysfs as a whole is hidden: in a container without it. */
export function hiddenSysfs({ sysfsRoot }: Roots): Hidden | undefined {
  return hiddenFolder(sysfsRoot || '/') ?? hiddenFolder(`${sysfsRoot}/bus`);
}

/** Whether sysfs hides its classes, in which each kind of device has its nodes, disks and interfaces. */
export function hiddenClasses(roots: Roots): Hidden | undefined {
  return hiddenSysfs(roots) ?? hiddenFolder(`${roots.sysfsRoot}/class`);
}

/**
 * What keeps this process from saying that a device is not there: that its kernel has none of this
 * address is certain only where sysfs shows the bus, and shows no such device on it.
 */
export function hiddenDevice({ bus, address }: DeviceAddress, roots: Roots): Hidden | undefined {
  const hidden = hiddenSysfs(roots);
  if (hidden) return hidden;
  const folder = `${roots.sysfsRoot}/bus/${bus}`;
  // A bus that the kernel does not have is no folder, one that is mounted over is an empty one.
  if (listNames(folder) === undefined) return undefined;
  const devices = `${folder}/devices`;
  const names = listNames(devices);
  if (names === undefined) return { path: devices, code: 'ENOENT' };
  // Its link is there, and leads nowhere here.
  if (names.includes(address)) return { path: `${devices}/${address}`, code: 'ENOENT' };
  return undefined;
}

/** As {@link hiddenDevice}, of what tells which device has a node's numbers. */
export function hiddenNumbers({ sysfsRoot }: Roots): Hidden | undefined {
  return hiddenFolder(sysfsRoot || '/') ?? hiddenFolder(`${sysfsRoot}/dev/char`);
}
