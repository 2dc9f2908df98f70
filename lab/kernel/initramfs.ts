import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { run } from '../command.ts';

export interface ModuleLists {
  /** What it takes to mount the root. */
  root: readonly string[];
  /** What it takes to have VFIO devices. */
  vfio: readonly string[];
}

/** A folder like `/`, with `lib/modules/<release>` in it, indexed by depmod. */
export interface ModuleTree {
  base: string;
  release: string;
}

/** Parameters that init gives a module; the kernel's command line is for those built in. */
const PARAMETERS: Readonly<Record<string, string>> = { 'vfio-pci': 'enable_sriov=1' };

/**
 * Packs busybox, init and the modules named, with what they depend on, in the order of loading. The
 * modules are stored plain: the guest's processor is emulated, so unpacking them there would cost
 * far more than reading a few bytes more.
 */
export async function makeInitramfs(
  output: string,
  init: string,
  tree: ModuleTree,
  lists: ModuleLists,
): Promise<void> {
  const folder = await mkdtemp(join(dirname(output), 'initramfs-'));
  for (const name of ['bin', 'modules', 'proc', 'sys', 'dev', 'lower', 'upper', 'root', 'shm']) {
    await mkdir(join(folder, name));
  }
  await copyFile('/bin/busybox', join(folder, 'bin/busybox'));
  await symlink('busybox', join(folder, 'bin/sh'));
  await writeFile(join(folder, 'init'), init, { mode: 0o755 });
  const added = new Set<string>();
  await addModules(folder, 'root', await dependencies(tree, lists.root), added);
  await addModules(folder, 'vfio', await dependencies(tree, lists.vfio), added);
  const names = await run('find', ['.', '-print0'], { cwd: folder });
  const pack = ['--null', '--create', '--format=newc', '--owner=0:0', '--quiet', '--file', output];
  await run('cpio', pack, { cwd: folder, input: names });
  await rm(folder, { recursive: true });
}

/** The files of the modules and of all they need; what is built in needs none. */
async function dependencies(tree: ModuleTree, names: readonly string[]): Promise<string[]> {
  const where = ['--dirname', tree.base, '--set-version', tree.release, '--config', '/dev/null'];
  const show = ['--show-depends', '--all', ...names];
  const text = await run('modprobe', [...where, ...show]);
  return [...text.matchAll(/^insmod (\S+)/gm)].map((match) => match[1] ?? '');
}

async function addModules(
  folder: string,
  list: string,
  files: readonly string[],
  added: Set<string>,
): Promise<void> {
  const lines: string[] = [];
  for (const file of files) {
    const name = basename(file).replace(/\.ko(\.xz)?$/, '');
    if (added.has(name)) continue;
    added.add(name);
    await storePlain(file, join(folder, 'modules', `${name}.ko`));
    lines.push(`${name}.ko ${PARAMETERS[name] ?? ''}`.trim() + '\n');
  }
  await writeFile(join(folder, 'modules', `${list}.list`), lines.join(''));
}

/**
 * Signatures and debug data go: an emulated processor needs half a second to check and read those
 * of netfs alone, and this kernel loads unsigned modules as well.
 */
async function storePlain(file: string, target: string): Promise<void> {
  if (file.endsWith('.xz')) {
    await copyFile(file, `${target}.xz`);
    await run('xz', ['--decompress', `${target}.xz`]);
  } else {
    await copyFile(file, target);
  }
  await run('objcopy', ['--strip-debug', '--remove-section=.BTF', target]);
}
