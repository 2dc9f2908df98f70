import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { hostRelease, otherSuite, unpackAll, type Apt } from './apt.ts';
import { cacheRoot, provide, recipeHash } from './cache.ts';
import { newestImage } from './kernel/quick.ts';
import { BACKPORTS } from './kernel/whole.ts';
import { step } from './progress.ts';

export type HeaderSeries = '6.12' | '7.3';

/** Beyond these they include nothing that older headers of the host would not do for. */
const HEADERS: Readonly<Record<HeaderSeries, readonly string[]>> = {
  '6.12': ['linux/vfio.h', 'linux/iommufd.h', 'linux/kvm.h', 'asm/kvm.h', 'linux/bits.h'],
  // Debian 12's stddef.h lacks __counted_by.
  '7.3': [
    'linux/vfio.h',
    'linux/iommufd.h',
    'linux/kvm.h',
    'asm/kvm.h',
    'linux/bits.h',
    'linux/stddef.h',
  ],
};
const VERSION = '2';

/** An include folder with that kernel's headers of VFIO, iommufd and KVM. */
export async function labHeaders(which: HeaderSeries): Promise<string> {
  const name = `headers-${which}-${recipeHash(VERSION, ...HEADERS[which])}`;
  return provide(cacheRoot(), name, async (folder) => {
    const work = join(folder, 'work');
    await mkdir(work);
    for (const part of ['linux', 'asm']) await mkdir(join(folder, part));
    await step(`fetching the headers of Linux ${which}`, async () => {
      await (which === '6.12' ? fromKernelHeaders : fromLibcHeaders)(work, folder);
    });
    await rm(work, { recursive: true });
  });
}

/** Debian 12 has no user-space headers of its 6.12, so they are made of the kernel's own. */
async function fromKernelHeaders(work: string, folder: string): Promise<void> {
  const apt = await hostRelease(join(work, 'apt'));
  const release = (await newestImage(apt)).replace(/-amd64$/, '');
  const common = `linux-headers-${release}-common`;
  await fetch(apt, common, work);
  const from = join(work, 'unpacked/usr/src', common);
  for (const name of HEADERS['6.12']) {
    const part = name.startsWith('asm/') ? 'arch/x86/include/uapi' : 'include/uapi';
    const text = await readFile(join(from, part, name), 'utf8');
    await writeFile(join(folder, name), forUserSpace(text));
  }
}

async function fromLibcHeaders(work: string, folder: string): Promise<void> {
  const apt = await otherSuite(join(work, 'apt'), BACKPORTS);
  await fetch(apt, 'linux-libc-dev', work);
  const from = join(work, 'unpacked/usr/include');
  for (const name of HEADERS['7.3']) {
    const part = name.startsWith('asm/') ? 'x86_64-linux-gnu' : '';
    await copyFile(join(from, part, name), join(folder, name));
  }
}

async function fetch(apt: Apt, name: string, work: string): Promise<void> {
  const downloads = join(work, 'downloads');
  await apt.download([name], downloads);
  await unpackAll(downloads, join(work, 'unpacked'));
}

/**
 * What the kernel's `make headers_install` does, as far as these headers need it: what is for the
 * kernel alone stays, since nothing here defines `__KERNEL__`.
 */
export function forUserSpace(text: string): string {
  return text
    .replaceAll(/([\s(])__user\s/g, '$1')
    .replaceAll(/^#include <linux\/compiler\.h>\n/gm, '')
    .replaceAll(/^(#(?:ifndef|define|endif\s*\/\*)\s*)_UAPI/gm, '$1');
}
