import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { inspect } from 'node:util';
import { parseAddress } from '../../lib/locate/address.ts';
import { failure } from '../support/errors.ts';

const hexDigits = (length: number): fc.Arbitrary<string> =>
  fc.stringMatching(new RegExp(`^[0-9a-fA-F]{${length}}$`));

describe('parseAddress', () => {
  it('spells every PCI address as sysfs does', () => {
    const slot = fc.integer({ min: 0, max: 31 }).map((n) => n.toString(16).padStart(2, '0'));
    const fn = fc.integer({ min: 0, max: 7 });
    fc.assert(
      fc.property(hexDigits(4), hexDigits(2), slot, fn, (domain, bus, device, f) => {
        const address = `${domain}:${bus}:${device}.${f}`;
        const wanted = { bus: 'pci', address: address.toLowerCase() };
        assert.deepEqual(parseAddress(address), wanted);
        assert.deepEqual(parseAddress({ bus: 'pci', address }), wanted);
        const short = `${bus}:${device}.${f}`;
        assert.equal(parseAddress(short).address, `0000:${short.toLowerCase()}`);
      }),
    );
  });

  it('writes no more digits of a domain than the kernel does', () => {
    assert.equal(parseAddress('10000:00:02.0').address, '10000:00:02.0');
    assert.equal(parseAddress('00010000:00:02.0').address, '10000:00:02.0');
    assert.equal(parseAddress('00000001:00:02.0').address, '0001:00:02.0');
  });

  it('takes a UUID for an mdev', () => {
    const uuid = '83B8F4F2-509F-382F-3C1E-E6BFE0FA1001';
    const wanted = { bus: 'mdev', address: uuid.toLowerCase() };
    assert.deepEqual(parseAddress(uuid), wanted);
    assert.deepEqual(parseAddress({ bus: 'mdev', address: uuid }), wanted);
  });

  it('keeps the names of other buses', () => {
    const spec = { bus: 'platform', address: 'fff51000.ethernet' };
    assert.deepEqual(parseAddress(spec), spec);
  });

  it('lets no address leave its folder', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 20 }), (address) => {
        let parsed;
        try {
          parsed = parseAddress({ bus: 'platform', address });
        } catch {
          return;
        }
        assert.match(parsed.address, /^[^/\0]+$/);
        assert.ok(parsed.address !== '.' && parsed.address !== '..');
      }),
    );
  });

  it('answers a canonical address to anything, or refuses it with Node’s codes', () => {
    const named = fc.record({ bus: fc.anything(), address: fc.anything() });
    const onBus = fc.record({
      bus: fc.oneof(fc.constantFrom('pci', 'mdev', 'platform'), fc.string({ unit: 'binary' })),
      address: fc.string({ unit: 'binary' }),
    });
    const nearly = fc
      .array(fc.constantFrom('0', 'f', 'A', '00', ':', '.', '-', ' ', '\n', '1f', '7'), {
        maxLength: 16,
      })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.oneof(fc.anything(), named, onBus, nearly), (spec) => {
        let parsed;
        try {
          parsed = parseAddress(spec);
        } catch (error) {
          assert.ok(error instanceof TypeError, String(error));
          assert.match(
            String((error as { code?: string }).code),
            /^ERR_INVALID_ARG_(?:TYPE|VALUE)$/,
          );
          assert.match(error.message, /"device(?:\.bus|\.address)?"/);
          return;
        }
        assert.deepEqual(parseAddress(parsed), parsed);
        if (parsed.bus === 'pci' || parsed.bus === 'mdev') {
          assert.deepEqual(parseAddress(parsed.address), parsed);
        }
      }),
      { numRuns: 3000 },
    );
  });

  const wrong: [unknown, string][] = [
    ['', 'ERR_INVALID_ARG_VALUE'],
    ['3b:00', 'ERR_INVALID_ARG_VALUE'],
    ['0000:3b:20.0', 'ERR_INVALID_ARG_VALUE'],
    ['0000:3b:00.8', 'ERR_INVALID_ARG_VALUE'],
    ['0000:3b:00.0\n', 'ERR_INVALID_ARG_VALUE'],
    ['0000:3b:00.0/..', 'ERR_INVALID_ARG_VALUE'],
    [{ bus: 'pci', address: '..' }, 'ERR_INVALID_ARG_VALUE'],
    [{ bus: '..', address: 'x' }, 'ERR_INVALID_ARG_VALUE'],
    [{ bus: 'mdev', address: 'a/b' }, 'ERR_INVALID_ARG_VALUE'],
    [{ bus: 'mdev', address: 'a\0b' }, 'ERR_INVALID_ARG_VALUE'],
    [{ bus: 'pci' }, 'ERR_INVALID_ARG_TYPE'],
    [undefined, 'ERR_INVALID_ARG_TYPE'],
    [null, 'ERR_INVALID_ARG_TYPE'],
    [true, 'ERR_INVALID_ARG_TYPE'],
    [{ bus: 'platform', address: '' }, 'ERR_INVALID_ARG_VALUE'],
    [{ bus: 'platform', address: 'x'.repeat(256) }, 'ERR_INVALID_ARG_VALUE'],
    [{ bus: 'mdev', address: '0000:3b:00.0' }, 'ERR_INVALID_ARG_VALUE'],
  ];
  for (const [spec, code] of wrong) {
    it(`refuses ${inspect(spec)}`, async () => {
      await failure(() => parseAddress(spec), code);
    });
  }

  it('says which part is none, what it has to be, and what it was given', () => {
    const says = (spec: unknown, code: string, message: string): void => {
      assert.throws(() => parseAddress(spec), { name: 'TypeError', code, message });
    };
    const type = 'ERR_INVALID_ARG_TYPE';
    const value = 'ERR_INVALID_ARG_VALUE';
    const bus = 'The "device.bus" argument must be the name of a bus. Received ';
    says({ bus: 5, address: 'x' }, type, `${bus}5`);
    says({ address: 'x' }, type, `${bus}undefined`);
    says({ bus: '..', address: 'x' }, value, `${bus}'..'`);
    says({ bus: '', address: 'x' }, value, `${bus}''`);
    says({ bus: 'a/b', address: 'x' }, value, `${bus}'a/b'`);
    const on = (name: string): string =>
      `The "device.address" argument must be an address on the bus '${name}'. Received `;
    says({ bus: 'pci' }, type, `${on('pci')}undefined`);
    says({ bus: 'platform', address: 7 }, type, `${on('platform')}7`);
    says({ bus: 'pci', address: '..' }, value, `${on('pci')}'..'`);
    says({ bus: 'platform', address: '.' }, value, `${on('platform')}'.'`);
    const device =
      "The \"device\" argument must be a device address such as '0000:3b:00.0', an mdev's UUID, " +
      '{ bus, address } as in sysfs, a path in sysfs, a node such as /dev/vfio/devices/vfio0, or ' +
      'the number of an open descriptor. Received ';
    says(true, type, `${device}true`);
    says(null, type, `${device}null`);
    says('3b:00', value, `${device}'3b:00'`);
  });

  it('takes a domain of four to eight digits, and nothing before or behind an address', () => {
    for (const text of ['000:00:02.0', '000000000:00:02.0', 'x0000:00:02.0', '0000:00:02.0x']) {
      assert.throws(() => parseAddress(text), { code: 'ERR_INVALID_ARG_VALUE' });
    }
    for (const around of ['x', '0', ' ']) {
      const uuid = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001';
      for (const text of [around + uuid, uuid + around])
        assert.throws(() => parseAddress(text), { code: 'ERR_INVALID_ARG_VALUE' });
    }
    assert.equal(parseAddress({ bus: 'platform', address: 'x'.repeat(255) }).address.length, 255);
    assert.equal(parseAddress('100000:00:02.0').address, '100000:00:02.0');
    assert.equal(parseAddress('00000000:00:02.0').address, '0000:00:02.0');
  });
});
