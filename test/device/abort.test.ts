import assert from 'node:assert/strict';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { Iommufd, openCdev, VfioDevice } from '../../lib/index.ts';
import { describe } from 'mocha';
import { abortAtEachStep } from '../support/abort_steps.ts';
import { itEachKind } from '../support/devices.ts';
import { assertNoMore, libraryFds, vfioFds } from '../support/proc.ts';

describe('an open that is aborted', () => {
  itEachKind('leaves no descriptor at any step, and the device opens at once', async (spec) => {
    using iommufd = Iommufd.open();
    const fds = libraryFds();
    const check = async (): Promise<void> => {
      // The eventfds of the requests that it would have told of, too: libuv lets go of them in a
      // turn.
      await turn();
      assertNoMore(libraryFds(), fds);
      VfioDevice.openSync(spec).closeSync();
      await turn();
    };
    const cdevSteps = await abortAtEachStep({
      open: (signal) => openCdev(spec, { signal }),
      check,
    });
    assert.equal(cdevSteps.at(-1), 'fstat');
    // Each step costs a reset where the device has one.
    const ways = spec.kind === 'nvme' ? [{ iommufd }] : [{}, { iommufd }];
    for (const given of ways) {
      const steps = await abortAtEachStep({
        open: (signal) => VfioDevice.open(spec, { ...given, signal }),
        check,
      });
      const isWhole = steps.includes('bind') && steps.includes('getIrqInfos');
      assert.ok(isWhole, steps.join());
    }
    assert.ok(iommufd.createIoas().id > 0);
    assertNoMore(libraryFds(), fds);
  });

  itEachKind('while the bind is in the kernel closes the device again', async (spec) => {
    const fds = vfioFds();
    for (let after = 0; after < 12; after++) {
      const abort = new AbortController();
      const opening = VfioDevice.open(spec, { signal: abort.signal });
      const outcome = opening.then(
        (device) => device.close(),
        (error: unknown) => {
          assert.equal(error, abort.signal.reason);
        },
      );
      await delay(after);
      abort.abort();
      await outcome;
      assertNoMore(vfioFds(), fds);
      VfioDevice.openSync(spec).closeSync();
    }
  });
});
