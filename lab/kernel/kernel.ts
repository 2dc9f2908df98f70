import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { provide } from '../cache.ts';
import { LabError } from '../failure.ts';
import { ensurePackages } from '../packages.ts';
import { quickRecipe } from './quick.ts';
import { wholeRecipe } from './whole.ts';
import type { Recipe } from './recipe.ts';

/** 6.12: Debian's with cdevs. stock: Debian's as it is. 7.3: a whole one of our own. */
export type Lane = '6.12' | 'stock' | '7.3';

/** A kernel ready to boot. */
export interface Kernel {
  lane: Lane;
  /** As `uname -r` prints it. */
  release: string;
  image: string;
  initrd: string;
  /** The folder that is to be `/lib/modules/<release>` in the guest. */
  modules: string;
}

/** Finds the lane's kernel in the cache, or makes it. */
export async function prepareKernel(cache: string, lane: Lane): Promise<Kernel> {
  const init = await readFile(join(import.meta.dirname, '../guest/init'), 'utf8');
  const recipe = recipeFor(lane, init);
  const folder = await provide(cache, `linux-${recipe.series}-${recipe.hash}`, async (made) => {
    checkPath(cache);
    await ensurePackages(recipe.needs);
    await recipe.build(made);
  });
  return describe(folder, lane);
}

function recipeFor(lane: Lane, init: string): Recipe {
  return lane === '7.3' ? wholeRecipe(lane, init) : quickRecipe(init);
}

/** The kernel's own make files take no such path. */
function checkPath(cache: string): void {
  if (/[\s:]/.test(cache)) {
    throw new LabError(`a kernel cannot be built under a path with spaces or colons: ${cache}`);
  }
}

async function describe(folder: string, lane: Lane): Promise<Kernel> {
  const base = join(folder, lane === 'stock' ? 'stock' : 'cdev');
  const [release] = await readdir(join(base, 'lib/modules'));
  if (!release) throw new LabError(`${folder} has no modules; remove it and try again`);
  return {
    lane,
    release,
    image: join(folder, 'vmlinux'),
    initrd: join(base, 'initrd'),
    modules: join(base, 'lib/modules', release),
  };
}
