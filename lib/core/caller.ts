/** Our own function, its caller, and one more: between may be a function such as `Array.map`. */
const frames = 3;

/** Frames of the program's own code have a place; those of the engine and of Node are no help. */
const frameOfProgram = /^ +at (?!.*\(?node:)(.+:\d+:\d+\)?)$/m;

/**
 * Where the program called the function of this package that calls {@link callerPlace}. Only the
 * stack is taken at once; the text of it, which takes as long again, is made at the end of the
 * loop's turn: a microtask would come before the kernel has begun to bind. Until then the stack
 * holds the receivers of its frames, so that what a method opens keeps its object; no longer.
 */
export class CallerPlace {
  #stack: { stack?: unknown } | undefined;
  #text: string | undefined;

  constructor(stack: { stack?: unknown }) {
    this.#stack = stack;
    setImmediate(() => this.text);
  }

  /**
   * Such as `main (file:///srv/app/main.js:12:7)`, through source maps where Node applies them.
   * Undefined where no code of the program is near.
   */
  get text(): string | undefined {
    if (this.#stack === undefined) return this.#text;
    const { stack } = this.#stack;
    this.#stack = undefined;
    this.#text = placeIn(stack);
    return this.#text;
  }
}

/** The place of the caller of the function that calls this one. */
export function callerPlace(): CallerPlace {
  // The limit is the whole program's, but nobody else runs until it is put back. Where it is
  // frozen, the stack is as long as it is.
  const limit = Error.stackTraceLimit;
  const target: { stack?: unknown } = {};
  Reflect.set(Error, 'stackTraceLimit', frames);
  Error.captureStackTrace(target, callerPlace);
  Reflect.set(Error, 'stackTraceLimit', limit);
  return new CallerPlace(target);
}

/** Formatted by the program's Error.prepareStackTrace, if it has one, it may be anything. */
function placeIn(stack: unknown): string | undefined {
  if (typeof stack !== 'string') return undefined;
  const afterOurs = stack.indexOf('\n', stack.indexOf('\n') + 1);
  return afterOurs < 0 ? undefined : frameOfProgram.exec(stack.slice(afterOurs))?.[1];
}
