import { spawnSync } from 'node:child_process';
import { constants as os } from 'node:os';

/** Whether QEMU emulates another machine for these programs alone (npm run test:arm64). */
export const isEmulated: boolean = process.env['VFIO_TEST_EMULATION'] === 'qemu-user';

/**
 * The errno of an ioctl that a file does not know. QEMU answers another instead of the kernel: it
 * passes on only what it knows itself, which VFIO is not.
 */
export const unknownIoctl: number = isEmulated ? os.errno.ENOSYS : os.errno.ENOTTY;

/** Why no program can load what this compiler makes; undefined where one can. */
export function whyNotCompiled(compiler: 'gcc' | 'g++'): string | undefined {
  if (isEmulated) return `${compiler} compiles for the machine itself, and QEMU emulates another`;
  return spawnSync(compiler, ['--version']).error && `there is no ${compiler}`;
}
