import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

import { hostRelease, unpackAll, type Apt } from '../apt.ts';
import { recipeHash } from '../cache.ts';
import { run } from '../command.ts';
import { LabError } from '../failure.ts';
import type { Need } from '../packages.ts';
import { step } from '../progress.ts';
import { makeInitramfs, type ModuleTree } from './initramfs.ts';
import type { Recipe } from './recipe.ts';

/** What Debian leaves out although its kernel has room for it: all of it lives in modules. */
const OPTIONS: Readonly<Record<string, 'y' | 'm'>> = {
  IOMMUFD: 'm',
  IOMMUFD_DRIVER: 'y',
  INTERVAL_TREE_SPAN_ITER: 'y',
  VFIO_DEVICE_CDEV: 'y',
  VFIO_NOIOMMU: 'y',
  SAMPLE_VFIO_MDEV_MTTY: 'm',
  SAMPLE_VFIO_MDEV_MDPY: 'm',
  SAMPLE_VFIO_MDEV_MBOCHS: 'm',
};

/** The parts of the kernel's sources that are built, and one script that is run. */
const SOURCES = [
  'drivers/iommu/iommufd',
  'drivers/iommu/iommu-priv.h',
  'drivers/vfio',
  'samples/vfio-mdev',
  'lib/interval_tree.c',
  'scripts/extract-vmlinux',
];

const KBUILD = 'obj-y += drivers/iommu/iommufd/ drivers/vfio/ samples/vfio-mdev/\n';

/**
 * Drivers that no lab device can want; without them indexing the modules is several times faster.
 */
const UNWANTED = [
  'sound',
  'drivers/gpu',
  'drivers/media',
  'drivers/net/wireless',
  'drivers/staging',
];

const ROOT_MODULES = ['9pnet_virtio', '9p', 'overlay'];
const VFIO_MODULES = ['vfio_iommu_type1', 'vfio-pci'];
const CDEV_MODULES = ['iommufd', ...VFIO_MODULES, 'mtty', 'mdpy', 'mbochs'];

/** To be raised when the steps below change in a way that the constants above do not show. */
const VERSION = '2';

const NEEDS: readonly Need[] = [
  { package: 'gcc', shows: 'gcc' },
  { package: 'make', shows: 'make' },
  { package: 'xz-utils', shows: 'xz' },
  { package: 'zstd', shows: 'zstd' },
  { package: 'binutils', shows: 'objcopy' },
];

/**
 * An unmodified Debian 6.12 kernel. Its VFIO modules are built a second time, with cdevs: lane
 * `cdev` prefers those, lane `stock` has Debian's alone.
 */
export function quickRecipe(init: string): Recipe {
  return {
    series: '6.12',
    hash: recipeHash(VERSION, JSON.stringify([OPTIONS, SOURCES, KBUILD, UNWANTED]), init),
    needs: NEEDS,
    build: (folder) => build(folder, init),
  };
}

async function build(folder: string, init: string): Promise<string> {
  const work = join(folder, 'work');
  await mkdir(work);
  const { apt, release } = await step('looking for the newest 6.12 kernel', () => discover(work));
  const source = await download(apt, release, work);
  const stock: ModuleTree = { base: join(folder, 'stock'), release };
  const cdev: ModuleTree = { base: join(folder, 'cdev'), release };
  await step('unpacking the parts of the sources needed', () => unpackSources(work, source));
  await step('building the VFIO modules', () => buildModules(work, release));
  await step('indexing the modules', async () => {
    await arrange(work, folder, release);
    await Promise.all([stock, cdev].map(({ base }) => run('depmod', ['-b', base, release])));
  });
  await step('packing the initramfs', async () => {
    const lists = { root: ROOT_MODULES, vfio: VFIO_MODULES };
    await makeInitramfs(join(stock.base, 'initrd'), init, stock, lists);
    await makeInitramfs(join(cdev.base, 'initrd'), init, cdev, { ...lists, vfio: CDEV_MODULES });
  });
  await rm(work, { recursive: true });
  return release;
}

async function discover(work: string): Promise<{ apt: Apt; release: string }> {
  const apt = await hostRelease(join(work, 'apt'));
  return { apt, release: await newestImage(apt) };
}

/** The release of the newest ordinary 6.12 kernel, as `uname -r` will print it. */
export async function newestImage(apt: Apt): Promise<string> {
  const images = await apt.search(/^linux-image-6\.12\.\d+\S*-amd64$/);
  const newest = images.filter((name) => !/-(cloud|rt)-/.test(name)).at(-1);
  if (!newest) throw new LabError("this host's Debian release has no linux-image-6.12.*-amd64");
  return newest.replace('linux-image-', '');
}

