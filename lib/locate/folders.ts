import { basename } from 'node:path';
import type { Content } from '../core/binding.ts';
import { check, checkList } from '../core/call.ts';
import { call, type Steps } from '../core/steps.ts';
import type { FactSource } from './facts.ts';
import { attributeCall, isMissing } from './sysfs.ts';

/** So many entries are read at once: making their values keeps the event loop for that long. */
const mostAtOnce = 200;

/**
 * Reads the same entries, marked as the addon takes them, of many folders, and gives those of each
 * folder to `decode`.
 */
export function* readFolders<Item, T>(
  items: readonly Item[],
  folderOf: (item: Item) => string,
  entries: readonly string[],
  decode: (folder: FolderContents, item: Item) => T,
): Steps<T[]> {
  const results: T[] = [];
  const places = new Places(entries);
  const atOnce = Math.max(1, Math.floor(mostAtOnce / entries.length));
  for (let start = 0; start < items.length; start += atOnce) {
    const some = items.slice(start, start + atOnce);
    const folders = some.map(folderOf);
    const answer = yield* call('readFolders', folders, entries);
    const contents = checkList(answer, { syscall: 'readFolders' });
    for (const [at, item] of some.entries()) {
      const first = at * entries.length;
      results.push(decode(new FolderContents(folders[at] ?? '', places, contents, first), item));
    }
  }
  return results;
}

type Mark = '' | '@' | '/' | '?';

/** What the addon asks the kernel for what is no attribute. */
const callOf = { '@': 'readlink', '/': 'open', '?': 'access' } as const;

/**
 * Where each entry stands among those of a folder: looked up for many folders, so without garbage.
 */
class Places {
  readonly #places: Record<Mark, Map<string, number>>;

  constructor(entries: readonly string[]) {
    this.#places = { '': new Map(), '@': new Map(), '/': new Map(), '?': new Map() };
    for (const [at, entry] of entries.entries()) {
      const mark = (/[@/?]$/.exec(entry)?.[0] ?? '') as Mark;
      const name = entry.slice(0, entry.length - mark.length).replace(/:.*$/, '');
      this.#places[mark].set(name, at);
    }
  }

  of(name: string, mark: Mark): number | undefined {
    return this.#places[mark].get(name);
  }
}

/**
 * What was read of a folder. Each answers undefined where the entry is not there (any more), and
 * throws where it is and could not be read.
 */
export class FolderContents implements FactSource {
  readonly #folder: string;
  readonly #places: Places;
  readonly #contents: Content[];
  readonly #first: number;

  constructor(folder: string, places: Places, contents: Content[], first: number) {
    this.#folder = folder;
    this.#places = places;
    this.#contents = contents;
    this.#first = first;
  }

  text(name: string): string | undefined {
    const content = this.#content(name, '');
    return typeof content === 'string' ? content : undefined;
  }

  has(name: string): boolean {
    return this.#content(name, '?') !== undefined;
  }

  linkName(name: string): string | undefined {
    const content = this.#content(name, '@');
    return typeof content === 'string' ? basename(content) : undefined;
  }

  names(name: string): string[] | undefined {
    const content = this.#content(name, '/');
    return typeof content === 'object' ? content : undefined;
  }

  #content(name: string, mark: Mark): Content | undefined {
    const place = this.#places.of(name, mark);
    const content = place === undefined ? undefined : this.#contents[this.#first + place];
    if (typeof content !== 'number' || content === 0) return content;
    if (isMissing(content)) return undefined;
    const path = `${this.#folder}/${name}`;
    check(content, { syscall: mark === '' ? attributeCall(path) : callOf[mark], path });
    return undefined;
  }
}
