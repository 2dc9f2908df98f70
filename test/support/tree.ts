import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A file's text, or where a symbolic link points. */
export type Entry = string | { pointsTo: string };

const made: string[] = [];

/** A folder with these files, gone after the test where mocha requires this module. */
export function tree(files: Record<string, Entry>): string {
  const root = mkdtempSync(join(tmpdir(), 'vfio-test-'));
  made.push(root);
  put(root, files);
  return root;
}

/** Puts files into a folder that is there. */
export function put(root: string, files: Record<string, Entry>): void {
  for (const [path, entry] of Object.entries(files)) {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    if (typeof entry === 'string') writeFileSync(file, entry);
    else symlinkSync(entry.pointsTo, file);
  }
}

/**
 * For mocha's --require. In parallel mode a process loads this module once and runs many files: a
 * hook that is registered as it loads would be a hook of the first of them only.
 */
export const mochaHooks = {
  afterEach(): void {
    for (const root of made.splice(0)) rmSync(root, { recursive: true });
  },
};
