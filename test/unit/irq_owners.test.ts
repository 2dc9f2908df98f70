import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import { binding, type Binding, type NativeFd } from '../../lib/core/binding.ts';

const ECANCELED = -125;
const trigger = 32;

/** Descriptors that stand for those of one device, and of another. */
function devices(): Record<'first' | 'second' | 'stranger', NativeFd> {
  const [first, second, stranger] = [1, 2, 3].map(() => binding().eventfdOpen() as NativeFd);
  assert.ok(first !== undefined && second !== undefined && stranger !== undefined);
  const native = binding();
  assert.equal(native.irqsJoin(first, 'test:device', 0), 0);
  assert.equal(native.irqsJoin(second, 'test:device', 0), 0);
  assert.equal(native.irqsJoin(stranger, 'test:other', 0), 0);
  return { first, second, stranger };
}

describe('the owners of an interrupt', () => {
  it('are one at a time, of all descriptors of one device', async () => {
    const native = binding();
    const { first, second, stranger } = devices();
    assert.equal(native.irqsOwner(first, 1), 0);
    assert.equal(native.irqsClaim(first, 1), 1);
    assert.equal(native.irqsClaim(first, 1), 1, 'again');
    assert.equal(native.irqsClaim(second, 1), 0);
    assert.equal(native.irqsClaim(second, 2), 1, 'another interrupt');
    assert.equal(native.irqsClaim(stranger, 1), 1, 'another device');
    assert.equal(native.irqsOwner(first, 1), 1);
    assert.equal(native.irqsOwner(second, 1), 0, 'it is claimed, and not enabled');
    // Only who claimed it may enable it, or disable and keep it.
    const events = new Uint32Array(1);
    assert.equal(native.setIrqsEventfdSync(second, trigger, 1, 0, events), ECANCELED);
    assert.equal(await native.setIrqs(second, trigger, 1, 0, 0), ECANCELED);
    assert.notEqual(native.setIrqsEventfdSync(first, trigger, 1, 0, events), ECANCELED);
    native.irqsUnclaim(second, 1);
    assert.equal(native.irqsClaim(second, 1), 0, 'it was not its own to give back');
    native.irqsUnclaim(first, 1);
    assert.equal(native.irqsClaim(second, 1), 1);
    for (const fd of [first, second, stranger]) native.closeSync(fd);
  });

  it('let go when they close, or when it is taken from them', async () => {
    const native = binding();
    const { first, second, stranger } = devices();
    assert.equal(native.irqsClaim(first, 1), 1);
    const told = native.eventfdOpen() as NativeFd;
    assert.equal(native.irqsJoin(first, 'test:device', told), 0);
    assert.equal(native.irqsReleaseSync(second, 1), 0);
    assert.equal(native.eventfdRead(told), 1, 'who had it is told');
    assert.equal(native.irqsClaim(second, 1), 1);
    assert.equal(await native.irqsRelease(second, 1), 0, 'by itself');
    assert.equal(await native.irqsRelease(second, 1), 0, 'nobody has it');
    assert.equal(native.irqsClaim(first, 1), 1);
    native.closeSync(first);
    assert.equal(native.irqsClaim(second, 1), 1);
    for (const fd of [second, stranger, told]) native.closeSync(fd);
  });

  it('refuse every wrong argument', () => {
    const native = binding();
    const { first, second, stranger } = devices();
    const outsider = native.eventfdOpen() as NativeFd;
    const bad = [undefined, null, 0, -1, 1.5, 4e9, '1', {}, []];
    const functions = ['irqsClaim', 'irqsUnclaim', 'irqsOwner', 'irqsReleaseSync'] as const;
    const cases: [keyof Binding, unknown[]][] = [
      ...bad.flatMap((wrong): [keyof Binding, unknown[]][] => [
        ['irqsJoin', [wrong, 'test:device', 0]],
        ...functions.map((name): [keyof Binding, unknown[]] => [name, [wrong, 1]]),
      ]),
      ...functions.map((name): [keyof Binding, unknown[]] => [name, [outsider, 1]]),
      ...functions.map((name): [keyof Binding, unknown[]] => [name, [first, -1]]),
      ['irqsJoin', [first, 1, 0]],
      ['irqsJoin', [first, 'a\0b', 0]],
      ['irqsJoin', [first, 'test:device', 4e9]],
    ];
    for (const [name, args] of cases) {
      const call = native[name] as (...args: unknown[]) => unknown;
      assert.equal(call(...args), undefined, `${name}(${inspect(args)})`);
    }
    for (const fd of [first, second, stranger, outsider]) native.closeSync(fd);
  });
});
