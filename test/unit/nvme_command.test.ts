import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseArguments, UsageError } from '../../examples/nvme/arguments.ts';

// What the NVMe example's command takes; what it does is in test/device.

describe('the arguments of the NVMe example', () => {
  it('are numbers, or what they are without an option', () => {
    assert.deepEqual(parseArguments(['bench', '00:07.0', '--seconds', '.5', '--depth=8']), {
      task: 'bench',
      address: '00:07.0',
      interrupts: false,
      namespace: 1,
      block: 0,
      count: 1,
      bytes: 512,
      depth: 8,
      seconds: 0.5,
      workers: 0,
    });
    const read = parseArguments(['read', 'x', '--block', '8', '--count', '2', '--interrupts']);
    assert.deepEqual([read?.block, read?.count, read?.interrupts], [8, 2, true]);
    for (const help of [['--help'], ['-h', 'bench']]) assert.equal(parseArguments(help), undefined);
  });

  for (const [line, text] of [
    ['', /^usage: main\.js identify\|read\|write\|bench <address> \[option…\]$/],
    ['format x', /^there is no command 'format'/],
    ['toString x', /^there is no command 'toString'/],
    ['read', /^read needs the address/],
    ['identify x extra', /'extra'/],
    ['identify x --bogus', /^Unknown option '--bogus'/],
    ['identify x --block 1', /^identify takes no --block$/],
    ['read x --block 8.5', /^--block takes a whole number from 0 on, not '8\.5'$/],
    ['read x --block abc', /^--block .* not 'abc'$/],
    ['read x --block=', /^--block .* not ''$/],
    ['read x --block 1e3', /^--block .* not '1e3'$/],
    ['read x --block 99999999999999999999', /^--block /],
    ['read x --count 0', /^--count takes a whole number from 1 on, not '0'$/],
    ['read x --count=-1', /^--count .* not '-1'$/],
    ['read x --count -1', /'--count/],
    ['read x --namespace 0', /^--namespace /],
    ['bench x --bytes 0', /^--bytes takes a whole number from 1 on, not '0'$/],
    ['bench x --depth 1.5', /^--depth takes a whole number from 1 to 65535, not '1\.5'$/],
    ['bench x --depth 0', /^--depth /],
    ['bench x --depth 1000000', /^--depth /],
    ['bench x --seconds 0', /^--seconds takes a number from 0\.001 to 1000000, not '0'$/],
    ['bench x --seconds=', /^--seconds /],
    ['bench x --seconds .', /^--seconds /],
    ['bench x --seconds Infinity', /^--seconds /],
    ['bench x --workers 1.5', /^--workers takes a whole number from 0 to 65535, not '1\.5'$/],
  ] as const) {
    it(`are refused in one line: ${line || 'none'}`, () => {
      const argv = line === '' ? [] : line.split(' ');
      assert.throws(
        () => parseArguments(argv),
        (error) =>
          error instanceof UsageError && text.test(error.message) && !error.message.includes('\n'),
      );
    });
  }
});
