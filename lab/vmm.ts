import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { otherSuite, unpackAll } from './apt.ts';
import { cacheRoot, provide, recipeHash } from './cache.ts';
import { step } from './progress.ts';

/** The Debian release with a QEMU that takes devices by descriptors; 9.0 was the first that can. */
const SUITE = 'trixie';
const PACKAGE = 'qemu-system-x86';
const VERSION = '1';

/** Libraries, firmware and QEMU's own: programs that packages bring along are left out. */
const NEEDED = /^(?:lib|zlib|qemu-system-|seabios|ipxe-qemu)/;

/** Runs with the libraries it came with: the host's are another release's. */
const LAUNCHER = `#!/bin/sh
root=$(dirname "$0")
libraries=$root/usr/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR="$libraries/qemu"
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" \\
    "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
`;

/** A QEMU that takes devices by their descriptors, from a newer Debian: the program's path. */
export async function labVmm(): Promise<string> {
  const name = `qemu-${SUITE}-${recipeHash(VERSION, PACKAGE, LAUNCHER, NEEDED.source)}`;
  const folder = await provide(cacheRoot(), name, async (root) => {
    const work = join(root, 'work');
    await mkdir(work);
    const apt = await otherSuite(join(work, 'apt'), SUITE);
    const names = await apt.closure(PACKAGE, (other) => NEEDED.test(other));
    const downloads = join(work, 'downloads');
    await step(`downloading QEMU of Debian ${SUITE} (${names.length} packages)`, () =>
      apt.download(names, downloads),
    );
    await step('unpacking QEMU', () => unpackAll(downloads, root));
    await rm(work, { recursive: true });
    const launcher = join(root, 'qemu');
    await writeFile(launcher, LAUNCHER);
    await chmod(launcher, 0o755);
  });
  return join(folder, 'qemu');
}
