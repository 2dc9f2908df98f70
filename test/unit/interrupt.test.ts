import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { constants as os } from 'node:os';
import { describe, it } from 'mocha';
import type { BoundCdev } from '../../lib/backend/cdev_device.ts';
import type { Binding, NativeFd } from '../../lib/core/binding.ts';
import { runSync } from '../../lib/core/steps.ts';
import { Eventfd } from '../../lib/interrupt/eventfd.ts';
import type { Interrupt } from '../../lib/interrupt/interrupt.ts';
import { Interrupts } from '../../lib/interrupt/interrupts.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIrqOwners } from '../support/fake_irq_owners.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';

const { EINVAL, EIO, ENOMEM, ENOSPC } = os.errno;

/** What the lab's kernel does not answer. */
interface Platform {
  /** Vectors that it can give. */
  limit: number;
  /** Whether it answers the limit instead of ENOSPC. */
  positive?: boolean;
  /** Whether it takes no eventfd at all. */
  refuses?: boolean;
}

/** An msix of 64 vectors on a fake platform, and the vectors that are tied there. */
async function onPlatform(
  { limit, positive = false, refuses = false }: Platform,
  body: (msix: Interrupt, tied: number[]) => Promise<void>,
  flags: string[] = ['eventfd', 'noresize'],
): Promise<void> {
  const tied: number[] = [];
  const tie: Binding['setIrqsEventfdSync'] = (_device, _action, _index, start, events) => {
    if (refuses) return -EINVAL;
    if (start + events.length > limit) return positive ? limit : -ENOSPC;
    for (const [at, event] of events.entries()) tied[start + at] = event;
    while (tied.at(-1) === 0) tied.pop();
    return 0;
  };
  const free: Binding['setIrqsSync'] = () => {
    tied.length = 0;
    return 0;
  };
  const fakes: Partial<Binding> = {
    ...fakeIrqOwners(() => free(0 as NativeFd, 0, 0, 0, 0) ?? -EIO),
    setIrqsEventfdSync: tie,
    setIrqsEventfd: (...args) => Promise.resolve(tie(...args) ?? -EIO),
    setIrqsSync: free,
    setIrqs: (...args) => Promise.resolve(free(...args) ?? -EIO),
  };
  const location = { path: '/dev/vfio/devices/vfio0', device: { address: '0000:3b:00.0' } };
  const bound = { fd: { native: 1 }, location } as unknown as BoundCdev;
  const irqs = [{ index: 2, name: 'msix', count: 64, flags }];
  const before = libraryFds();
  await withBinding(fakes, async () => {
    const interrupts = new Interrupts(bound, () => irqs);
    await body(interrupts.get('msix'), tied);
    interrupts.end();
  });
  assertNoMore(libraryFds(), before);
}

const detail = (error: object, name: string): unknown =>
  Object.entries(error).find(([key]) => key === name)?.[1];

const enables = [
  ['enable', (msix: Interrupt, vectors: number): unknown => msix.enable(vectors)],
  ['enableSync', (msix: Interrupt, vectors: number): unknown => msix.enableSync(vectors)],
] as const;

const enablesEventfds = [
  ['enable', (msix: Interrupt, eventfds: (number | null)[]) => msix.enable({ eventfds })],
  ['enableSync', (msix: Interrupt, eventfds: (number | null)[]) => msix.enableSync({ eventfds })],
] as const;

describe('too few vectors', () => {
  for (const [name, enable] of enables) {
    it(`${name}: a positive answer means that none was enabled`, () =>
      onPlatform({ limit: 9, positive: true }, async (msix, tied) => {
        const error = await failure(() => enable(msix, 10), 'ERR_VFIO_TOO_FEW_VECTORS');
        assert.equal(detail(error, 'available'), 9);
        assert.equal(detail(error, 'errno'), undefined);
        assert.match(
          error.message,
          /^the kernel gives 9 of the 10 vectors asked for msix of 0000:3b:00.0: it lacks vectors, or memory; none was en/,
        );
        assert.deepEqual([msix.enabled, tied.length], [false, 0]);
        await enable(msix, 9);
        assert.deepEqual([msix.vectors.length, tied.length], [9, 9]);
      }));

    it(`${name}: ENOSPC is told with the number found by trying`, async () => {
      for (const limit of [0, 1, 8, 31, 62, 63]) {
        await onPlatform({ limit }, async (msix, tied) => {
          const error = await failure(() => enable(msix, 64), 'ENOSPC');
          assert.equal(detail(error, 'available'), limit);
          assert.deepEqual([msix.enabled, tied.length], [false, 0]);
        });
      }
    });
  }

  it('leave a dynamic interrupt as it was, and one with a gap off', async () => {
    await onPlatform(
      { limit: 5 },
      async (msix, tied) => {
        await msix.enable(4);
        const error = await failure(() => msix.resize(6), 'ENOSPC');
        assert.equal(detail(error, 'available'), 4);
        assert.deepEqual([msix.vectors.length, tied.length], [4, 4]);
        assert.equal((await msix.resize(5)).gap, false);
      },
      ['eventfd'],
    );
    await onPlatform({ limit: 5 }, async (msix, tied) => {
      await msix.enable(4);
      assert.equal((await msix.resize(5)).gap, true);
      await failure(() => msix.resize(6), 'ENOSPC');
      assert.deepEqual([msix.enabled, tied.length], [false, 0]);
    });
  });
});

