// Loaded by mocha before any test (--require): a test's failure tells all errors that it brings
// with it. In parallel mode errors come to the reporter as copies of what is enumerable, so that it
// is too late there.
import Mocha from 'mocha';
import { inspect, types } from 'node:util';

/** An error's stack and, below it, those of the errors within it, each after what it is there. */
export function wholeText(error: unknown): string {
  return textOf(error, new Set());
}

function textOf(error: unknown, told: Set<Error>): string {
  if (!isError(error)) return inspect(error);
  if (told.has(error)) return `${error.name}: ${error.message} (told above)`;
  told.add(error);
  const within = errorsWithin(error).map(
    ([what, each]) => `  ${what}: ${textOf(each, told).replaceAll('\n', '\n  ')}`,
  );
  return [error.stack ?? String(error), ...within].join('\n');
}

function isError(value: unknown): value is Error {
  return types.isNativeError(value) || value instanceof Error;
}

/** What a SuppressedError, an AggregateError and an error with a cause have within them. */
function errorsWithin(error: Error): [string, unknown][] {
  const parts = error as { errors?: unknown; error?: unknown; suppressed?: unknown };
  const errors = Array.isArray(parts.errors) ? (parts.errors as unknown[]) : [];
  return [
    ...errors.map((each, at): [string, unknown] => [`error ${at + 1} of ${errors.length}`, each]),
    ...('suppressed' in error ? suppressedIn(parts) : []),
    ...(error.cause === undefined ? [] : [['caused by', error.cause] as [string, unknown]]),
  ];
}

function suppressedIn(parts: { error?: unknown; suppressed?: unknown }): [string, unknown][] {
  return [
    ['error', parts.error],
    ['suppressed', parts.suppressed],
  ];
}

/** Puts the whole text in the place of the stack, which is what mocha shows and passes on. */
function tellWhole(error: unknown): void {
  if (!isError(error) || errorsWithin(error).length === 0) return;
  Reflect.defineProperty(error, 'stack', { value: wholeText(error), writable: true });
  // Mocha would tell it a second time.
  Reflect.deleteProperty(error, 'cause');
}

interface Failing {
  fail: (this: Mocha.Runner, runnable: unknown, error: unknown, force?: boolean) => void;
}

const prototype = Mocha.Runner.prototype as unknown as Failing;
const { fail } = prototype;
prototype.fail = function (runnable, error, force) {
  tellWhole(error);
  fail.call(this, runnable, error, force);
};
