import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
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
    await writeWhole(folder, name, text);
    return before === undefined ? 'written' : 'replaced';
  } catch (error) {
    throw error instanceof VfioError ? error : notWritten(path, folder, error);
  }
}

/** The text of the file that is there already; undefined where there is none. */
async function ownText(path: string, { isOurs }: OwnFile): Promise<string | undefined> {
  const stats = await lstat(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (stats === undefined) return undefined;
  const text = stats.isFile() ? await readFile(path, 'utf8') : undefined;
  if (text !== undefined && isOurs(text)) return text;
  throw new VfioError({
    code: 'EEXIST',
    message: `${path} is there already, and is not a file that this command wrote; it is left as it is`,
    path,
    hint: 'look at it, and rename or remove it; or write elsewhere: --dir FOLDER',
  });
}

/** Readable by all, whatever the umask: the readers are others. */
const readable = 0o644;

async function writeWhole(folder: string, name: string, text: string): Promise<void> {
  const temporary = join(folder, `.${name}.${randomBytes(6).toString('hex')}`);
  const file = await open(temporary, 'wx', 0o600);
  try {
    try {
      await file.writeFile(text);
      await file.chmod(readable);
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

function notWritten(path: string, folder: string, error: unknown): VfioError {
  const code = codeOf(error);
  if (code === undefined) throw error;
  const { message } = error as Error;
  return new VfioError({
    code: code as VfioErrorCode,
    message: `${path} was not written: ${message}`,
    path,
    hint: hints[code]?.(folder),
    cause: error,
  });
}

const asRoot = (folder: string): string => `${folder} is root's to write: sudo, or --dir FOLDER`;

const hints: Partial<Record<string, (folder: string) => string>> = {
  EACCES: asRoot,
  EPERM: asRoot,
  ENOENT: (folder) => `${folder} has to be there: make it, or --dir FOLDER`,
  EROFS: (folder) => `${folder} is on a file system that is mounted for reading only; --dir FOLDER`,
  ENOSPC: (folder) =>
    `make room on the file system of ${folder} (df ${folder}); what was there is unchanged`,
};

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
