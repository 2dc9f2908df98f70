/** An item's place in a list. */
export interface Listed<Item> {
  readonly item: Item;
  before: Listed<Item> | undefined;
  after: Listed<Item> | undefined;
}

/**
 * Items in the order in which they were added. Linked, for what comes and goes all the time: a Set
 * makes its table anew whenever it becomes empty. And known by its last alone, since writing to
 * what has lived long costs the engine's collector something.
 */
export class LinkedList<Item> {
  #last: Listed<Item> | undefined;

  /** Answers the item's place, by which it is removed. */
  add(item: Item): Listed<Item> {
    const last = this.#last;
    const listed = { item, before: last, after: undefined };
    if (last !== undefined) last.after = listed;
    this.#last = listed;
    return listed;
  }

  /** Once for each place. */
  remove({ before, after }: Listed<Item>): void {
    if (before !== undefined) before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
  }

  toArray(): Item[] {
    const items: Item[] = [];
    for (let at = this.#last; at !== undefined; at = at.before) items.push(at.item);
    return items.reverse();
  }
}
