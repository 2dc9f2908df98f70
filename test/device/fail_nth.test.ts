import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { describeLab } from '../support/devices.ts';
import { canFail, failEach, prepareFailures, type Way } from '../support/fail_nth.ts';
import { backend } from '../support/backend.ts';
import { watchComplaints } from '../support/kernel_complaints.ts';

// Every allocation that the kernel makes in a native call fails once, the others do not: FAILSLAB
// and /proc/thread-self/fail-nth. All ways to a device are tried in one run, over cdevs.

/** By the device that can do them: edu has no reset of its own, and opens fast. */
const operations = {
  edu: ['open', 'bind', 'attach', 'map', 'unmap', 'region', 'enable', 'disable', 'detach', 'close'],
  nvme0: ['reset'],
} as const;

const ways: readonly Way[] = ['cdev', 'group', 'compat'];

/** EFAULT is not of the allocator: iommufd has a fault of its own that stands for pages not pinned. */
const rightReasons = ['EFAULT memory-not-pinnable'];

const run = canFail && backend === 'cdev' ? describe : describe.skip;

run('allocations of the kernel that fail (CONFIG_FAILSLAB: npm run lab -- --kernel 7.3)', () => {
  describeLab('one after the other', ['edu', 'nvme0'], (lab) => {
    let [tried, kept] = [0, 0];

    before(prepareFailures);

    for (const way of ways) {
      for (const [name, all] of Object.entries(operations)) {
        for (const operation of all) {
          // A group's device is attached as long as it is open.
          if (operation === 'detach' && way !== 'cdev') continue;
          it(`leave nothing behind, and the next try works: ${operation}, by ${way}`, () => {
            const { address } = lab[name as keyof typeof operations];
            const log = watchComplaints();
            const { points, outcomes, reasons, warnings, leaked } = failEach(
              address,
              way,
              operation,
            );
            const said = JSON.stringify({ points, outcomes, ownWarnings: log.own() });
            process.stderr.write(`      ${operation} by ${way}: ${said}\n`);
            tried += points;
            for (const outcome of Object.keys(outcomes)) {
              assert.match(outcome, /^(?:success|E[A-Z0-9]+|ERR_VFIO_[A-Z_]+)$/, said);
            }
            const wrong = reasons.filter((reason) => !rightReasons.includes(reason));
            assert.deepEqual(wrong, [], 'no reason is given that is not so');
            assert.deepEqual(leaked, { descriptors: 0, pinned: '' }, said);
            assert.deepEqual(warnings, []);
            assert.deepEqual(log.complaints(), [], 'the kernel says nothing of itself');
            kept += points;
          }).timeout(600_000);
        }
      }
    }

    it('are many', () => {
      process.stderr.write(`      ${tried} tried, ${tried - kept} lost\n`);
      assert.ok(tried > 100, `${tried}`);
      assert.equal(kept, tried);
    });
  });
});
