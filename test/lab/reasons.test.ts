import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { CHECKOUT, lab } from './vm.ts';

const library = join(CHECKOUT, 'build-test/programs/vfio.js');

/** What these calls say in a VM of another kind, or of another kernel. */
async function reasonsIn(args: readonly string[], ...calls: string[]): Promise<unknown> {
  const program = `
    const { VfioDevice, Iommufd } = await import(${JSON.stringify(library)});
    const found = [];
    for (const call of [${calls.map((call) => `async () => ${call}`).join()}]) {
      await call().catch(({ code, reason, certainty }) => found.push([code, reason, certainty]));
    }
    console.log(JSON.stringify(found));`;
  const command = ['node', '--input-type=module', '-e', program];
  const { stdout, stderr } = await lab([...args, '--', ...command]);
  assert.equal(stderr, '');
  return JSON.parse(stdout.toString());
}

const openEdu = "VfioDevice.open('00:02.0')";

/** Tells as an error does which backend opens it there, and why. */
const throwBackend = `(async () => {
  const device = await ${openEdu};
  const { backend } = device;
  await device.close();
  throw { code: backend.kind, reason: backend.why, certainty: null };
})()`;

describe('the reason of a failure', () => {
  it('is unsafe interrupts where the kernel does not remap them', async () => {
    const found = await reasonsIn(['--append', 'intremap=off'], openEdu);
    assert.deepEqual(found, [['EPERM', 'unsafe-interrupts', 'certain']]);
  });

  it('is a kernel without cdevs, and without iommufd', async () => {
    const byCdev = "VfioDevice.open('00:02.0', { backend: 'cdev' })";
    const found = await reasonsIn(['--stock'], byCdev, 'Iommufd.open()', throwBackend);
    assert.deepEqual(found, [
      ['ERR_VFIO_NO_CDEV', 'no-cdev', 'certain'],
      ['ENOENT', 'iommufd-absent', 'likely'],
      ['group', 'the kernel makes no cdev for it', null],
    ]);
  });
});
