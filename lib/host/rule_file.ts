import { fs } from '../core/builtins.ts';
import { messageOf, VfioError } from '../core/errors.ts';
import { attempt, undefinedIfMissing } from '../locate/sysfs.ts';
import type { DriverReport, DriverStep } from './driver_report.ts';
import { finish, folderOf, writeUnfinished, writeWhole } from './whole_file.ts';

/** A rule to write, or to remove where its text is null. */
export interface RuleFile {
  path: string;
  text: string | null;
}

/** By this a file of `--persist` is known. */
export const ruleMarker = '# vfio bind --persist wrote this; vfio unbind --persist removes it.';

/**
 * The text of the rule that is there; undefined where there is none.
 *
 * @throws VfioError `EEXIST` where what is there was not written by `--persist`: another file, or a
 *   link
 */
export function readOwnRule(path: string): string | undefined {
  const stats = undefinedIfMissing('lstat', path, () => fs.lstatSync(path));
  if (stats === undefined) return undefined;
  const text = stats.isFile() ? attempt('read', path, () => fs.readFileSync(path, 'utf8')) : '';
  if (text.startsWith(`${ruleMarker}\n`)) return text;
  throw new VfioError({
    code: 'EEXIST',
    message: `${path} is there already, and vfio bind --persist did not write it; it is left as it is, and so are the devices`,
    path,
    hint: 'look at it, and rename or remove it; then run the same command again',
  });
}

/** Whether there is nothing to do. */
export function isInPlace({ path, text }: RuleFile): boolean {
  return text === (readOwnRule(path) ?? null);
}

/** What is done with rules when the devices are where they shall be, and taken back otherwise. */
export interface RuleChanges {
  /** Puts them in their places; none takes effect before. */
  apply: (report: DriverReport) => void;
  /** Leaves everything as it was; answers the error to throw, with those of this besides. */
  undo: (error: unknown) => unknown;
}

/**
 * Has rules ready before a device is touched: those to write are on the disk, under names that are
 * no rule to udev.
 *
 * @throws VfioError `EEXIST` as {@link readOwnRule}; of the file system `EACCES`, `ENOSPC` and others
 */
export function prepareRules(rules: readonly RuleFile[]): RuleChanges {
  const undo: (() => void)[] = [];
  const undoAll = (error: unknown): unknown => {
    const problems = undo.splice(0).reverse().flatMap(problemOf);
    if (problems.length === 0) return error;
    const all = [error, ...problems];
    return new AggregateError(all, all.map(messageOf).join('; '), { cause: error });
  };
  const changed = rules
    .map((rule) => ({ ...rule, before: readOwnRule(rule.path) }))
    .filter(({ text, before }) => text !== (before ?? null));
  for (const { path, text } of changed) {
    try {
      if (text === null) requireWritable(folderOf(path));
      else undo.push(writeUnfinished(path, text));
    } catch (error) {
      throw undoAll(notPersisted(error, folderOf(path)));
    }
  }
  const apply = (report: DriverReport): void => {
    for (const rule of changed) {
      undo.push(putInPlace(rule));
      report.steps.push(ruleStep(rule));
    }
  };
  return { apply, undo: undoAll };
}

function problemOf(act: () => void): unknown[] {
  try {
    act();
    return [];
  } catch (error) {
    return [error];
  }
}

export function ruleStep({ path, text }: RuleFile): DriverStep {
  return text === null ? { kind: 'remove', path } : { kind: 'file', path, text };
}

function requireWritable(folder: string): void {
  attempt('access', folder, () => {
    fs.accessSync(folder, fs.constants.W_OK);
  });
}

/** Answers what puts back what was there. */
function putInPlace({ path, text, before }: RuleFile & { before: string | undefined }): () => void {
  if (text === null) remove(path);
  else finish(path);
  return () => {
    if (before === undefined) remove(path);
    else writeWhole(path, before);
  };
}

function remove(path: string): void {
  attempt('unlink', path, () => {
    fs.unlinkSync(path);
  });
}

/** The error of what was tried before any device was touched. */
function notPersisted(error: unknown, folder: string): unknown {
  if (!(error instanceof VfioError)) return error;
  const { code, errno, syscall, path, message } = error;
  return new VfioError({
    ...{ code, errno, syscall, path, cause: error },
    message: `the rule for every start cannot be changed, so the devices are left as they are: ${message}`,
    hint: `${hints[code]?.(folder) ?? `look at ${folder}`}; or leave out --persist`,
  });
}

const asRoot = (): string => 'run it as root: sudo';
const room = (folder: string): string => `make room on the file system of ${folder}: df ${folder}`;
const noFolder = (folder: string): string => `${folder} has to be a folder: ls -ld ${folder}`;

const hints: Partial<Record<string, (folder: string) => string>> = {
  EACCES: asRoot,
  EPERM: asRoot,
  EROFS: (folder) => `${folder} is on a file system that is mounted for reading only`,
  ENOSPC: room,
  EDQUOT: room,
  ENOTDIR: noFolder,
  EEXIST: noFolder,
};
