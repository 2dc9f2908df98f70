import assert from 'node:assert/strict';

import { describe, it } from 'mocha';

import { EXIT_USAGE, LabError } from '../../lab/failure.ts';
import { parseOptions } from '../../lab/options.ts';

function refusal(args: string[], host: NodeJS.ProcessEnv = {}): LabError {
  try {
    parseOptions(args, host);
  } catch (error) {
    assert(error instanceof LabError);
    assert.equal(error.exitCode, EXIT_USAGE);
    return error;
  }
  throw new Error(`accepted: ${args.join(' ')}`);
}

describe('lab options', () => {
  it('takes the first word that is no option as the command', () => {
    const options = parseOptions(['--nvme', '3', 'ls', '--deadline', '1', '-h'], {});
    assert.deepEqual(options.command, ['ls', '--deadline', '1', '-h']);
    assert.equal(options.rootNvme, 3);
    assert.equal(options.deadlineSeconds, 900);
    assert.equal(options.silenceSeconds, 120);
    assert.equal(options.action, 'run');
  });

  it('takes everything after -- as the command', () => {
    const options = parseOptions(['--stock', '--', '--strange', '--', 'x'], {});
    assert.deepEqual(options.command, ['--strange', '--', 'x']);
    assert.equal(options.lane, 'stock');
  });

  it('takes values with = too', () => {
    const options = parseOptions(['--kernel=7.3', '--results=/tmp/a b', 'true'], {});
    assert.equal(options.lane, '7.3');
    assert.equal(options.results, '/tmp/a b');
  });

  it('passes environment variables on, and sets them', () => {
    const args = ['--env', 'A', '--env', 'B=x=y', '--env', 'C=', '--env', 'ABSENT', 'true'];
    assert.deepEqual(parseOptions(args, { A: 'from the host' }).env, {
      A: 'from the host',
      B: 'x=y',
      C: '',
    });
  });

  it('uses KVM only when asked', () => {
    assert.equal(parseOptions(['true'], {}).accelerator, 'tcg,thread=multi');
    assert.equal(parseOptions(['true'], { VFIO_LAB_ACCEL: 'kvm' }).accelerator, 'kvm');
    assert.match(refusal(['true'], { VFIO_LAB_ACCEL: 'xen' }).message, /VFIO_LAB_ACCEL/);
  });

  it('emulates processors in turns only when asked, and never those of KVM', () => {
    assert.equal(parseOptions(['--in-turns', 'true'], {}).accelerator, 'tcg,thread=single');
    const { message } = refusal(['--in-turns', 'true'], { VFIO_LAB_ACCEL: 'kvm' });
    assert.match(message, /--in-turns is for emulated processors/);
  });

  it('wants no command to prepare, list, help or print headers', () => {
    assert.equal(parseOptions(['--prepare'], {}).action, 'prepare');
    assert.equal(parseOptions(['--list'], {}).action, 'list');
    assert.equal(parseOptions(['-h'], {}).action, 'help');
    assert.equal(parseOptions(['--vmm'], {}).action, 'vmm');
    const headers = parseOptions(['--headers', '7.3'], {});
    assert.deepEqual([headers.action, headers.headers], ['headers', '7.3']);
  });

  it('refuses what it does not know, and says what', () => {
    assert.match(refusal([]).message, /no command/);
    assert.match(refusal(['--bogus', 'true']).message, /--bogus/);
    assert.match(refusal(['--kernel', '5.0', 'true']).message, /--kernel takes 6\.12 or 7\.3/);
    assert.match(refusal(['--stock', '--kernel', '7.3', 'true']).message, /--stock/);
    assert.match(refusal(['--nvme', '25', 'true']).message, /--nvme .* 0 to 24, not 25/);
    assert.match(refusal(['--silence', '9', 'true']).message, /--silence .* 10 to 3600, not 9/);
    assert.match(refusal(['--deadline', '1.5', 'true']).message, /--deadline/);
    assert.match(refusal(['--env', '1A=x', 'true']).message, /--env/);
    assert.match(refusal(['--results']).message, /--results/);
  });
});
