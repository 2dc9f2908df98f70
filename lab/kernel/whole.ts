import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

import { otherSuite, unpackAll } from '../apt.ts';
import { recipeHash } from '../cache.ts';
import { run } from '../command.ts';
import { LabError } from '../failure.ts';
import type { Need } from '../packages.ts';
import { step } from '../progress.ts';
import { makeInitramfs } from './initramfs.ts';
import { configurationLines, missingLines } from './options.ts';
import type { Recipe } from './recipe.ts';

/** The suite that has kernels newer than Debian's releases. */
export const BACKPORTS = 'trixie-backports';

/** Large and never looked at. Documentation's own Kconfig is read, hence the small letter. */
const LEFT_OUT = ['Documentation/[a-z]*', 'tools/testing', 'arch/*/boot/dts'];

/** To be raised when the steps below change in a way that the constants do not show. */
const VERSION = '1';

const NEEDS: readonly Need[] = [
  { package: 'gcc', shows: 'gcc' },
  { package: 'make', shows: 'make' },
  { package: 'binutils', shows: 'objcopy' },
  { package: 'xz-utils', shows: 'xz' },
  { package: 'flex', shows: 'flex' },
  { package: 'bison', shows: 'bison' },
  { package: 'bc', shows: 'bc' },
  { package: 'libelf-dev', shows: '/usr/include/libelf.h' },
  { package: 'libssl-dev', shows: '/usr/include/openssl/ssl.h' },
];

/** A kernel from sources with everything that VFIO has in it, and little else. */
export function wholeRecipe(series: '7.3', init: string): Recipe {
  return {
    series,
    hash: recipeHash(VERSION, ...configurationLines(), init),
    needs: NEEDS,
    build: (folder) => build(series, folder, init),
  };
}

async function build(series: string, folder: string, init: string): Promise<string> {
  const work = join(folder, 'work');
  const base = join(folder, 'cdev');
  await mkdir(work);
  const source = await fetchSource(series, work);
  await step('configuring', () => configure(source));
  const jobs = `--jobs=${availableParallelism()}`;
  // Nice: it takes minutes, and somebody may be working on this machine.
  const make = ['make', '--silent', jobs, `--directory=${source}`];
  await step('building the kernel (about 8 minutes on 2 cores)', () =>
    run('nice', [...make, 'vmlinux', 'modules']),
  );
  const release = (
    await run('make', ['--silent', `--directory=${source}`, 'kernelrelease'])
  ).trim();
  await step('packing', async () => {
    const install = ['modules_install', 'INSTALL_MOD_STRIP=1', `INSTALL_MOD_PATH=${base}`];
    await run('make', ['--silent', `--directory=${source}`, ...install]);
    await run('strip', ['--strip-debug', '-o', join(folder, 'vmlinux'), join(source, 'vmlinux')]);
    // A link to the sources, which are about to go.
    await rm(join(base, 'lib/modules', release, 'build'), { force: true });
    const lists = {
      root: ['9pnet_virtio', '9p', 'overlay'],
      vfio: ['vfio-pci', 'mtty', 'mdpy', 'mbochs'],
    };
    await makeInitramfs(join(base, 'initrd'), init, { base, release }, lists);
  });
  await rename(join(source, '.config'), join(folder, 'config'));
  await rm(work, { recursive: true });
  return release;
}

async function fetchSource(series: string, work: string): Promise<string> {
  const name = `linux-source-${series}`;
  const apt = await step(`looking for ${name}`, () => otherSuite(join(work, 'apt'), BACKPORTS));
  const downloads = join(work, 'downloads');
  await step(`downloading ${name} (170 MB)`, () => apt.download([name], downloads));
  await step('unpacking', async () => {
    await unpackAll(downloads, join(work, 'unpacked'));
    const archive = join(work, 'unpacked/usr/src', `${name}.tar.xz`);
    const without = LEFT_OUT.map((path) => `--exclude=${name}/${path}`);
    await run('tar', ['--use-compress-program=xz -T0', '-xf', archive, '-C', work, ...without]);
    await rm(downloads, { recursive: true });
  });
  return join(work, name);
}

async function configure(source: string): Promise<void> {
  await writeFile(join(source, 'lab.config'), configurationLines().join('\n') + '\n');
  await run('make', ['--silent', 'tinyconfig'], { cwd: source });
  const merge = ['scripts/kconfig/merge_config.sh', '-m', '.config', 'lab.config'];
  await run('sh', merge, { cwd: source });
  await run('make', ['--silent', 'olddefconfig'], { cwd: source });
  // Kconfig drops in silence what lacks a dependency.
  const missing = missingLines(await readFile(join(source, '.config'), 'utf8'));
  if (missing.length > 0) {
    throw new LabError(`this kernel's configuration did not take:\n${missing.join('\n')}`);
  }
}
