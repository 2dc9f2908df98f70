import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import { shown } from '../../lib/core/shown.ts';
import { Iommufd } from '../../lib/index.ts';
import { FakeHost } from '../../lib/testing/index.ts';
import { failure } from '../support/errors.ts';

describe('a value in a message', () => {
  const many = Array.from({ length: 1000 }, (_, at) => at);
  const long = 'x'.repeat(10_000);

  const values: Record<string, unknown> = {
    bytes: new Uint8Array(4096),
    'a Buffer': Buffer.alloc(4096),
    'an ArrayBuffer': new ArrayBuffer(4096),
    'an array': many,
    'a Set': new Set(many),
    'a Map': new Map(many.map((at) => [at, at])),
    'an object': Object.fromEntries(many.map((at) => [`key${at}`, at])),
    'an object with a long key': { [long]: 1 },
    'a string': long,
    'a symbol': Symbol(long),
    'a bigint': 2n ** 5000n,
    'a function': Object.defineProperty(() => undefined, 'name', { value: long }),
    'an error': new Error(long),
    'control characters': '\u001b\n\u202e'.repeat(1000),
  };

  for (const [name, value] of Object.entries(values)) {
    it(`is short, and on one line: ${name}`, () => {
      const text = shown(value);
      assert.ok(text.length <= 4 * 121, `${text.length} characters`);
      assert.doesNotMatch(text, /\n/);
    });
  }

  it('is what Node shows, where that is short', () => {
    const values = [null, undefined, -0, 3n, 'a', [1, 2], { a: 1 }, new Uint8Array(2), Symbol('s')];
    for (const value of values) assert.equal(shown(value), inspect(value, { breakLength: 200 }));
    assert.equal(
      shown(new Uint8Array(4096)),
      'Uint8Array(4096) [ 0, 0, 0, 0, ... 4092 more items ]',
    );
  });

  it('does not flood the error of a map', async () => {
    using host = FakeHost.install();
    assert.deepEqual(host.openDevices, []);
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    const error = await failure(
      () => ioas.map(new Uint8Array(4096) as never),
      'ERR_INVALID_ARG_TYPE',
    );
    assert.ok(error.message.length < 400, error.message);
    assert.match(error.message, /Received Uint8Array\(4096\) \[ 0, 0, 0, 0, \.\.\. 4092 more/);
  });
});
