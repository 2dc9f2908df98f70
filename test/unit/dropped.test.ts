import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

const program = `
  import { readdirSync, readlinkSync } from 'node:fs';
  import { setTimeout } from 'node:timers/promises';
  import { OwnedFd } from './lib/owned_fd.ts';
  const target = (fd) => { try { return readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } };
  const count = () => readdirSync('/proc/self/fd').filter((fd) => target(fd) === '/dev/full').length;
  const before = count();
  for (let at = 0; at < 3; at++) OwnedFd.open('/dev/full', 'the test');
  OwnedFd.open('/dev/full', 'the closed').closeSync();
  const kept = OwnedFd.open('/dev/full', 'the kept');
  for (let at = 0; at < 50 && count() > before + 1; at++) {
    globalThis.gc();
    await setTimeout(20);
  }
  console.log(count() - before, kept.number >= 0);
`;

describe('an owner that is dropped', () => {
  it('is closed, with a warning for each, and no other is', () => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--expose-gc', '--import', 'tsx', '--input-type=module', '--eval', program],
      { cwd: root, encoding: 'utf8' },
    );
    assert.equal(stdout, '1 true\n', stderr);
    const warnings = stderr.match(/\[VFIO_NOT_CLOSED\] VfioWarning: the \w+ \(\/dev\/full\)/g);
    assert.deepEqual(
      warnings,
      Array(3).fill('[VFIO_NOT_CLOSED] VfioWarning: the test (/dev/full)'),
    );
  });
});
