import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { run, searchPath } from './command.ts';
import { LabError } from './failure.ts';
import { step } from './progress.ts';

/** A file or program that shows a Debian package to be there. */
export interface Need {
  package: string;
  /** The name of a program in PATH, or an absolute path. */
  shows: string;
}

/** What every start needs. */
export const RUN_NEEDS: readonly Need[] = [
  { package: 'qemu-system-x86', shows: 'qemu-system-x86_64' },
  // The initramfs is made of it; the plain busybox package would need the host's libraries.
  { package: 'busybox-static', shows: '/bin/busybox' },
  { package: 'cpio', shows: 'cpio' },
  // The guest's modprobe is the host's.
  { package: 'kmod', shows: 'modprobe' },
];

/** Installs with apt-get what is missing, or says which command would. */
export async function ensurePackages(needs: readonly Need[]): Promise<void> {
  const missing = needs.filter((need) => !isThere(need.shows)).map((need) => need.package);
  if (missing.length === 0) return;
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...missing];
  const prefix = await rootPrefix();
  if (!prefix) {
    throw new LabError(
      `packages are missing, and only root may install them. Run:\n  sudo ${install.join(' ')}`,
    );
  }
  await step(`installing ${missing.join(' ')}`, async () => {
    const asRoot = (command: readonly string[]): Promise<string> =>
      run('env', [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', ...command]);
    try {
      await asRoot(install);
    } catch {
      // The likeliest cause is that the host's package lists are absent or old.
      await asRoot(['apt-get', 'update']);
      await asRoot(install);
    }
  });
}

/** What to put before a command so that it runs as root, or undefined if nothing does. */
async function rootPrefix(): Promise<string[] | undefined> {
  if (process.getuid?.() === 0) return [];
  if (!isThere('sudo')) return undefined;
  try {
    await run('sudo', ['--non-interactive', 'true']);
    return ['sudo', '--non-interactive'];
  } catch {
    return undefined;
  }
}

function isThere(shows: string): boolean {
  if (shows.startsWith('/')) return existsSync(shows);
  return searchPath().some((folder) => existsSync(join(folder, shows)));
}
