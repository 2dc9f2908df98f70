import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../support/root.ts';

let temporary: string | undefined;
let packed: string | undefined;

/** An empty folder outside the checkout. All of them are removed when the suite has ended. */
export function newFolder(name: string): string {
  temporary ??= mkdtempSync(join(tmpdir(), 'vfio-package-'));
  return mkdtempSync(join(temporary, `${name}-`));
}

export function removeTemporary(): void {
  if (temporary !== undefined) rmSync(temporary, { recursive: true, maxRetries: 5 });
}

/** Packs what was built, once; or takes the tarball that VFIO_TARBALL names. */
export async function pack(): Promise<void> {
  const given = process.env['VFIO_TARBALL'];
  packed = given !== undefined ? resolve(given) : await packInto(newFolder('tarball'));
}

/** The path of the package as it would be published. */
export function tarball(): string {
  if (packed === undefined)
    throw new Error('run these tests with --config test/package/.mocharc.json');
  return packed;
}

async function packInto(folder: string): Promise<string> {
  const { pack } = (await import(new URL('scripts/pack.mjs', root).href)) as Packing;
  return pack(fileURLToPath(root), folder);
}

interface Packing {
  pack: (checkout: string, folder: string) => string;
}
