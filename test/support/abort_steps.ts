import assert from 'node:assert/strict';
import { binding } from '../../lib/core/binding.ts';
import { withBinding } from './fake_binding.ts';
import { tracedBinding } from './traced_binding.ts';

/** When to abort: before a call into the addon, when it has returned, when its promise settles. */
const moments = ['before', 'returned', 'settled'] as const;

interface Opened {
  close(): Promise<void>;
}

/** An open whose every step is to be aborted. */
export interface AbortedOpen {
  open: (signal: AbortSignal) => Promise<Opened>;
  /** Before each round. */
  prepare?: () => void;
  /** After each aborted round: was everything released? */
  check: () => void | Promise<void>;
  /** Happens before the named call, unless the open was aborted before. */
  on?: Record<string, () => void>;
}

/**
 * Opens again and again, aborting before, in and after the first call into the addon, the second,
 * and so on until an open is done before it comes to that call. Tells which calls that were.
 */
export async function abortAtEachStep(aborted: AbortedOpen): Promise<string[]> {
  const steps: string[] = [];
  for (let step = 0; ; step++) {
    for (const moment of moments) {
      const name = await abortAt(step, moment, aborted);
      if (name === undefined) return steps;
      if (moment === 'before') steps.push(name);
    }
  }
}

/** The name of the call; undefined where the open made fewer calls. */
async function abortAt(
  step: number,
  moment: (typeof moments)[number],
  { open, prepare, check, on = {} }: AbortedOpen,
): Promise<string | undefined> {
  const abort = new AbortController();
  const reason = new Error(`aborted at call ${step}, ${moment}`);
  const give = <T>(value: T): T => {
    abort.abort(reason);
    return value;
  };
  let calls = 0;
  let aborted: string | undefined;
  const traced = tracedBinding((name, call) => {
    if (!abort.signal.aborted) on[name]?.();
    if (calls++ !== step) return call();
    aborted = name;
    if (moment === 'before') abort.abort(reason);
    const answer = call();
    if (moment === 'settled' && answer instanceof Promise) return answer.then(give);
    return give(answer);
  }, binding());
  prepare?.();
  const result = await withBinding(traced, () => settle(open(abort.signal)));
  if (aborted === undefined) {
    assert.ok(result.value, `the open failed: ${String(result.error)}`);
    await result.value.close();
    return undefined;
  }
  assert.equal(result.error, reason, `${reason.message}, ${aborted}: not the abort’s reason`);
  await check();
  return aborted;
}

async function settle<T>(promise: Promise<T>): Promise<{ value?: T; error?: unknown }> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}
