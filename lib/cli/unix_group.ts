import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';

/** What is known of a Unix group. */
export type GroupLookup =
  | { state: 'found'; gid: number }
  | { state: 'absent' }
  /** Not in `/etc/group`, or not to be seen; other sources (LDAP, SSSD) could not be asked. */
  | { state: 'unknown'; why: string };

/** Where groups are looked up. */
export interface GroupSources {
  /** The C library's program, which asks all sources that nsswitch.conf names, as udev does. */
  getent: string;
  file: string;
}

const system: GroupSources = { getent: 'getent', file: '/etc/group' };

/** The group of this name, which is known to be no option of getent's. */
export async function lookUpGroup(
  name: string,
  sources: GroupSources = system,
): Promise<GroupLookup> {
  const asked = await askGetent(name, sources.getent);
  if (asked.state !== 'unknown') return asked;
  const { why } = asked;
  try {
    const gid = gidIn(await readFile(sources.file, 'utf8'), name);
    if (gid !== undefined) return { state: 'found', gid };
    return { state: 'unknown', why: `${sources.file} does not have it, and ${why}` };
  } catch (error) {
    return { state: 'unknown', why: `${why}, and ${(error as Error).message}` };
  }
}

/** A directory server may not answer. */
const mostMilliseconds = 10_000;

function askGetent(name: string, getent: string): Promise<GroupLookup> {
  return new Promise((resolve) => {
    const options = { timeout: mostMilliseconds };
    execFile(getent, ['group', name], options, (error, stdout) => {
      const gid = gidIn(stdout, name);
      if (gid !== undefined) resolve({ state: 'found', gid });
      // The status of getent(1) where a key was not found.
      else if (error?.code === 2) resolve({ state: 'absent' });
      else resolve({ state: 'unknown', why: `${getent} did not tell: ${reasonOf(error)}` });
    });
  });
}

function reasonOf(error: (Error & { code?: unknown; killed?: boolean }) | null): string {
  if (error === null) return 'its answer was no group';
  if (error.killed === true) return `no answer in ${mostMilliseconds / 1000} seconds`;
  if (typeof error.code === 'number') return `exit status ${error.code}`;
  return error.message;
}

/** The number in a line of group(5). */
function gidIn(text: string, name: string): number | undefined {
  const fields = text
    .split('\n')
    .map((line) => line.split(':'))
    .find(([first]) => first === name);
  const number = fields?.[2] ?? '';
  return /^\d+$/.test(number) ? Number(number) : undefined;
}
