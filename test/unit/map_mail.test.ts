import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { mapCalls } from '../../lib/core/map_mail.ts';

/** The words of a mail that the addon got. */
function wordsOf(mail: ArrayBuffer): unknown {
  const [iova, length, offset] = new BigUint64Array(mail, 0, 3);
  const [iommufd, ioas, flags, memory] = new Uint32Array(mail, 24, 4);
  return { iova, length, offset, iommufd, ioas, flags, memory };
}

/** An addon that notes what it was sent; its calls answer so, or undefined ones do not come to it. */
function fakeAddon(...statuses: (number | undefined)[]): {
  calls: ReturnType<typeof mapCalls>;
  seen: [string, unknown][];
} {
  const mail = new ArrayBuffer(48);
  const seen: [string, unknown][] = [];
  const note = (name: string) => () => {
    seen.push([name, wordsOf(mail)]);
    const status = statuses.length > 1 ? statuses.shift() : statuses[0];
    if (status === undefined) return;
    new Int32Array(mail)[10] = status;
    new BigUint64Array(mail, 0, 2).set([2n ** 64n - 4096n, 2n ** 63n]);
  };
  const native = {
    mapMail: () => mail,
    mapMemoryByMail: note('map'),
    mapMemoryFileByMail: note('map file'),
    unmapByMail: note('unmap'),
  };
  return { calls: mapCalls(native), seen };
}

describe('maps by mail', () => {
  it('send every argument, and answer what came back', () => {
    const { calls, seen } = fakeAddon(0);
    const rest = [3, 2 ** 32 - 1, 4096n, 2n ** 63n + 1n, 2n ** 64n - 1n] as const;
    assert.equal(calls.ioasMapMemorySync(1, 2, ...rest), 2n ** 64n - 4096n);
    assert.equal(calls.ioasMapMemoryFileSync(1, 2, ...rest), 2n ** 64n - 4096n);
    assert.equal(calls.ioasUnmapSync(4, 5, 6n, 2n ** 64n - 1n), 2n ** 63n);
    const sent = { iommufd: 1, ioas: 2, flags: 3, memory: 2 ** 32 - 1, iova: 2n ** 64n - 1n };
    const part = { offset: 4096n, length: 2n ** 63n + 1n };
    assert.deepEqual(seen, [
      ['map', { ...sent, ...part }],
      ['map file', { ...sent, ...part }],
      ['unmap', { ...sent, ...part, iommufd: 4, ioas: 5, iova: 6n, length: 2n ** 64n - 1n }],
    ]);
  });

  it('answer -errno, and undefined for what the addon refused', () => {
    const map = (status: number | undefined): unknown[] => {
      const { calls } = fakeAddon(status);
      return [calls.ioasMapMemorySync(1, 2, 3, 4, 0n, 1n, 0n), calls.ioasUnmapSync(1, 2, 0n, 1n)];
    };
    assert.deepEqual(map(-16), [-16, -16]);
    assert.deepEqual(map(1), [undefined, undefined]);
  });

  it('are not said to be made where the call did not come to the addon', () => {
    const { calls } = fakeAddon(0, undefined, 0, undefined);
    assert.equal(typeof calls.ioasMapMemorySync(1, 2, 3, 4, 0n, 1n, 0n), 'bigint');
    assert.equal(calls.ioasMapMemorySync(1, 2, 3, 4, 0n, 1n, 0n), undefined);
    assert.equal(typeof calls.ioasUnmapSync(1, 2, 0n, 1n), 'bigint');
    assert.equal(calls.ioasUnmapSync(1, 2, 0n, 1n), undefined);
  });
});
