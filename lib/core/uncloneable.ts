type Mark = (object: object) => void;

let mark: Mark | undefined;

/**
 * `postMessage` and `structuredClone` throw DataCloneError for it. Without that, what they make of
 * an object whose state is private has nothing in it. Node 20 cannot be told so.
 */
export function makeUncloneable(handle: object): void {
  mark ??= marker();
  mark(handle);
}

function marker(): Mark {
  const threads: object = process.getBuiltinModule('node:worker_threads');
  return (threads as { markAsUncloneable?: Mark }).markAsUncloneable ?? (() => undefined);
}
