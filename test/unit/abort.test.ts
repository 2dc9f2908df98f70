import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { before, describe, it } from 'mocha';
import type { Roots } from '../../lib/core/location.ts';
import { FdChannel, Iommufd, openCdev, type OpenOptions, VfioDevice } from '../../lib/index.ts';
import { abortAtEachStep } from '../support/abort_steps.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import {
  fakeAddress as address,
  fakeNode,
  fakeVfio,
  firstWait,
  putNode,
} from '../support/fake_vfio.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';

type Open = (options: OpenOptions) => Promise<{ close(): Promise<void> }>;

const lookup = ['listFolder', 'readSmallFile'];
const node = ['open', 'fstat'];
const info = [
  ...['getDeviceInfo', 'getRegionInfos', 'getRegionInfo', 'getIrqInfos', 'irqsJoin'],
  // Of requests and of errors: so much a loop that polls can see.
  ...['mailbox', 'noticesWatch', 'noticesWatch'],
];

/** What each way of opening does with the node, and does not if that is there late. */
const ways: [string, (iommufd: Iommufd) => Open, string[]][] = [
  ['openCdev', () => (options) => openCdev(address, options), []],
  [
    'VfioDevice.open',
    () => (options) => VfioDevice.open(address, options),
    ['open', 'readSmallFile', 'fstat', 'bind', ...info],
  ],
  [
    'VfioDevice.open with an iommufd',
    (iommufd) => (options) => VfioDevice.open(address, { ...options, iommufd }),
    ['bind', ...info],
  ],
];

function rootsWithIommu(): Roots {
  const roots = fakeVfio();
  putNode(roots, fakeNode, '/dev/null');
  putNode(roots, 'iommu', '/dev/full');
  return roots;
}

/** What is asked of a signal, and no more: no class of this realm, no reason, no throwIfAborted. */
function foreignSignal(): { signal: AbortSignal; abort: () => void } {
  const listeners = new Set<() => void>();
  const signal = {
    aborted: false,
    addEventListener: (_type: string, listener: () => void) => listeners.add(listener),
    removeEventListener: (_type: string, listener: () => void) => listeners.delete(listener),
  };
  const abort = (): void => {
    signal.aborted = true;
    for (const listener of listeners) listener();
  };
  return { signal: signal as unknown as AbortSignal, abort };
}

describe('an open that is aborted', () => {
  before(firstWait);

  for (const [title, way, more] of ways) {
    it(`releases what it got, at every step: ${title}`, async () => {
      const roots = rootsWithIommu();
      using iommufd = Iommufd.open(roots);
      const fds = libraryFds();
      await withBinding(fakeIoctls, async () => {
        const steps = await abortAtEachStep({
          open: (signal) => way(iommufd)({ ...roots, signal }),
          check: () => {
            assertNoMore(libraryFds(), fds);
            assert.ok(iommufd.fd >= 0);
          },
        });
        assert.deepEqual(steps, [...lookup, ...node, ...more]);
      });
      assertNoMore(libraryFds(), fds);
    });

    it(`releases what it got, at every step of waiting for the node: ${title}`, async () => {
      const roots = rootsWithIommu();
      const path = `${roots.devRoot}/${fakeNode}`;
      using iommufd = Iommufd.open(roots);
      const fds = libraryFds();
      await withBinding(fakeIoctls, async () => {
        const steps = await abortAtEachStep({
          open: (signal) => way(iommufd)({ ...roots, timeout: 60_000, signal }),
          prepare: () => {
            rmSync(path);
          },
          on: {
            fdPoll: () => {
              putNode(roots, fakeNode, '/dev/null');
            },
          },
          check: () => {
            assertNoMore(libraryFds(), fds);
            putNode(roots, fakeNode, '/dev/null');
          },
        });
        // Twice in vain, before and after the watch is there; each time the node by its numbers
        // too.
        const inVain = [...lookup, 'open', 'open'];
        const watched = steps.slice(inVain.length + 1, steps.indexOf('listFolder', inVain.length));
        assert.deepEqual(new Set(watched), new Set(['watchFolder']));
        const wait = ['watchOpen', ...watched, ...inVain, 'fdPoll', 'fdPoll', 'waitForChangeSync'];
        const again = [...watched, ...lookup, ...node, 'close'];
        assert.deepEqual(steps, [...inVain, ...wait, ...again, ...more]);
      });
      assertNoMore(libraryFds(), fds);
    });
  }

  it('may come from a signal of another realm, or of another implementation', async () => {
    const roots = rootsWithIommu();
    rmSync(`${roots.devRoot}/${fakeNode}`);
    const { signal, abort } = foreignSignal();
    const opening = openCdev(address, { ...roots, timeout: 60_000, signal });
    setImmediate(abort);
    await assert.rejects(opening, { name: 'AbortError' });
    await assert.rejects(openCdev(address, { ...roots, signal }), { name: 'AbortError' });
    const [channel, peer] = FdChannel.pair();
    await assert.rejects(channel.receive({ signal }), { name: 'AbortError' });
    await Promise.all([channel.close(), peer.close()]);
  });

  it('in the turn in which it was called does not bind', async () => {
    const roots = rootsWithIommu();
    const fds = libraryFds();
    const bind = (): never => assert.fail('bound a device that nobody wants any more');
    await withBinding({ ...fakeIoctls, bind }, async () => {
      using iommufd = Iommufd.open(roots);
      for (const [, way] of ways) {
        const abort = new AbortController();
        const opening = way(iommufd)({ ...roots, signal: abort.signal });
        const reason = new Error('enough');
        abort.abort(reason);
        await assert.rejects(opening, reason);
      }
    });
    assertNoMore(libraryFds(), fds);
  });
});
