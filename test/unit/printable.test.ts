import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { explained } from '../../lib/core/errors.ts';
import { findHolders } from '../../lib/diagnose/holders.ts';
import { findCdev, printable, VfioDevice, VfioError } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { fakeAddress } from '../support/fake_vfio.ts';
import { tree } from '../support/tree.ts';

/** What no terminal shows as it stands, and nothing else. */
const controls = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\ufffd]/u;

describe('printable', () => {
  it('shows control characters, marks of direction and broken text', () => {
    const shown: [string, string][] = [
      ['\u001b]0;owned\u0007', String.raw`\x1b]0;owned\x07`],
      ['a\nb\tc\r\0', String.raw`a\x0ab\x09c\x0d\x00`],
      ['\u007f\u009b31m', String.raw`\x7f\x9b31m`],
      ['\u202egnp.exe\u2066\u200e', String.raw`\u202egnp.exe\u2066\u200e`],
      ['\u2028\u2029\u{e0001}', String.raw`\u2028\u2029\u{e0001}`],
      ['\ud800x\udc00', String.raw`\ud800x\udc00`],
      [Buffer.from([0x61, 0xff, 0xc3]).toString(), String.raw`a\ufffd\ufffd`],
      [
        'qemu-system-x86_64 (Größe) 日本 \u{1f600} \\',
        'qemu-system-x86_64 (Größe) 日本 \u{1f600} \\',
      ],
    ];
    for (const [text, wanted] of shown) assert.equal(printable(text), wanted);
  });

  it('leaves no such character in any text, and changes nothing twice', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const shown = printable(text);
        assert.doesNotMatch(shown, controls);
        assert.equal(printable(shown), shown);
        if (!controls.test(text)) assert.equal(shown, text);
      }),
    );
  });
});

describe('an error that names what others named', () => {
  const name = 'a\u001b[2J\nb\u0007';

  it('shows the name of the process that holds a device, and has it raw in its facts', async () => {
    const program = `
      fs.writeFileSync('/proc/self/comm', ${JSON.stringify(name)});
      fs.openSync('/dev/full');
      console.log('named');
      setInterval(() => {}, 60_000);`;
    const child = spawn(process.execPath, ['-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(child.stdout, 'data');
      const search = { numbers: ['1:7'], targets: [] };
      const facts = await findHolders(search, undefined, performance.now() + 10_000);
      const holder = facts.holders.find(({ pid }) => pid === child.pid);
      assert.equal(holder?.command, name);
      const refused = new VfioError({ code: 'EINVAL', message: 'EINVAL: refused' });
      const error = explained(refused, { reason: 'held-by-cdev', certainty: 'certain', facts });
      assert.match(error.message, /\(a\\x1b\[2J\\x0ab\\x07\)/);
      for (const text of [error.message, error.hint ?? '', error.stack?.split('\n')[0] ?? '']) {
        assert.doesNotMatch(text, controls);
      }
      assert.equal(error.facts, facts);
    } finally {
      child.kill();
    }
  });

  it('becomes JSON, with its message, and 64 bits as hex', () => {
    const facts = { length: 0x1000n, ranges: [{ start: 0n, last: 0xfffn }] };
    const refused = new VfioError({ code: 'ENOSPC', errno: -28, message: 'ENOSPC: refused' });
    const error = explained(refused, { reason: 'iova-exhausted', certainty: 'certain', facts });
    const { message, hint } = error;
    const { name, code, errno, reason, certainty } = error;
    assert.deepEqual(JSON.parse(JSON.stringify(error)), {
      name,
      message,
      code,
      errno,
      reason,
      facts: { length: '0x1000', ranges: [{ start: '0x0', last: '0xfff' }] },
      certainty,
      hint,
    });
  });

  it('shows the name of a driver, of a file and of an argument', async () => {
    const folder = `sys/bus/pci/devices/${fakeAddress}`;
    const root = tree({
      [`${folder}/subsystem`]: { pointsTo: '../../../pci' },
      'dev/vfio/devices/vfio0': '',
      [`${folder}/iommu_group`]: { pointsTo: '../../../../kernel/iommu_groups/7' },
      [`${folder}/driver`]: { pointsTo: `../../drivers/${name}` },
    });
    const roots = { sysfsRoot: `${root}/sys`, devRoot: `${root}/dev` };
    const calls: [() => unknown, string][] = [
      [() => findCdev(fakeAddress, roots), 'ERR_VFIO_NOT_BOUND_TO_VFIO'],
      [() => findCdev(`${root}/dev/vfio/devices/vfio9\u001b[2J`, roots), 'ERR_INVALID_ARG_VALUE'],
      [() => findCdev(`\u202e${name}`, roots), 'ERR_INVALID_ARG_VALUE'],
      [
        () => VfioDevice.open(fakeAddress, { backend: '\u202e' as 'cdev' }),
        'ERR_INVALID_ARG_VALUE',
      ],
    ];
    for (const [call, code] of calls) {
      const { message } = await failure(call, code);
      assert.match(message, /\\x1b|\\u202e/i);
      assert.doesNotMatch(message, controls);
    }
  });
});
