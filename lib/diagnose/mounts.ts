import { fs } from '../core/builtins.ts';
import { VfioError } from '../core/errors.ts';
import { undefinedIfMissing } from '../locate/sysfs.ts';

/** Where procfs is, which tells what is mounted: `/proc`. */
export interface ProcRoot {
  procRoot?: string;
}

/** The lines of a file that is longer than what the addon reads at once. */
export function linesOf(path: string): string[] {
  const text = undefinedIfMissing('open', path, () => fs.readFileSync(path, 'utf8'));
  return text?.split('\n').filter((line) => line !== '') ?? [];
}

/** A line of `mountinfo`, see proc_pid_mountinfo(5). */
export interface Mount {
  /** `major:minor` of the file system. */
  numbers: string;
  place: string;
  type: string;
  source: string;
}

/** What is mounted in this mount namespace; nothing where /proc does not tell. */
export function mountsIn({ procRoot = '/proc' }: ProcRoot): Mount[] {
  return linesOf(`${procRoot}/self/mountinfo`).map(parse);
}

/** What is mounted in the first process's mount namespace, where this process may see that. */
export function mountsOfInit({ procRoot = '/proc' }: ProcRoot): Mount[] {
  try {
    return linesOf(`${procRoot}/1/mountinfo`).map(parse);
  } catch (error) {
    if (error instanceof VfioError) return [];
    throw error;
  }
}

function parse(line: string): Mount {
  const [mount = '', rest = ''] = line.split(' - ');
  const [, , numbers = '', , place = ''] = mount.split(' ');
  const [type = '', source = ''] = rest.split(' ');
  return { numbers, place, type, source };
}
