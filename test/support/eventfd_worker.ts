// Run in a worker by test/unit/eventfd.test.ts: has eventfds polled, some of them signalled for
// ever, until it is terminated.

import { parentPort } from 'node:worker_threads';
import { binding, type NativeFd } from '../../lib/core/binding.ts';

const native = binding();

for (let at = 0; at < 8; at++) {
  const event = native.eventfdOpen() as NativeFd;
  const again = (): void => {
    native.eventfdWrite(event, 1);
  };
  native.eventfdWatch(event, at % 2 === 0 ? again : () => undefined);
  again();
  // Closed in the middle of being polled, as some are when an environment ends.
  if (at === 7) native.closeSync(event);
}

parentPort?.postMessage('polling');
