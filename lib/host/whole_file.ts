import { fs } from '../core/builtins.ts';
import { attempt, undefinedIfMissing } from '../locate/sysfs.ts';

// Files that others read, which are there as a whole or not at all: they are written under another
// name, which is no rule to udev and no record to us, and get their own when they are on the disk.

/** Creates a folder and those on the way to it, and writes a file in it. */
export function writeWhole(path: string, text: string): void {
  const undo = writeUnfinished(path, text);
  try {
    finish(path);
  } catch (error) {
    undo();
    throw error;
  }
}

/** Writes a file that {@link finish} then puts in its place. Answers what takes it away again. */
export function writeUnfinished(path: string, text: string): () => void {
  const folder = folderOf(path);
  const unfinished = unfinishedOf(path);
  const remove = (): void => {
    attempt('unlink', unfinished, () => {
      fs.rmSync(unfinished, { force: true });
    });
  };
  attempt('mkdir', folder, () => fs.mkdirSync(folder, { recursive: true, mode: 0o755 }));
  // What a killed command left.
  remove();
  try {
    attempt('write', unfinished, () => {
      writeNew(unfinished, text);
    });
  } catch (error) {
    remove();
    throw error;
  }
  return remove;
}

function writeNew(path: string, text: string): void {
  const fd = fs.openSync(path, 'wx', 0o644);
  try {
    fs.writeFileSync(fd, text);
    // Others read it, whatever the umask.
    fs.fchmodSync(fd, 0o644);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Puts what was written in its place. */
export function finish(path: string): void {
  attempt('rename', path, () => {
    fs.renameSync(unfinishedOf(path), path);
  });
}

/** Removes a file; false where there is none. */
export function removeFile(path: string): boolean {
  const remove = (): true => {
    fs.unlinkSync(path);
    return true;
  };
  return undefinedIfMissing('unlink', path, remove) ?? false;
}

export function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function unfinishedOf(path: string): string {
  return `${folderOf(path)}/.${path.slice(path.lastIndexOf('/') + 1)}.new`;
}
