import { constants } from 'node:os';

import { EXIT_DEADLINE, LabError } from './failure.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What may end a run from outside: a signal, the deadline, or a reader that went away. */
export class Interruption {
  /** Resolves to an exit status of the shell's kind, or rejects at the deadline. */
  readonly happened: Promise<number>;
  readonly cancel: () => void;

  constructor(deadlineSeconds: number) {
    const { promise, resolve, reject } = withResolvers();
    this.happened = promise;
    // Nobody may be waiting yet when it happens.
    promise.catch(() => undefined);
    const onSignal = (name: NodeJS.Signals): void => {
      resolve(128 + constants.signals[name]);
    };
    const onWriteError = (error: NodeJS.ErrnoException): void => {
      if (error.code === 'EPIPE') onSignal('SIGPIPE');
      else reject(new LabError(`cannot pass the output on: ${error.message}`));
    };
    const timer = setTimeout(() => {
      const message = `the deadline of ${deadlineSeconds} s has passed; the VM was stopped`;
      reject(new LabError(message, EXIT_DEADLINE));
    }, deadlineSeconds * 1000);
    for (const name of SIGNALS) process.on(name, onSignal);
    for (const stream of [process.stdout, process.stderr]) stream.on('error', onWriteError);
    // The signals stay caught: Ctrl-C reaches us more than once where npm and tsx pass it on, and
    // the later ones must not cut off the stopping of the VM.
    this.cancel = () => {
      clearTimeout(timer);
    };
  }
}

/** Promise.withResolvers, which Node 20 has not. */
function withResolvers(): {
  promise: Promise<number>;
  resolve: (value: number) => void;
  reject: (reason: Error) => void;
} {
  let resolve!: (value: number) => void;
  let reject!: (reason: Error) => void;
  const promise = new Promise<number>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
