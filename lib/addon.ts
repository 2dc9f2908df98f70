import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fs } from './core/builtins.ts';
import { VfioError } from './core/errors.ts';

/**
 * Names the addon's file where the library cannot know its place: in bundles and single-file
 * programs.
 */
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
    requireAddon(found);
    process.dlopen(addon, found);
  } catch (error) {
    throw notLoaded(found, error);
  }
  if (!('readFolders' in Object(addon.exports)))
    throw notLoaded(found, new Error('it is the addon of something else'));
  return addon.exports;
}

/**
 * The dynamic linker says of a file for another machine that it is not there, and dies of one cut
 * short.
 */
function requireAddon(path: string): void {
  const { length, head } = headOf(path);
  const addon = elfOf(head);
  if (addon === undefined) throw new Error('it is no library of a 64-bit Linux');
  if (addon.end > length) throw new Error('the file is cut short');
  const own = ownElf();
  if (own === undefined || own.machine === addon.machine) return;
  throw new Error(
    `it is for another machine (${addon.machine} in its ELF header; Node's is ${own.machine})`,
  );
}

/** undefined where Node may not read itself. */
function ownElf(): Elf | undefined {
  try {
    return elfOf(headOf(process.execPath).head);
  } catch (error) {
    if (codeOf(error) === 'ERR_ACCESS_DENIED' || codeOf(error) === 'EACCES') return undefined;
    throw error;
  }
}

interface Elf {
  machine: number;
  /** Where the table of sections ends, which is the last part of a file. */
  end: number;
}

/**
 * Offsets in `Elf64_Ehdr` (elf(5)), which is little-endian like the machines that Node runs on with
 * VFIO.
 */
function elfOf(head: Buffer): Elf | undefined {
  const [magic, class64] = ['\x7fELF', 2];
  if (head.toString('latin1', 0, 4) !== magic || head[4] !== class64) return undefined;
  const sections = head.readUInt16LE(58) * head.readUInt16LE(60);
  return { machine: head.readUInt16LE(18), end: Number(head.readBigUInt64LE(40)) + sections };
}

/**
 * The addon's file. What threads share is in the loaded addon, so copies of the package that have
 * each its own share nothing.
 *
 * @throws VfioError `ERR_VFIO_ADDON_NOT_FOUND`
 */
export function addonFile(): string {
  const places = addonPlaces();
  const found = places.find(isThere);
  if (found === undefined) throw notFound(places);
  return found;
}

function namedFile(): string | undefined {
  const named = process.env[pathVariable];
  return named === '' ? undefined : named;
}

function isThere(place: string): boolean {
  try {
    if (fs.statSync(place).isFile()) return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false;
    throw notLoaded(place, error);
  }
  throw notLoaded(place, new Error('it is no regular file'));
}

function addonPlaces(): string[] {
  const named = namedFile();
  if (named !== undefined)
    return [named.startsWith('file:') ? fileURLToPath(named) : resolve(named)];
  const prebuilt = `prebuilds/${process.platform}-${process.arch}/vfio.${libc()}.node`;
  const places = ['build/Release/vfio.node', prebuilt];
  // Seen from `lib/` and from `dist/` alike. A bundle in CommonJS has no URL of its own, and the
  // working folder, which may be anybody's, is no place to take code from.
  const here = import.meta.url as string | undefined;
  if (here === undefined) return [];
  return places.map((place) => fileURLToPath(new URL(`../${place}`, here)));
}

/** The C library of the running Node: a program for musl names musl's loader in its first bytes. */
function libc(): 'glibc' | 'musl' {
  try {
    return headOf(process.execPath).head.includes('/ld-musl-') ? 'musl' : 'glibc';
  } catch {
    // Under --permission, Node may not read itself. Its report knows too, and takes 30 ms.
    const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
    return header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
  }
}

function headOf(path: string): { head: Buffer; length: number } {
  const head = Buffer.alloc(2048);
  const fd = fs.openSync(path, 'r');
  try {
    fs.readSync(fd, head);
    return { head, length: fs.fstatSync(fd).size };
  } finally {
    fs.closeSync(fd);
  }
}

function notFound(places: readonly string[]): VfioError {
  const code = 'ERR_VFIO_ADDON_NOT_FOUND';
  const missing = `there is no addon for ${machine()}`;
  const looked = `looked for ${places.join(' and ')}`;
  if (namedFile() !== undefined) {
    return new VfioError({
      code,
      message: `${missing} where ${pathVariable} says (${looked})`,
      hint: namedHint(),
    });
  }
  if (places.length === 0) {
    return new VfioError({
      code,
      message: `${missing}: this is a bundle in CommonJS, which knows no place to look for it`,
      hint: namedHint(),
    });
  }
  return new VfioError({
    code,
    message: `${missing} (${looked})`,
    hint:
      `where the package is installed, 'npx vfio build' builds it from source; ` +
      `in a bundle, ${pathVariable} names its file`,
  });
}

function namedHint(): string {
  return (
    `${pathVariable} has to name the addon's file, which the package has as ` +
    `prebuilds/${process.platform}-${process.arch}/vfio.${libc()}.node, or as build/Release/vfio.node ` +
    `after 'npx vfio build'`
  );
}

function notLoaded(path: string, cause: unknown): VfioError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new VfioError({
    code: 'ERR_VFIO_ADDON_NOT_LOADED',
    message: `the addon does not load on ${machine()}: ${path}: ${why}`,
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
  if (codeOf(cause) === 'EACCES')
    return 'the user that runs this must have the right to read the file';
  if (namedFile() !== undefined) return namedHint();
  return `'npx vfio build' builds it from source for this machine`;
}

function machine(): string {
  return `${process.platform} ${process.arch} (${libc()}), Node ${process.versions.node}`;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/**
 * Runtimes that imitate Node, and lack functions of libuv that the addon calls: they would die of
 * it.
 */
const others = ['bun', 'deno'] as const;

/**
 * The package can be imported everywhere; only what reaches for a device needs Linux, and Node
 * itself.
 *
 * @throws VfioError `ERR_VFIO_UNSUPPORTED_PLATFORM`, `ERR_VFIO_UNSUPPORTED_RUNTIME`
 */
export function requirePlatform(): void {
  if (process.platform !== 'linux') {
    throw new VfioError({
      code: 'ERR_VFIO_UNSUPPORTED_PLATFORM',
      message: `VFIO is an interface of the Linux kernel; this is ${process.platform}`,
    });
  }
  const runtime = others.find((name) => process.versions[name] !== undefined);
  if (runtime === undefined) return;
  throw new VfioError({
    code: 'ERR_VFIO_UNSUPPORTED_RUNTIME',
    message: `the addon needs functions of libuv that ${runtime} ${process.versions[runtime]} may lack: it runs under Node only`,
  });
}
