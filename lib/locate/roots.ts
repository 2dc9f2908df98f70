import { posix } from 'node:path';
import { invalidType, invalidValue } from '../core/arguments.ts';
import type { Roots } from '../core/location.ts';

/**
 * Where sysfs and the device nodes are: elsewhere in a container that mounts them so, and in tests.
 */
export interface RootOptions {
  /** Where sysfs is mounted; `/sys`. */
  sysfsRoot?: string | undefined;
  /** The folder of device nodes; `/dev`. */
  devRoot?: string | undefined;
}

/** Where they are if nothing is said. */
export let systemRoots: Roots = { sysfsRoot: '/sys', devRoot: '/dev' };

/** Puts others in their place, for tests. Returns what puts the old ones back. */
export function replaceRoots(other: Roots): () => void {
  const before = systemRoots;
  systemRoots = other;
  return () => {
    systemRoots = before;
  };
}

/**
 * The roots that `options` name, without a slash at the end.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`
 */
export function rootsOf(options: RootOptions): Roots {
  const { sysfsRoot = systemRoots.sysfsRoot, devRoot = systemRoots.devRoot } = options;
  if (sysfsRoot === systemRoots.sysfsRoot && devRoot === systemRoots.devRoot) return systemRoots;
  return { sysfsRoot: folderOf('sysfsRoot', sysfsRoot), devRoot: folderOf('devRoot', devRoot) };
}

/** A folder that an option names, without a slash at the end. @throws TypeError */
export function folderOf(name: string, path: unknown): string {
  const expected = 'the absolute path of a folder';
  if (typeof path !== 'string') throw invalidType(name, expected, path);
  if (!path.startsWith('/') || path.includes('\0')) throw invalidValue(name, expected, path);
  return posix.normalize(path).replace(/\/$/, '');
}
