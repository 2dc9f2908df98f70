import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import {
  access,
  lstat,
  mkdir,
  open,
  readFile,
  readlink,
  realpath,
  rename,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { VfioError, type VfioErrorCode } from '../index.ts';

/** A file that a command writes for others to read. */
export interface OwnFile {
  folder: string;
  name: string;
  text: string;
  /** The folder is made where it is not there. */
  makeFolder?: boolean;
  /** Whether a file with this text is one that the command wrote. */
  isOurs: (text: string) => boolean;
}

/** What became of it. */
export type Written = 'written' | 'replaced' | 'unchanged';

/**
 * Writes a file that is there as a whole or not at all: under another name, which neither udev nor
 * a container runtime reads, then renamed. A file that the command did not write is left alone.
 *
 * @throws VfioError with the kernel's code, where it could not be written
 */
export async function writeOwnFile(file: OwnFile): Promise<Written> {
  const { folder, name, text, makeFolder = false } = file;
  const path = join(folder, name);
  try {
    if (makeFolder) await mkdir(folder, { recursive: true });
    const before = await ownText(path, file);
    if (before === text) return 'unchanged';
    await writeWhole({ folder, name, text, mode: readable });
    return before === undefined ? 'written' : 'replaced';
  } catch (error) {
    throw error instanceof VfioError ? error : notWritten(path, folder, error, '--dir <folder>');
  }
}

/** The text of the file that is there already; undefined where there is none. */
async function ownText(path: string, { isOurs }: OwnFile): Promise<string | undefined> {
  const stats = await lstat(path).catch(undefinedIfAbsent);
  if (stats === undefined) return undefined;
  const text = stats.isFile() ? await readFile(path, 'utf8') : undefined;
  if (text !== undefined && isOurs(text)) return text;
  throw new VfioError({
    code: 'EEXIST',
    message: `${path} is there already, and is not a file that this command wrote; it is left as it is`,
    path,
    hint: 'look at it, and rename or remove it; or write elsewhere: --dir <folder>',
  });
}

/** Readable by all, whatever the umask: the readers are others. */
const readable = 0o644;

/**
 * Writes the file that a command line names, as a whole or not at all; what is no regular file, such
 * as a pipe, as it is.
 *
 * @throws VfioError with the kernel's code, where it could not be written
 */
export async function writeNamedFile(path: string, text: string): Promise<void> {
  try {
    const place = await placeOf(path);
    if (place === undefined) await writeFile(path, text);
    else await writeWhole({ ...place, text });
  } catch (error) {
    throw notWritten(path, dirname(path), error, 'name a file elsewhere');
  }
}

/**
 * Looks whether {@link writeNamedFile} may write there, before what takes long.
 *
 * @throws VfioError as that does
 */
export async function requireNamedFile(path: string): Promise<void> {
  try {
    const place = await placeOf(path);
    if (place !== undefined) await access(place.folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw notWritten(path, dirname(path), error, 'name a file elsewhere');
  }
}

interface FilePlace {
  folder: string;
  name: string;
  /** undefined for the usual one of a new file. */
  mode: number | undefined;
  /** Whose it was: root's writing makes it not root's. */
  owner?: { uid: number; gid: number } | undefined;
}

/** Where the file itself is, whatever links lead to it; undefined where it is not to be replaced. */
async function placeOf(path: string): Promise<FilePlace | undefined> {
  // Another's open file, by the name of its descriptor: /dev/stdout.
  if (/^\/(?:dev|proc)\//.test(resolve(path))) return undefined;
  const stats = await stat(path).catch(undefinedIfAbsent);
  if (stats !== undefined && !stats.isFile()) return undefined;
  const real = stats === undefined ? await newPath(path) : await realpath(path);
  const owner = process.geteuid?.() === 0 ? stats : undefined;
  return { folder: dirname(real), name: basename(real), mode: stats && stats.mode & 0o777, owner };
}

/** A link to what is not there is followed. */
async function newPath(path: string): Promise<string> {
  const stats = await lstat(path).catch(undefinedIfAbsent);
  return stats?.isSymbolicLink() ? resolve(dirname(path), await readlink(path)) : path;
}

function undefinedIfAbsent(error: unknown): undefined {
  if (codeOf(error) === 'ENOENT') return undefined;
  throw error;
}

async function writeWhole({
  folder,
  name,
  text,
  mode,
  owner,
}: FilePlace & { text: string }): Promise<void> {
  const temporary = join(folder, `.${name}.${randomBytes(6).toString('hex')}`);
  const file = await open(temporary, 'wx', mode === undefined ? 0o666 : 0o600);
  try {
    try {
      await file.writeFile(text);
      if (owner) await file.chown(owner.uid, owner.gid);
      if (mode !== undefined) await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, join(folder, name));
  } catch (error) {
    await unlink(temporary);
    throw error;
  }
  await syncFolder(folder);
}

/** A name lasts once its folder is on the disk. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function notWritten(path: string, folder: string, error: unknown, elsewhere: string): VfioError {
  const code = codeOf(error);
  if (code === undefined) throw error;
  // What follows is the call, and the name that the file had until it would have been whole.
  const [what = ''] = (error as Error).message.split(', ');
  return new VfioError({
    code: code as VfioErrorCode,
    message: `${path} was not written: ${what}`,
    path,
    hint: `${hints[code]?.(folder) ?? `look at ${folder}: ls -ld ${folder}`}; or ${elsewhere}`,
    cause: error,
  });
}

const room = (folder: string): string =>
  `make room on the file system of ${folder} (df ${folder}), what was there is unchanged`;
const rights = (folder: string): string =>
  `only others may write to ${folder}: run it as root (sudo)`;

const hints: Partial<Record<string, (folder: string) => string>> = {
  EACCES: rights,
  EPERM: rights,
  ENOENT: (folder) => `${folder} has to be there: mkdir -p ${folder}`,
  ENOTDIR: (folder) => `${folder} has to be a folder: ls -ld ${folder}`,
  EISDIR: () => 'that is a folder: name a file in it',
  EROFS: (folder) => `${folder} is on a file system that is mounted for reading only`,
  ENOSPC: room,
  EDQUOT: room,
  EFBIG: () => 'a limit of this process keeps files small: ulimit -f',
};

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