/** Returns the name of the sources' folder inside their archive. */
async function download(apt: Apt, release: string, work: string): Promise<string> {
  const headers = `linux-headers-${release}`;
  const needed = await apt.depends(headers);
  const parts = needed.filter((name) => /^linux-(headers|kbuild)-/.test(name));
  const names = [`linux-image-${release}`, headers, ...parts, 'linux-source-6.12'];
  const downloads = join(work, 'downloads');
  await step(`downloading Linux ${release} (280 MB)`, () => apt.download(names, downloads));
  await step('unpacking the packages', () => unpackAll(downloads, join(work, 'unpacked')));
  return 'linux-source-6.12';
}

async function unpackSources(work: string, source: string): Promise<void> {
  const archive = join(work, 'unpacked/usr/src', `${source}.tar.xz`);
  const members = SOURCES.map((path) => `${source}/${path}`);
  await run('tar', ['--use-compress-program=xz -T0', '-xf', archive, '-C', work, ...members]);
  await rename(join(work, source), join(work, 'modules'));
}

async function buildModules(work: string, release: string): Promise<void> {
  const modules = join(work, 'modules');
  const headers = join(work, 'unpacked/usr/src', `linux-headers-${release}`);
  await writeFile(join(modules, 'Kbuild'), KBUILD);
  await addToIommufd(modules);
  await pointToUnpacked(join(headers, 'Makefile'), join(work, 'unpacked'));
  const makeOptions = Object.entries(OPTIONS).map(([name, value]) => `CONFIG_${name}=${value}`);
  // The headers' own autoconf.h says nothing of these options, so the compiler is told as well.
  const defines = Object.entries(OPTIONS).map(
    ([name, value]) => `-DCONFIG_${name}${value === 'm' ? '_MODULE' : ''}=1`,
  );
  await run('make', [
    '--silent',
    `--jobs=${availableParallelism()}`,
    `--directory=${headers}`,
    `M=${modules}`,
    ...makeOptions,
    // BTF would need pahole, and nothing here reads it.
    'CONFIG_DEBUG_INFO_BTF_MODULES=',
    `KCFLAGS=-g0 ${defines.join(' ')}`,
    'modules',
  ]);
}

/** Debian's kernel image lacks two things that iommufd calls: they are linked into the module. */
async function addToIommufd(modules: string): Promise<void> {
  const folder = join(modules, 'drivers/iommu/iommufd');
  const makefile = join(folder, 'Makefile');
  const rules = await readFile(makefile, 'utf8');
  const apart = /^obj-\$\(CONFIG_IOMMUFD_DRIVER\).*$/m;
  await writeFile(makefile, rules.replace(apart, 'iommufd-y += iova_bitmap.o span_iter.o'));
  // All of interval_tree.c but the tree itself, which the image does have.
  const tree = await readFile(join(modules, 'lib/interval_tree.c'), 'utf8');
  const iterator = tree.replace(/^INTERVAL_TREE_DEFINE[^]*?(?=^#ifdef)/m, '');
  await writeFile(join(folder, 'span_iter.c'), iterator);
}

/** The headers name one absolute path of an installed system. */
async function pointToUnpacked(makefile: string, unpacked: string): Promise<void> {
  const text = await readFile(makefile, 'utf8');
  await writeFile(makefile, text.replace(/^include \/usr/m, `include ${unpacked}/usr`));
}

/** Puts what stays in its final place: the image, Debian's modules, the same with ours on top. */
async function arrange(work: string, folder: string, release: string): Promise<void> {
  const tree = join(work, 'unpacked/lib/modules', release);
  for (const path of UNWANTED) await rm(join(tree, 'kernel', path), { recursive: true });
  const packed = join(work, 'unpacked/boot', `vmlinuz-${release}`);
  const extract = join(work, 'modules/scripts/extract-vmlinux');
  // QEMU starts the plain image directly, which saves the guest more than a second of unpacking.
  await run('sh', ['-c', 'sh "$1" "$2" >"$3"', 'sh', extract, packed, join(folder, 'vmlinux')]);
  for (const lane of ['stock', 'cdev'])
    await mkdir(join(folder, lane, 'lib/modules'), { recursive: true });
  const stock = join(folder, 'stock/lib/modules', release);
  const cdev = join(folder, 'cdev/lib/modules', release);
  await rename(tree, stock);
  await run('cp', ['--archive', '--link', stock, cdev]);
  // depmod prefers this folder to Debian's modules of the same name.
  const updates = join(cdev, 'updates');
  await mkdir(updates);
  const files = await readdir(join(work, 'modules'), { recursive: true });
  for (const file of files.filter((name) => name.endsWith('.ko'))) {
    await cp(join(work, 'modules', file), join(updates, file.replace(/.*\//, '')));
  }
}
