import type { TracingChannel } from 'node:diagnostics_channel';
import { either, run, runSync, type Steps } from './steps.ts';

/** What came of an operation, which Node adds to its message: neither as long as it goes on. */
export interface Outcome<Result = void> {
  /** Where it is done. */
  result?: Result;
  /** Where it failed: mostly a {@link VfioError}, whose `code` can be counted. */
  error?: unknown;
}

/** The channels `tracing:<name>:start`, `end`, `asyncStart`, `asyncEnd`, `error` of an operation. */
export type OperationChannel<Message extends object> = TracingChannel<unknown, Message>;

/**
 * A task, whose begin and end are told to who listens, as Node's `tracePromise` and `traceSync` do:
 * with one message, of which `about` makes what is known at the begin. Where nobody listens it is
 * the task itself.
 */
export function told<Message extends object, T>(
  channel: OperationChannel<Message>,
  about: () => Message,
  task: Steps<T>,
): Steps<T> {
  if (!channel.hasSubscribers) return task;
  const message = about();
  return either(
    () => channel.tracePromise(() => run(task), message),
    () => channel.traceSync(() => runSync(task), message),
  );
}
