import { basename } from 'node:path';
import { binding, type Content } from '../binding.ts';
import { check } from '../call.ts';
import type { FactSource } from './facts.ts';
import { requireMissing } from './sysfs.ts';

/**
 * A task that reads many folders, written once: it yields what it wants read and is given the
 * contents, and who runs it decides whether this blocks or not.
 */
export type Reading<T> = Generator<Request, T, Content[]>;

interface Request {
  folders: string[];
  entries: readonly string[];
}

/** Runs a task; the files are read on a thread of the addon's own. */
export async function run<T>(reading: Reading<T>): Promise<T> {
  let step = reading.next();
  while (!step.done) {
    const { folders, entries } = step.value;
    step = reading.next(contentsOf(await binding().readFolders(folders, entries)));
  }
  return step.value;
}

/** Runs a task, blocking. */
export function runSync<T>(reading: Reading<T>): T {
  let step = reading.next();
  while (!step.done) {
    const { folders, entries } = step.value;
    step = reading.next(contentsOf(binding().readFoldersSync(folders, entries)));
  }
  return step.value;
}

/** So many entries are read at once: making their values keeps the event loop for that long. */
const mostAtOnce = 500;

/**
 * Reads the same entries, marked as the addon takes them, of many folders, and gives those of each
 * folder to `decode`.
 */
export function* readFolders<Item, T>(
  items: readonly Item[],
  folderOf: (item: Item) => string,
  entries: readonly string[],
  decode: (folder: FolderContents, item: Item) => T,
): Reading<T[]> {
  const results: T[] = [];
  const places = new Map(entries.map((entry, at) => [entry, at]));
  const atOnce = Math.max(1, Math.floor(mostAtOnce / entries.length));
  for (let start = 0; start < items.length; start += atOnce) {
    const some = items.slice(start, start + atOnce);
    const folders = some.map(folderOf);
    const contents = yield { folders, entries };
    for (const [at, item] of some.entries()) {
      const first = at * entries.length;
      results.push(decode(new FolderContents(folders[at] ?? '', places, contents, first), item));
    }
  }
  return results;
}

/** What was read of a folder. Each answers undefined where the entry is not there (any more). */
export class FolderContents implements FactSource {
  readonly #folder: string;
  /** Where each entry is in the contents of a folder. */
  readonly #places: ReadonlyMap<string, number>;
  readonly #contents: Content[];
  readonly #first: number;

  constructor(
    folder: string,
    places: ReadonlyMap<string, number>,
    contents: Content[],
    first: number,
  ) {
    this.#folder = folder;
    this.#places = places;
    this.#contents = contents;
    this.#first = first;
  }

  text(name: string): string | undefined {
    const content = this.#content(name);
    return typeof content === 'string' ? content.trimEnd() : undefined;
  }

  linkName(name: string): string | undefined {
    const content = this.#content(`${name}@`);
    return typeof content === 'string' ? basename(content) : undefined;
  }

  names(name: string): string[] | undefined {
    const content = this.#content(`${name}/`);
    return typeof content === 'object' ? content : undefined;
  }

  #content(entry: string): Content | undefined {
    const content = this.#contents[this.#first + (this.#places.get(entry) ?? NaN)];
    if (typeof content !== 'number') return content;
    requireMissing(content, `${this.#folder}/${entry}`);
    return undefined;
  }
}

function contentsOf(answer: Content[] | number | undefined): Content[] {
  if (typeof answer === 'object') return answer;
  check(answer, { syscall: 'readFolders' });
  throw new Error(`vfio: the addon answered ${answer} instead of contents; please report this bug`);
}
