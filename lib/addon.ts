import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fs } from './builtins.ts';
import { VfioError } from './errors.ts';

/** Names the addon's file where the library cannot know its place: in bundles and single-file programs. */
const pathVariable = 'VFIO_ADDON_PATH';

/**
 * Loads the addon of this machine: the one that {@link pathVariable} names; else the one that was
 * built from source here (`npx vfio build`); else the prebuilt one of the package.
 *
 * @throws VfioError `ERR_VFIO_ADDON_NOT_FOUND`, `ERR_VFIO_ADDON_NOT_LOADED`
 */
export function loadAddon(): unknown {
  const found = addonFile();
  // process.dlopen and not require: bundles have none, or one that knows no files.
  const addon = { exports: {} };
  try {
    process.dlopen(addon, found);
  } catch (error) {
    throw notLoaded(found, error);
  }
  return addon.exports;
}

/**
 * The addon's file. What threads share is in the loaded addon, so copies of the package that have each its
 * own share nothing.
 *
 * @throws VfioError `ERR_VFIO_ADDON_NOT_FOUND`
 */
export function addonFile(): string {
  const places = addonPlaces();
  const found = places.find(isThere);
  if (found === undefined) throw notFound(places);
  return found;
}

function isThere(place: string): boolean {
  try {
    fs.accessSync(place);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false;
    throw notLoaded(place, error);
  }
}

function addonPlaces(): string[] {
  const named = process.env[pathVariable];
  if (named !== undefined && named !== '') return [resolve(named)];
  const prebuilt = `prebuilds/${process.platform}-${process.arch}/vfio.${libc()}.node`;
  const places = ['build/Release/vfio.node', prebuilt];
  // Seen from `lib/` and from `dist/` alike. A bundle in CommonJS has no URL of its own.
  const here = import.meta.url as string | undefined;
  if (here === undefined) return places.map((place) => resolve(place));
  return places.map((place) => fileURLToPath(new URL(`../${place}`, here)));
}

/** The C library of the running Node: a program for musl names musl's loader in its first bytes. */
function libc(): 'glibc' | 'musl' {
  try {
    return headOf(process.execPath).includes('/ld-musl-') ? 'musl' : 'glibc';
  } catch {
    // Under --permission, Node may not read itself. Its report knows too, and takes 30 ms.
    const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
    return header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
  }
}

function headOf(path: string): Buffer {
  const head = Buffer.alloc(2048);
  const fd = fs.openSync(path, 'r');
  try {
    fs.readSync(fd, head);
  } finally {
    fs.closeSync(fd);
  }
  return head;
}

function notFound(places: readonly string[]): VfioError {
  const looked = `looked for ${places.join(' and ')}`;
  if (process.env[pathVariable] !== undefined) {
    return new VfioError({
      code: 'ERR_VFIO_ADDON_NOT_FOUND',
      message: `there is no addon where ${pathVariable} says (${looked})`,
    });
  }
  return new VfioError({
    code: 'ERR_VFIO_ADDON_NOT_FOUND',
    message: `there is no addon for ${machine()} (${looked})`,
    hint:
      `where the package is installed, 'npx vfio build' builds it from source; ` +
      `in a bundle, ${pathVariable} names its file`,
  });
}

function notLoaded(path: string, cause: unknown): VfioError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new VfioError({
    code: 'ERR_VFIO_ADDON_NOT_LOADED',
    message: `the addon does not load on ${machine()}: ${why}`,
    path,
    cause,
    hint: hintFor(cause),
  });
}

function hintFor(cause: unknown): string {
  if (codeOf(cause) === 'ERR_DLOPEN_DISABLED') {
    return 'under --permission, Node loads addons with --allow-addons only';
  }
  if (codeOf(cause) === 'ERR_ACCESS_DENIED') {
    return 'under --permission, --allow-fs-read lets Node read the folder of the package';
  }
  return `'npx vfio build' builds it from source for this machine`;
}

function machine(): string {
  return `${process.platform} ${process.arch} (${libc()}), Node ${process.versions.node}`;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
