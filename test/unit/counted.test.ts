import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { counted } from '../../lib/core/counted.ts';
import { wordsOf } from '../../lib/core/messages.ts';
import { openDevices, VfioDevice } from '../../lib/index.ts';
import { FakeHost } from '../../lib/testing/index.ts';
import { failure } from '../support/errors.ts';

describe('a number of things in a message', () => {
  it('is one of them, or several', () => {
    assert.deepEqual(
      [counted(0, 'vector'), counted(1, 'vector'), counted(1n, 'byte'), counted(2n, 'byte')],
      ['0 vectors', '1 vector', '1 byte', '2 bytes'],
    );
    assert.equal(counted(1, 'entry', 'entries'), '1 entry');
    assert.equal(counted(3, 'entry', 'entries'), '3 entries');
  });

  it('is so in errors', async () => {
    using host = FakeHost.install();
    const fake = host.addDevice({ msix: 2 });
    await using device = await VfioDevice.open(fake.address);
    const msix = device.interrupt('msix');
    await msix.enable(1);
    const enabled = await failure(() => msix.enable(), 'ERR_VFIO_IRQ_ENABLED');
    assert.match(enabled.message, /with 1 vector$/);
    const absent = await openDevices(['0000:99:00.0']).catch((error: unknown) => error);
    assert.match(String(absent), /1 of 1 device did not open/);
  });

  it('is so in reasons', () => {
    const handled = { handled: 0, entries: 1 };
    const { why } = wordsOf({
      reason: 'invalidated-in-part',
      certainty: 'certain',
      facts: handled,
    });
    assert.match(why, /^of 1 entry 0 were handled/);
    const window = { offset: 0, length: 1 };
    const vga = wordsOf({ reason: 'vga-window', certainty: 'certain', facts: window });
    assert.match(vga.why, /^1 byte at 0x0 is not within/);
  });
});
