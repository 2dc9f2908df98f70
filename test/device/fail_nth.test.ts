import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { describeLab } from '../support/devices.ts';
import { canFail, failEach, prepareFailures, type Way, warningsOf } from '../support/fail_nth.ts';
import { backend } from '../support/backend.ts';

// Every allocation that the kernel makes in a native call fails once, the others do not: FAILSLAB
// and /proc/thread-self/fail-nth. All ways to a device are tried in one run, over cdevs.

/** By the device that can do them: edu has no reset of its own, and opens fast. */
const operations = {
  edu: ['open', 'bind', 'attach', 'map', 'unmap', 'region', 'enable', 'disable', 'detach', 'close'],
  nvme0: ['reset'],
} as const;

const ways: readonly Way[] = ['cdev', 'group', 'compat'];

const run = canFail && backend === 'cdev' ? describe : describe.skip;

run('allocations of the kernel that fail (CONFIG_FAILSLAB: npm run lab -- --kernel 7.3)', () => {
  describeLab('one after the other', ['edu', 'nvme0'], (lab) => {
    let total = 0;
    let complaints = '';

    before(() => {
      prepareFailures();
      complaints = warningsOf();
    });

    for (const way of ways) {
      for (const [name, all] of Object.entries(operations)) {
        for (const operation of all) {
          // A group's device is attached as long as it is open.
          if (operation === 'detach' && way !== 'cdev') continue;
          it(`leave nothing behind, and the next try works: ${operation}, by ${way}`, () => {
            const { address } = lab[name as keyof typeof operations];
            const { points, outcomes, warnings, leaked } = failEach(address, way, operation);
            const said = JSON.stringify({ points, outcomes });
            process.stderr.write(`      ${operation} by ${way}: ${said}\n`);
            total += points;
            for (const outcome of Object.keys(outcomes)) {
              assert.match(outcome, /^(?:success|E[A-Z0-9]+|ERR_VFIO_[A-Z_]+)$/, said);
            }
            assert.deepEqual(leaked, { descriptors: 0, pinned: '' }, said);
            assert.deepEqual(warnings, []);
            assert.equal(warningsOf(), complaints, 'the kernel says nothing of itself');
          }).timeout(600_000);
        }
      }
    }

    it('are many', () => {
      process.stderr.write(`      ${total} allocations failed\n`);
      assert.ok(total > 100, `${total}`);
    });
  });
});
