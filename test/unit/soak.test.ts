import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'mocha';
import { bounds, grown, kernelWarnings, type Gauges } from '../soak/gauges.ts';
import { root } from '../support/root.ts';

const gauges = (exact: Record<string, number>, bounded: Record<string, number> = {}): Gauges => ({
  exact: new Map(Object.entries(exact)),
  bounded: new Map(Object.entries(bounded)),
});

/** The whole of it is `npm run check:soak`. */
describe('a soak', () => {
  /** With what is printed. */
  const soak = (...args: string[]): { status: number | null; printed: string } => {
    const program = new URL('test/soak/main.ts', root).pathname;
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', program, ...args],
      { cwd: root, encoding: 'utf8' },
    );
    return { status, printed: stdout + stderr };
  };

  it('is flat where nothing is left behind', () => {
    const { status, printed } = soak('--rounds', '2000', 'eventfds');
    assert.match(printed, /^eventfds: 2000 rounds, \d+ s: descriptors \d.*: flat$/m);
    assert.equal(status, 0, printed);
  });

  for (const [leak, found] of Object.entries({
    descriptor: /^ {2}descriptor of \/dev\/null: \d+, now \d+$/m,
    thread: /^ {2}threads: /m,
    mapping: /^ {2}mapping of \/memfd:vfio-dma.*: 1, now 10$/m,
    memory: /^ {2}RSS: \d+, now \d+, more than 8192 above it$/m,
  })) {
    it(`is not where it leaves behind a ${leak} now and then`, () => {
      const { status, printed } = soak('--rounds', '2000', '--leak', leak, 'eventfds');
      assert.match(printed, /NOT FLAT/);
      assert.match(printed, found);
      assert.equal(status, 1);
    });
  }

  it('says which there are', () => {
    const { status, printed } = soak('opens', 'nothing');
    assert.equal(status, 2);
    assert.match(printed, /^there is no soak nothing$/m);
    assert.match(printed, /^ {2}opens +100000 × an open and a close/m);
    assert.equal(soak('--rounds', '9').status, 2);
  });

  it('compares pins, threads and descriptors one by one, fewer as well as more', () => {
    const before = gauges({ VmPin: 4, threads: 12, 'descriptor of /dev/iommu': 1 });
    assert.deepEqual(grown(before, before), []);
    assert.deepEqual(grown(before, gauges({ VmPin: 8, threads: 11, 'descriptor of /dev/x': 1 })), [
      'VmPin: 4, now 8',
      'threads: 12, now 11',
      'descriptor of /dev/iommu: 1, now 0',
      'descriptor of /dev/x: 0, now 1',
    ]);
  });

  it('lets RSS, slab and open files grow by their bounds, and no further', () => {
    for (const [name, bound] of Object.entries(bounds)) {
      const before = gauges({}, { [name]: 1000 });
      assert.deepEqual(grown(before, gauges({}, { [name]: 1000 + bound })), []);
      assert.equal(grown(before, gauges({}, { [name]: 1001 + bound })).length, 1);
    }
  });

  it('reads what the kernel says of its own faults', () => {
    const usual = ['vfio-pci 0000:00:02.0: enabling device (0000 -> 0002)', 'edu: reset'];
    const faults = [
      'WARNING: CPU: 0 PID: 1 at drivers/vfio/vfio_main.c:1',
      'BUG: kernel NULL pointer dereference, address: 0000000000000000',
      'refcount_t: underflow; use-after-free.',
      'DMAR: [DMA Write NO_PASID] Request device [00:02.0] fault addr 0x1000',
      'INFO: task node:12 blocked for more than 120 seconds.',
    ];
    assert.deepEqual(kernelWarnings([...usual, ...faults]), faults);
  });
});
