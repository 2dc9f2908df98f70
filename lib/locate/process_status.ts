import { fs } from '../core/builtins.ts';
import { undefinedIfMissing } from './sysfs.ts';

/**
 * The fields of a process's /proc/<pid>/status by their names, such as `VmPin`; undefined where it
 * is not there. It is read as a whole: a process in many groups has a long one, of which most comes
 * after these. A process chooses its own name, in which only the newline and the backslash are
 * escaped, so lines end at newlines alone.
 *
 * @throws VfioError such as `EACCES`; `ESRCH` of a process that ended meanwhile
 */
export function processStatus(path: string): ReadonlyMap<string, string> | undefined {
  const text = undefinedIfMissing('open', path, () => fs.readFileSync(path, 'utf8'));
  if (text === undefined) return undefined;
  const lines = text.split('\n').map((line): [string, string] => {
    const at = line.indexOf(':');
    return [line.slice(0, at), line.slice(at + 1).trim()];
  });
  return new Map(lines);
}
