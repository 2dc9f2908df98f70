import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import { notice, Notices } from '../../lib/region/notices.ts';
import { failure } from '../support/errors.ts';

let devices = 0;

/** Descriptors that stand for those of one device that nobody else has. */
function joined(count: number): NativeFd[] {
  const name = `test:notices ${++devices}`;
  return Array.from({ length: count }, () => {
    const fd = binding().eventfdOpen() as NativeFd;
    assert.equal(binding().irqsJoin(fd, name, 0), 0);
    return fd;
  });
}

const asker = (): Notices => new Notices('noticesOfDevice', '0000:3b:00.0');

describe('what a device tells of itself', () => {
  it('is found without the event loop, by all who have the device, and stays', async () => {
    const [first, second] = joined(2) as [NativeFd, NativeFd];
    const event = binding().eventfdOpen() as NativeFd;
    assert.equal(binding().noticesWatch(first, notice.request, event), 0);
    const own = asker();
    assert.equal(own.ask(notice.request, first), false);
    const unheard = await failure(() => own.ask(notice.error, first), 'ERR_VFIO_IRQ_DISABLED');
    assert.match(unheard.message, /interrupt err of 0000:3b:00\.0: .*requestEvents: false/);
    binding().eventfdWrite(event, 1);
    // No turn of the loop in between: the kernel is asked at its clock's next tick.
    while (!own.ask(notice.request, first));
    assert.equal(asker().ask(notice.request, second), true);
    assert.equal(binding().eventfdRead(event), 1, 'the count is left to the loop');
    assert.equal(asker().ask(notice.request, second), true, 'also when the loop has it');
    assert.ok(own.isKnown(notice.request));
    assert.ok(!own.isKnown(notice.error));
    for (const fd of [first, second, event]) binding().closeSync(fd);
  });

  it('is told by who heard it, and of a device that never tells is not', () => {
    const [first, second] = joined(2) as [NativeFd, NativeFd];
    assert.equal(binding().noticesWatch(first, notice.request, 0), 0);
    assert.equal(asker().ask(notice.request, second), false);
    assert.equal(binding().noticesWatch(first, notice.error, 0), 0);
    assert.equal(binding().noticesTell(second, notice.error), 0);
    assert.equal(asker().ask(notice.error, first), true);
    assert.equal(asker().ask(notice.request, first), false);
    for (const fd of [first, second]) binding().closeSync(fd);
  });

  it('is heard by nobody when the eventfd is closed', async () => {
    const [device] = joined(1) as [NativeFd];
    const event = binding().eventfdOpen() as NativeFd;
    binding().noticesWatch(device, notice.request, event);
    assert.equal(asker().ask(notice.request, device), false);
    binding().closeSync(event);
    const askUntilRefused = (): void => {
      for (;;) asker().ask(notice.request, device);
    };
    const givenUp = await failure(askUntilRefused, 'ERR_VFIO_IRQ_DISABLED');
    assert.match(givenUp.message, /any more: its descriptor was handed out/);
    binding().closeSync(device);
  });

  it('is said not to be known where who heard of it has closed the device', async () => {
    const [opener, other] = joined(2) as [NativeFd, NativeFd];
    const event = binding().eventfdOpen() as NativeFd;
    binding().noticesWatch(opener, notice.request, event);
    binding().closeSync(event);
    binding().closeSync(opener);
    const askUntilRefused = (): void => {
      for (;;) asker().ask(notice.request, other);
    };
    const error = await failure(askUntilRefused, 'ERR_VFIO_IRQ_DISABLED');
    assert.equal(
      error.message,
      'who opened 0000:3b:00.0 and heard of it has closed it: whether it is wanted back cannot be told any more',
    );
    const again = binding().eventfdOpen() as NativeFd;
    binding().noticesWatch(other, notice.request, again);
    assert.equal(asker().ask(notice.request, other), false, 'who has it hears of it now');
    for (const fd of [other, again]) binding().closeSync(fd);
  });

  it('is refused by the addon where the arguments are none', () => {
    const [device] = joined(1) as [NativeFd];
    const outsider = binding().eventfdOpen() as NativeFd;
    const { noticesWatch, noticesTell } = binding();
    for (const bad of [undefined, null, 0, -1, 1.5, 'x', {}, 4e9, outsider]) {
      assert.equal(noticesWatch(bad as never, 0, 0), undefined);
      assert.equal(noticesTell(bad as never, 0), undefined);
    }
    for (const bad of [undefined, -1, 2, '0']) {
      assert.equal(noticesWatch(device, bad as never, 0), undefined);
      assert.equal(noticesTell(device, bad as never), undefined);
    }
    assert.equal(noticesWatch(device, 0, 4e9 as NativeFd), undefined);
    for (const call of ['noticesOfDevice', 'noticesOfMapping'] as const) {
      for (const handle of [0, 4e9, outsider]) {
        assert.throws(() => new Notices(call, 'x').ask(notice.request, handle), {
          code: 'ERR_VFIO_IRQ_DISABLED',
        });
      }
    }
    assert.throws(() => new Notices('noticesOfMapping', 'x').ask(0, 1));
    for (const fd of [device, outsider]) binding().closeSync(fd);
  });
});
