import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { binding } from '../../lib/core/binding.ts';
import { Iommufd, openCdev, VfioDevice } from '../../lib/index.ts';
import { describe } from 'mocha';
import { abortAtEachStep } from '../support/abort_steps.ts';
import { itEachKind } from '../support/devices.ts';
import { withBinding } from '../support/fake_binding.ts';
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
    const isSlow = ['e1000e', 'nvme'].includes(spec.kind);
    const ways = isSlow ? [{ iommufd }] : [{}, { iommufd }];
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
    const { bind } = binding();
    const reason = new Error('enough');
    for (let round = 0; round < 4; round++) {
      const abort = new AbortController();
      const aborting: typeof bind = (...args) => {
        const answer = bind(...args);
        abort.abort(reason);
        return answer;
      };
      const { signal } = abort;
      await withBinding({ bind: aborting }, () =>
        assert.rejects(VfioDevice.open(spec, { signal }), reason),
      );
      assertNoMore(vfioFds(), fds);
      VfioDevice.openSync(spec).closeSync();
    }
  });
});
