import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { normalize } from 'node:path';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  describeDevice,
  findCdev,
  identify,
  listDevices,
  listDevicesSync,
  openCdevSync,
  VfioError,
  type RootOptions,
} from '../../lib/index.ts';
import { askedPaths } from '../support/asked_paths.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { randomTree, specsOf } from '../support/random_sysfs.ts';
import { pciDevice, sysfsFiles } from '../support/sysfs.ts';
import { tree } from '../support/tree.ts';

/** An answer, or the VfioError in its place; another error is a defect. */
async function answerOf(ask: () => unknown): Promise<unknown> {
  try {
    return await ask();
  } catch (error) {
    assert.ok(error instanceof VfioError, error instanceof Error ? error.stack : String(error));
    return { code: error.code };
  }
}

/** No number in an answer is NaN, or has lost a digit. */
function assertNumbers(value: unknown): void {
  if (typeof value === 'number') assert.ok(Number.isSafeInteger(value), String(value));
  else if (typeof value === 'object' && value !== null) Object.values(value).forEach(assertNumbers);
}

/** The library asked for nothing but what lies below the root, and its own descriptors. */
function assertInside(paths: readonly string[], root: string): void {
  for (const path of paths) {
    const isInside = path.startsWith(`${root}/`) || path.startsWith('/proc/self/fd');
    assert.ok(isInside && [path, `${path}/`].includes(normalize(path)), path);
  }
}

describe('any sysfs', () => {
  it('is answered, or refused with a VfioError, and not left', async () => {
    const fd = openSync('/dev/full', 'r');
    const fds = libraryFds();
    const seen = new Set<string>();
    const note = (answer: unknown): unknown => {
      assertNumbers(answer);
      const isError = typeof answer === 'object' && answer !== null && 'code' in answer;
      seen.add(isError ? String(answer.code) : 'answer');
      return answer;
    };
    try {
      await fc.assert(
        fc.asyncProperty(randomTree, async (files) => {
          const root = tree(files);
          const roots: RootOptions = { sysfsRoot: `${root}/sys`, devRoot: `${root}/dev` };
          const paths = await askedPaths(async () => {
            const listed = note(await answerOf(() => listDevicesSync(roots)));
            assert.deepEqual(await answerOf(() => listDevices(roots)), listed);
            note(await answerOf(() => identify(fd, roots)));
            for (const spec of [...specsOf(root), fd]) {
              note(await answerOf(() => findCdev(spec, roots)));
              note(await answerOf(() => describeDevice(spec, roots)));
              await answerOf(() => {
                openCdevSync(spec, roots).closeSync();
              });
            }
          });
          assertInside(paths, root);
          assertNoMore(libraryFds(), fds);
        }),
        { numRuns: 100, endOnFailure: true },
      );
    } finally {
      closeSync(fd);
    }
    // The trees are neither all good nor all bad.
    for (const outcome of [
      'answer',
      'ERR_VFIO_NO_DEVICE',
      'ERR_VFIO_NOT_VFIO',
      'ERR_VFIO_NO_CDEV',
    ]) {
      assert.ok(seen.has(outcome), `${outcome} in ${[...seen].join()}`);
    }
    // A hundred trees take long on a busy machine; only what hangs is to fail.
  }).timeout(600_000);

  it('does not hang at a FIFO in a file’s place', () => {
    const sysfsRoot = tree(sysfsFiles({ pci: { '0000:3b:00.0': pciDevice(1) } }));
    const folder = `${sysfsRoot}/bus/pci/devices/0000:3b:00.0`;
    mkdirSync(`${folder}/vfio-dev/vfio0`, { recursive: true });
    writeFileSync(`${folder}/vfio-dev/vfio0/uevent`, '');
    execFileSync('mkfifo', [`${folder}/vfio-dev/vfio0/dev`, `${folder}/sriov_numvfs`]);
    assert.throws(() => findCdev('0000:3b:00.0', { sysfsRoot }), { code: 'ERR_VFIO_NO_CDEV' });
    assert.equal(listDevicesSync({ sysfsRoot })[0]?.sriovNumVfs, null);
  });
});
