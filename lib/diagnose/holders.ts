import { checkList } from '../core/call.ts';
import { EACCES, EPERM } from '../core/errno.ts';
import type { Holder, Holding } from '../core/reasons.ts';
import { call, run, runSync, type Steps } from '../core/steps.ts';
import { listNames, readAttribute } from '../locate/sysfs.ts';

/** What the descriptors of a holder lead to. */
export interface Search {
  /** `major:minor` of character devices. */
  numbers: string[];
  /** The texts of links to what has no node. */
  targets: string[];
  /** Not all numbers are known that would have to be looked for: who is not found may be there. */
  isPartial?: boolean;
}

/** Where nobody was looked for. */
export const notSearched: Holding = { holders: [], hidden: 0, searched: false };

/** Whether a search came to its end and found nobody: where it did not, somebody may be there. */
export function foundNobody({ holders, searched }: Holding): boolean {
  return searched && holders.length === 0;
}

/** So many processes are looked at in one call: then the time is looked at. */
const processesAtOnce = 64;

/**
 * The processes that hold one of what is searched for, until the time is up. Read on a thread of
 * the addon's own. Processes of other pid namespaces are not seen.
 *
 * @param own - a descriptor of this process that is not meant
 * @param deadline - in the time of `performance.now()`
 */
export async function findHolders(
  search: Search,
  own: number | undefined,
  deadline: number,
): Promise<Holding> {
  const holding: Holding = { ...notSearched, holders: [] };
  let ring: NodeJS.Timeout | undefined;
  const alarm = new Promise<void>((resolve) => {
    ring = setTimeout(resolve, deadline - performance.now());
  });
  try {
    await Promise.race([run(look(search, own, deadline, holding)), alarm]);
  } finally {
    clearTimeout(ring);
  }
  return { ...holding, holders: [...holding.holders] };
}

/** The blocking form of {@link findHolders}. */
export function findHoldersSync(
  search: Search,
  own: number | undefined,
  deadline: number,
): Holding {
  const holding: Holding = { ...notSearched, holders: [] };
  runSync(look(search, own, deadline, holding));
  return holding;
}

function* look(
  search: Search,
  own: number | undefined,
  deadline: number,
  holding: Holding,
): Steps<void> {
  const isWhole = yield* eachProcess('/proc', search, deadline, (pid, names) => {
    note(holding, pid, names, own);
  });
  holding.searched = isWhole && search.isPartial !== true;
}

/**
 * Has `visit` hear of every process that is seen the names of its descriptors that are searched
 * for, or why these cannot be looked at (-errno). Answers whether all of this pid namespace's
 * processes are seen, and the time sufficed.
 */
export function* eachProcess(
  procRoot: string,
  search: Pick<Search, 'numbers' | 'targets'>,
  deadline: number,
  visit: (pid: number, names: string[] | number) => void,
): Steps<boolean> {
  const numbers = Uint32Array.from(search.numbers.flatMap((text) => text.split(':').map(Number)));
  const pids = (listNames(procRoot) ?? []).map(Number).filter(Number.isInteger);
  // Every namespace has its first process: who does not see that one does not see others'
  // (hidepid), or has no /proc at all.
  const isWhole = pids.includes(1);
  for (let start = 0; start < pids.length; start += processesAtOnce) {
    if (performance.now() > deadline) return false;
    const some = pids.slice(start, start + processesAtOnce);
    const folders = some.map((pid) => `${procRoot}/${pid}/fd`);
    const answer = yield* call('findEntries', folders, numbers, search.targets);
    const found = checkList(answer, { syscall: 'findEntries' });
    for (const [at, names] of found.entries()) visit(some[at] ?? 0, names);
  }
  return isWhole;
}

function note(holding: Holding, pid: number, names: string[] | number, own?: number): void {
  if (isHidden(names)) holding.hidden++;
  // Every other error is that of a process that ended.
  if (typeof names === 'number') return;
  const isOwn = pid === process.pid;
  const others = names.filter((name) => !(isOwn && name === String(own)));
  if (others.length > 0) holding.holders.push(holderOf(pid));
}

/** Whether a process is another user's; EPERM where /proc is mounted with hidepid=1. */
export function isHidden(names: string[] | number): boolean {
  return names === EACCES || names === EPERM;
}

function holderOf(pid: number): Holder {
  return { pid, command: readAttribute(`/proc/${pid}/comm`) ?? '' };
}
