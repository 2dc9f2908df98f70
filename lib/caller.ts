/** Our own function, its caller, and one more: between may be a function such as `Array.map`. */
const frames = 3;

/** Frames of the program's own code have a place; those of the engine and of Node are no help. */
const frameOfProgram = /^ +at (?!.*\(?node:)(.+:\d+:\d+\)?)$/m;

/**
 * Where the program called the function of this package that calls this one: such as
 * `main (file:///srv/app/main.js:12:7)`, through source maps where Node applies them. Undefined where
 * no code of the program is near. It is a text at once, because a stack that is not formatted yet
 * holds the receivers of its frames: what a method opens would then keep its object for ever.
 */
export function callerPlace(): string | undefined {
  // The limit is the whole program's, but nobody else runs until it is put back. Where it is frozen,
  // the stack is as long as it is.
  const limit = Error.stackTraceLimit;
  const target: { stack?: unknown } = {};
  Reflect.set(Error, 'stackTraceLimit', frames);
  Error.captureStackTrace(target, callerPlace);
  Reflect.set(Error, 'stackTraceLimit', limit);
  // Formatted here; by the program's Error.prepareStackTrace, if it has one, to whatever it likes.
  const { stack } = target;
  if (typeof stack !== 'string') return undefined;
  const afterOurs = stack.indexOf('\n', stack.indexOf('\n') + 1);
  return afterOurs < 0 ? undefined : frameOfProgram.exec(stack.slice(afterOurs))?.[1];
}
