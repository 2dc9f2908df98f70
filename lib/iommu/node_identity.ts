import { binding } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { check } from '../core/call.ts';
import { VfioError } from '../core/errors.ts';
import type { Roots } from '../core/location.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { closeSyncAndThrow } from '../core/steps.ts';
import { parseNumbers } from '../locate/path.ts';
import { type MiscName, miscNumbers } from '../locate/sysfs.ts';

/** What an open node has to be. */
export interface Identity {
  /** Who has these numbers in sysfs, for errors: an address, 'the iommufd'. */
  whose: string;
  /**
   * Unknown where sysfs does not show them: then it is a character device, and no more is proved.
   */
  numbers: { major: number; minor: number } | undefined;
  /** The device's address, where it is a device's. */
  device?: string | undefined;
}

/** Where fstat's answer goes. */
const stat = new Uint32Array(3);

/**
 * The name of a node proves nothing; the numbers of what was opened do.
 *
 * @throws VfioError `ERR_VFIO_NODE_MISMATCH`
 */
export function checkIdentity(fd: OwnedFd, { whose, numbers, device }: Identity): void {
  const { path } = fd;
  check(binding().fstat(fd.native, stat), { syscall: 'statx', path, device });
  const { 0: mode = 0, 1: major = 0, 2: minor = 0 } = stat;
  const isCharacterDevice = (mode & fs.constants.S_IFMT) === fs.constants.S_IFCHR;
  const isRight = numbers === undefined || (major === numbers.major && minor === numbers.minor);
  if (isCharacterDevice && isRight) return;
  const found = isCharacterDevice
    ? `is the character device ${major}:${minor}`
    : 'is not a character device';
  const said = numbers && `sysfs says that ${whose} is ${numbers.major}:${numbers.minor}, but `;
  throw new VfioError({
    code: 'ERR_VFIO_NODE_MISMATCH',
    message: `${said ?? ''}${path} ${found}`,
    path,
    device,
  });
}

/**
 * A node that no device has: its name among sysfs's miscellaneous ones, and below the root of
 * nodes.
 */
export interface MiscNode {
  name: MiscName;
  below: string;
  /** What the descriptor is called in errors. */
  what: string;
}

/**
 * Opens such a node, and closes what is another's.
 *
 * @throws VfioError the kernel's errors of open; `ERR_VFIO_NODE_MISMATCH`
 */
export function openMiscNode({ name, below, what }: MiscNode, roots: Roots): OwnedFd {
  const fd = OwnedFd.open(`${roots.devRoot}/${below}`, what);
  try {
    checkIdentity(fd, {
      whose: what,
      numbers: parseNumbers(miscNumbers(name, roots.sysfsRoot) ?? ''),
    });
    return fd;
  } catch (error) {
    return closeSyncAndThrow(error, () => {
      fd.closeSync();
    });
  }
}
