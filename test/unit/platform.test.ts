import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

/** Every public function that reaches for a device or for sysfs. */
const program = `
  Object.defineProperty(process, 'platform', { value: 'darwin' });
  const api = await import('./lib/index.ts');
  const { VfioDevice, Iommufd, VfioError, ...functions } = api;
  const all = {
    ...functions,
    'VfioDevice.open': VfioDevice.open,
    'VfioDevice.openSync': VfioDevice.openSync,
    'Iommufd.open': () => Iommufd.open(),
    'listDevices': () => api.listDevices(),
    'listDevicesSync': () => api.listDevicesSync(),
    'identify': () => api.identify(0),
  };
  for (const [name, call] of Object.entries(all)) {
    try {
      await call('0000:3b:00.0');
      console.log(name, 'did not fail');
    } catch (error) {
      if (error.code !== 'ERR_VFIO_UNSUPPORTED_PLATFORM') console.log(name, error);
    }
  }
  console.log('done');
`;

describe('on another platform', () => {
  it('importing works and opening says what is wrong', () => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', program],
      { cwd: root, encoding: 'utf8' },
    );
    assert.equal(stdout, 'done\n', stderr);
  });
});
