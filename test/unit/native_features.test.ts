import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import { constants as os } from 'node:os';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import { binding, type Binding, type NativeFd } from '../../lib/core/binding.ts';
import { unknownIoctl } from '../support/emulation.ts';
import { openNull } from '../support/null_fd.ts';

const { EBADF } = os.errno;

const longs = (...numbers: number[]): BigUint64Array => BigUint64Array.from(numbers, BigInt);

/** Each call with arguments that are right, on a descriptor that knows none of them. */
const calls: [name: string, ...args: unknown[]][] = [
  ['reset'],
  ['hotReset', new Uint32Array(0)],
  ['hotResetInfo', 16],
  ['feature', 0x40001, new Uint8Array(0)],
  ['dmaLoggingStart', longs(4096, 0, 4096)],
  ['dmaLoggingReport', longs(0, 1 << 20, 4096)],
  ['exportDmabuf', 0, longs(0, 4096)],
  ['zpciError', 64],
  ['setMigrationState', 3],
  ['precopyInfo'],
  ['queryGfxPlane', 4, 1],
  ['getGfxDmabuf', 1],
  ['ioeventfd', 4, longs(0, 1), 0],
];

function call(name: string, ...args: unknown[]): unknown {
  return (binding()[name as keyof Binding] as (...args: unknown[]) => unknown)(...args);
}

describe('the addon’s calls for resets and features', () => {
  it('answer the kernel’s errno', async () => {
    const fd = openNull();
    const event = binding().eventfdOpen() as NativeFd;
    for (const [name, ...args] of calls) {
      assert.equal(call(`${name}Sync`, fd, ...args), -unknownIoctl, name);
      assert.equal(await call(name, fd, ...args), -unknownIoctl, name);
    }
    assert.equal(call('lowPowerWakeupSync', fd, event), -unknownIoctl);
    assert.equal(call('ioeventfdSync', fd, 4, longs(0, 1), event), -unknownIoctl);
    assert.equal(call('bindSync', fd, fd, new Uint8Array(16)), -unknownIoctl);
    binding().closeSync(event);
    binding().closeSync(fd);
  });

  it('read and write data', async () => {
    const zero = binding().open('/dev/zero', constants.O_RDWR) as NativeFd;
    assert.deepEqual(await binding().readData(zero, 3), new Uint8Array(3));
    assert.deepEqual(binding().readDataSync(zero, 0), new Uint8Array(0));
    assert.equal(await binding().writeData(zero, new Uint8Array(5)), 5);
    binding().closeSync(zero);
    const folder = binding().open('/', constants.O_RDONLY) as NativeFd;
    assert.equal(binding().writeDataSync(folder, new Uint8Array(1)), -EBADF);
    binding().closeSync(folder);
  });

  it('refuse every wrong argument', () => {
    const fd = openNull();
    const cases: [string, unknown[]][] = [
      ...calls.map(([name, ...args]): [string, unknown[]] => [name, [undefined, ...args]]),
      ...calls
        .filter(([, ...args]) => args.length > 0)
        .flatMap(([name, ...args]): [string, unknown[]][] =>
          args.flatMap((_, at) =>
            [undefined, -1, 1.5, 'x', [], new Uint16Array(4)].map((bad): [string, unknown[]] => [
              name,
              [fd, ...args.with(at, bad)],
            ]),
          ),
        ),
      ['hotResetInfo', [fd, 65_536]],
      ['dmaLoggingStart', [fd, longs(4096)]],
      ['dmaLoggingStart', [fd, longs(4096, 0, 4096, 0)]],
      ['dmaLoggingReport', [fd, longs(0, 0, 4096)]],
      ['dmaLoggingReport', [fd, longs(0, 4096, 0)]],
      ['dmaLoggingReport', [fd, BigUint64Array.of(0n, 1n << 63n, 1n)]],
      ['exportDmabuf', [fd, 0, longs(0, 1, 2)]],
      ['zpciError', [fd, 65_536]],
      ['readData', [fd, 2 ** 31]],
      ['readData', [undefined, 1]],
      ['writeData', [fd, 'text']],
      ['lowPowerWakeup', [fd, 0]],
      ['lowPowerWakeup', [fd, undefined]],
      ['ioeventfd', [fd, 4, longs(0, 1), 4e9]],
      ['bind', [fd, fd, new Uint8Array(15)]],
      ['bind', [fd, fd, 'token']],
      ['bind', [fd, fd, undefined, 'kvm']],
    ];
    for (const [name, args] of cases) {
      const what = `${name}(${inspect(args)})`;
      assert.equal(call(name, ...args), undefined, what);
      assert.equal(call(`${name}Sync`, ...args), undefined, what);
    }
    binding().closeSync(fd);
  });
});
