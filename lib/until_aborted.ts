/** What a signal was aborted with. Older implementations, such as jsdom's, have no reason. */
export function abortReason(signal: AbortSignal): unknown {
  const { reason } = signal as { reason?: unknown };
  return reason === undefined
    ? new DOMException('This operation was aborted', 'AbortError')
    : reason;
}

/** @throws the signal's reason. Not every implementation has a method for it. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortReason(signal);
}

/**
 * What comes of a promise, or the signal's reason as soon as it is aborted; whose promise it is looks
 * at the signal, too.
 */
export async function untilAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) return promise;
  let abort: (() => void) | undefined;
  const aborted = new Promise<never>((_, fail) => {
    abort = () => {
      // The caller's own reason, whatever it is.
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      fail(abortReason(signal));
    };
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (abort) signal.removeEventListener('abort', abort);
  }
}
