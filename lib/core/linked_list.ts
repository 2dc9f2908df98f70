/** An item's place in a list. */
export interface Listed<Item> {
  readonly item: Item;
  before: Listed<Item> | undefined;
  after: Listed<Item> | undefined;
}

/**
 * Items in the order in which they were added. Linked, for what comes and goes all the time: a Set
 * makes its table anew whenever it becomes empty.
 */
export class LinkedList<Item> {
  #first: Listed<Item> | undefined;
  #last: Listed<Item> | undefined;

  /** Answers the item's place, by which it is removed. */
  add(item: Item): Listed<Item> {
    const listed = { item, before: this.#last, after: undefined };
    if (this.#last === undefined) this.#first = listed;
    else this.#last.after = listed;
    this.#last = listed;
    return listed;
  }

  /** Once for each place. */
  remove({ before, after }: Listed<Item>): void {
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
  }

  toArray(): Item[] {
    const items: Item[] = [];
    for (let at = this.#first; at !== undefined; at = at.after) items.push(at.item);
    return items;
  }
}