describe('what is no eventfd', () => {
  it('is named where the kernel refuses it', async () => {
    const file = openSync('/dev/null', 'r');
    const own = Eventfd.open('one of the test');
    const ours = own.number;
    try {
      await onPlatform({ limit: 64, refuses: true }, async (msix) => {
        for (const [, enable] of enablesEventfds) {
          const error = await failure(() => enable(msix, [null, ours, file]), 'EINVAL');
          assert.equal(detail(error, 'reason'), 'not-an-eventfd');
          assert.deepEqual(detail(error, 'facts'), { fd: file, found: '/dev/null' });
          assert.match(error.message, new RegExp(`descriptor ${file} .*/dev/null.* is no eventfd`));
          // What is refused for something else is not said to be this.
          const other = await failure(() => enable(msix, [ours]), 'EINVAL');
          assert.equal(detail(other, 'reason'), undefined);
        }
      });
    } finally {
      closeSync(file);
      own.close();
    }
  });

  it('is named where it is not open', () =>
    onPlatform({ limit: 64 }, async (msix) => {
      for (const [, enable] of enablesEventfds) {
        const error = await failure(() => enable(msix, [999_999]), 'EBADF');
        assert.match(error.message, /the eventfd 999999 is not open/);
      }
    }));
});

describe('interrupts', () => {
  it('are none where the device has no vectors', async () => {
    const bound = { location: { device: { address: '0000:3b:00.0' } } } as unknown as BoundCdev;
    const irqs = [
      { index: 2, name: 'msix', count: 0, flags: [] },
      { index: 4, name: 'req', count: 1, flags: [] },
    ];
    const interrupts = new Interrupts(bound, () => irqs);
    for (const enable of ['enable', 'enableSync'] as const) {
      const error = await failure(() => interrupts.get('msix')[enable](), 'ERR_VFIO_NO_IRQ');
      assert.equal(error.message, '0000:3b:00.0 has no vectors of msix');
    }
    const missing = await failure(() => interrupts.get('msi'), 'ERR_VFIO_NO_IRQ');
    assert.equal(missing.message, "0000:3b:00.0 has no interrupt 'msi'; it has 'req' (4)");
    const long = await failure(() => interrupts.get('x'.repeat(100_000)), 'ERR_VFIO_NO_IRQ');
    assert.ok(long.message.length < 300);
  });

  it('that a reset undid, and that could not be enabled again, are so next time, or disabled', async () => {
    const location = { path: '/dev/vfio/devices/vfio0', device: { address: '0000:3b:00.0' } };
    const bound = { fd: { native: 1 }, location } as unknown as BoundCdev;
    const irqs = ['msix', 'req'].map((name, index) => ({ index, name, count: 4, flags: [] }));
    const tied = [false, false];
    let room = true;
    const tie: Binding['setIrqsEventfdSync'] = (_device, _action, index) => {
      if (!room) return -ENOMEM;
      tied[index] = true;
      return 0;
    };
    // As the kernel does where nothing is tied.
    const free: Binding['setIrqsSync'] = (_device, _action, index) => {
      if (!tied[index]) return -EINVAL;
      tied[index] = false;
      return 0;
    };
    const fakes: Partial<Binding> = {
      ...fakeIrqOwners((index) => {
        tied[index] = false;
        return 0;
      }),
      setIrqsEventfdSync: tie,
      setIrqsSync: free,
    };
    await withBinding(fakes, async () => {
      const interrupts = new Interrupts(bound, () => irqs);
      interrupts.arm('req', 0, () => undefined);
      const msix = interrupts.get('msix');
      const [vector] = msix.enableSync(4);
      room = false;
      for (let turn = 0; turn < 2; turn++) {
        await failure(() => {
          runSync(interrupts.restore());
        }, 'ENOMEM');
      }
      assert.deepEqual(tied, [false, true], 'what tells of the device is left alone');
      room = true;
      runSync(interrupts.restore());
      assert.deepEqual(tied, [true, true]);
      assert.equal(msix.vectors[0], vector);
      room = false;
      await failure(() => {
        runSync(interrupts.restore());
      }, 'ENOMEM');
      msix.disableSync();
      assert.equal(msix.enabled, false);
      interrupts.end();
    });
  });

  it('that the package armed itself stay armed where they cannot be disarmed', async () => {
    const location = { device: { address: '0000:3b:00.0' } };
    const bound = { fd: { native: 1 }, location } as unknown as BoundCdev;
    const irqs = [3, 4].map((index) => ({ index, name: `irq${index}`, count: 1, flags: [] }));
    const fakes: Partial<Binding> = {
      ...fakeIrqOwners(() => 0),
      setIrqsEventfdSync: () => 0,
    };
    await withBinding(fakes, async () => {
      const interrupts = new Interrupts(bound, () => irqs);
      for (const { name } of irqs) interrupts.arm(name, 0, () => undefined);
      const disarm = (): void => {
        interrupts.disarm();
      };
      await interrupts.mutex.run(() => failure(disarm, 'ERR_VFIO_BUSY'));
      assert.equal(interrupts.armed, true);
      disarm();
      assert.deepEqual(
        irqs.map(({ name }) => interrupts.get(name).enabled),
        [false, false],
      );
    });
  });
});
