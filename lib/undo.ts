import { messageOf } from './errors.ts';

/**
 * Closes what a failed step leaves behind, then throws the step's error; both errors where closing
 * fails too.
 */
export async function closeAndThrow(error: unknown, close: () => Promise<void>): Promise<never> {
  await close().catch((closing: unknown) => {
    throw bothErrors(error, closing);
  });
  throw error;
}

/** As {@link closeAndThrow}, blocking. */
export function closeSyncAndThrow(error: unknown, close: () => void): never {
  try {
    close();
  } catch (closing) {
    throw bothErrors(error, closing);
  }
  throw error;
}

function bothErrors(error: unknown, closing: unknown): AggregateError {
  const each = `${messageOf(error)}; ${messageOf(closing)}`;
  const message = `an operation failed, and so did closing what it left open: ${each}`;
  return new AggregateError([error, closing], message, { cause: error });
}

/** Waits for all, whatever comes of one; then throws the error of the first that failed. */
export async function allDone(closing: readonly Promise<void>[]): Promise<void> {
  await Promise.allSettled(closing);
  await Promise.all(closing);
}

/** As {@link allDone}, blocking: calls all. */
export function doAll(closing: readonly (() => void)[]): void {
  const errors: unknown[] = [];
  for (const close of closing) {
    try {
      close();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
