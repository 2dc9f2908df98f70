import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

const program = `
  Object.defineProperty(process, 'platform', { value: 'darwin' });
  const { VfioDevice, openCdev, openCdevSync } = await import('./lib/index.ts');
  const code = (error) => error.code;
  console.log(await VfioDevice.open('0000:3b:00.0').catch(code));
  console.log(await openCdev('0000:3b:00.0').catch(code));
  try { openCdevSync('0000:3b:00.0'); } catch (error) { console.log(code(error)); }
`;

describe('on another platform', () => {
  it('importing works and opening says what is wrong', () => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', program],
      { cwd: root, encoding: 'utf8' },
    );
    assert.equal(stdout, 'ERR_VFIO_UNSUPPORTED_PLATFORM\n'.repeat(3), stderr);
  });
});
