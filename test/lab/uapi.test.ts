import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'mocha';
import { labHeaders } from '../../lab/headers.ts';
import { root } from '../support/root.ts';
import { comparison, parseHeader } from '../support/uapi.ts';

function compile(source: string, include: string): string {
  const ours = new URL('native/uapi', root).pathname;
  const flags = ['-std=c++20', '-Winvalid-offsetof', '-fsyntax-only', '-I', ours];
  const { stderr } = spawnSync('g++', [...flags, '-isystem', include, '-xc++', '-'], {
    input: source,
    encoding: 'utf8',
  });
  return stderr;
}

describe('native/uapi', () => {
  for (const kernel of ['6.12', '7.3'] as const) {
    for (const [file, theirs] of [
      ['vfio.h', 'vfio.h'],
      ['feature.h', 'vfio.h'],
      ['group.h', 'vfio.h'],
      ['iommufd.h', 'iommufd.h'],
      ['kvm.h', 'kvm.h'],
    ] as const) {
      it(`has the structs and numbers of Linux ${kernel}'s ${theirs} (${file})`, async () => {
        const source = comparison(file, kernel, theirs);
        const { structs, constants } = parseHeader(file);
        // One assertion at least for each thing declared, so that a name we parse wrongly shows.
        assert.ok(structs.length > 1 && constants.length > 1);
        for (const { name, fields } of structs) {
          assert.ok(fields.length > 0, name);
          // A struct that this kernel lacks has no field that every kernel has.
          const everywhere = fields.some(({ since }) => since === undefined);
          assert.ok(source.includes(`uapi::${name}`) || !everywhere, name);
        }
        assert.equal(compile(source, await labHeaders(kernel)), '');
      }).timeout(120_000);
    }
  }

  it('would be told from a wrong definition', async () => {
    const right = comparison('vfio.h', '7.3');
    const wrong = right.replace('VfioDeviceInfo, flags', 'VfioDeviceInfo, pad');
    assert.notEqual(wrong, right);
    assert.match(compile(wrong, await labHeaders('7.3')), /static assertion failed/);
  });
});
