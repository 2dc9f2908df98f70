import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { before, describe, it } from 'mocha';
import { binding } from '../../lib/core/binding.ts';
import type { Roots } from '../../lib/core/location.ts';
import {
  DmaBuffer,
  findCdev,
  openCdev,
  openCdevSync,
  VfioDevice,
  VfioError,
} from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import {
  fakeAddress as address,
  fakeNode,
  fakeVfio,
  firstWait,
  putFile,
  putNode,
} from '../support/fake_vfio.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { whileWaiting } from '../support/waiting.ts';

const wait = 60_000;

/** Runs `change` while an open waits; it must end long before its time is up. */
async function opensAfter(roots: Roots, change: () => void): Promise<string> {
  const start = performance.now();
  const cdev = await whileWaiting(() => openCdev(address, { ...roots, timeout: wait }), change);
  assert.ok(performance.now() - start < wait / 2);
  await cdev.close();
  return cdev.path;
}

describe('a node that comes late', () => {
  before(firstWait);

  const arrivals: [string, (roots: Roots) => void, (roots: Roots) => void][] = [
    [
      'is made',
      (roots) => mkdirSync(`${roots.devRoot}/vfio/devices`, { recursive: true }),
      (roots) => {
        putNode(roots, fakeNode, '/dev/null');
      },
    ],
    [
      'is made with all its folders',
      () => undefined,
      (roots) => {
        putNode(roots, fakeNode, '/dev/null');
      },
    ],
    [
      'takes a stale one’s place',
      (roots) => {
        putNode(roots, fakeNode, '/dev/zero');
      },
      (roots) => {
        putNode(roots, fakeNode, '/dev/null');
      },
    ],
    [
      'takes a file’s place',
      (roots) => {
        putFile(roots, fakeNode);
      },
      (roots) => {
        putNode(roots, fakeNode, '/dev/null');
      },
    ],
  ];
  for (const [title, prepare, arrive] of arrivals) {
    it(`is opened when it ${title}`, async () => {
      const roots = fakeVfio();
      const fds = libraryFds();
      prepare(roots);
      const path = await opensAfter(roots, () => {
        arrive(roots);
      });
      assert.equal(path, `${roots.devRoot}/${fakeNode}`);
      assertNoMore(libraryFds(), fds);
    });
  }

  it('is opened as char/<major>:<minor> when that comes', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/zero');
    const path = await opensAfter(roots, () => {
      putNode(roots, 'char/1:3', '/dev/null');
    });
    assert.equal(path, `${roots.devRoot}/char/1:3`);
  });

  it('is opened when its path was given', async () => {
    const roots = fakeVfio();
    const spec = `${roots.devRoot}/${fakeNode}`;
    const cdev = await whileWaiting(
      () => openCdev(spec, { ...roots, timeout: wait }),
      () => {
        putNode(roots, fakeNode, '/dev/null');
      },
    );
    await cdev.close();
  });

  it('is tried again when it gets other rights', async () => {
    const roots = fakeVfio();
    putFile(roots, fakeNode);
    let allowed = false;
    const { open } = binding();
    const EACCES = -13;
    const denying = (path: string, flags: number): number | undefined => {
      if (!path.endsWith('vfio7')) return open(path, flags);
      return allowed ? open('/dev/null', flags) : EACCES;
    };
    await withBinding({ open: denying }, async () => {
      await failure(() => openCdevSync(address, roots), 'EACCES');
      await opensAfter(roots, () => {
        allowed = true;
        chmodSync(`${roots.devRoot}/${fakeNode}`, 0o600);
      });
    });
  });
});

describe('many nodes that come late', () => {
  // More than the addon has threads for short calls.
  const many = 100;

  it('keep no thread, and nothing else waiting', async () => {
    const abort = new AbortController();
    setMaxListeners(many, abort.signal);
    const options = { ...fakeVfio(), timeout: wait, signal: abort.signal };
    const threads = threadsOfProcess();
    const waits = Array.from({ length: many }, () => openCdev(address, options));
    const ends = Promise.allSettled(waits);
    const memory = await Promise.race([DmaBuffer.allocate(4096), ends]);
    assert.ok(memory instanceof DmaBuffer, 'the waits ended before a call that waits for nothing');
    assert.ok(threadsOfProcess() - threads < 8, `${threadsOfProcess()} threads, before ${threads}`);
    await memory.dispose();
    const enough = new Error('enough');
    abort.abort(enough);
    const reasons = (await ends).map((end) => end.status === 'rejected' && (end.reason as unknown));
    assert.deepEqual(
      reasons,
      waits.map(() => enough),
    );
  });
});

/** Threads of this process. */
function threadsOfProcess(): number {
  return readdirSync('/proc/self/task').length;
}

describe('the end of the wait', () => {
  const last: [string, string, (roots: Roots) => void][] = [
    ['ENOENT', 'no node', () => undefined],
    [
      'ERR_VFIO_NODE_MISMATCH',
      'another device',
      (roots) => {
        putNode(roots, fakeNode, '/dev/zero');
      },
    ],
  ];
  for (const [code, what, prepare] of last) {
    it(`throws the last reason, as without a wait: ${what}`, async () => {
      const roots = fakeVfio();
      prepare(roots);
      const fds = libraryFds();
      const atOnce = await failure(() => openCdevSync(address, roots), code);
      const options = { ...roots, timeout: 40 };
      const ways = [
        () => openCdev(address, options),
        () => openCdevSync(address, options),
        () => VfioDevice.open(address, options),
        () => VfioDevice.openSync(address, options),
      ];
      for (const open of ways) {
        const start = performance.now();
        const error = await failure(open, code);
        assert.ok(performance.now() - start >= 39);
        assert.deepEqual(Object.entries(error), Object.entries(atOnce));
        assert.equal(error.message, atOnce.message);
      }
      assertNoMore(libraryFds(), fds);
    });
  }

  it('throws the last reason, as without a wait: no right to open it', async () => {
    const roots = fakeVfio();
    const EACCES = -13;
    await withBinding({ open: () => EACCES }, async () => {
      await failure(() => openCdevSync(address, roots), 'EACCES');
      for (const open of [openCdev, openCdevSync]) {
        const start = performance.now();
        await failure(() => open(address, { ...roots, timeout: 40 }), 'EACCES');
        assert.ok(performance.now() - start >= 39);
      }
    });
  });

  it('is the reason that came last, not the first', async () => {
    const roots = fakeVfio();
    const { open } = binding();
    // Another device's node comes when the first try has found none.
    const andThenItComes = (path: string, flags: number): ReturnType<typeof open> => {
      const answer = open(path, flags);
      if (path.endsWith(fakeNode) && answer !== undefined && answer < 0) {
        putNode(roots, fakeNode, '/dev/zero');
      }
      return answer;
    };
    const options = { ...roots, timeout: 40 };
    await withBinding({ open: andThenItComes }, () =>
      failure(() => openCdev(address, options), 'ERR_VFIO_NODE_MISMATCH'),
    );
  });

  it('comes after a second where nothing else is said, and at once in the blocking form', async () => {
    const roots = fakeVfio();
    let fastest = Infinity;
    // On a busy machine one of them may be kept waiting by others.
    for (let tries = 0; tries < 20 && fastest >= 500; tries++) {
      const start = performance.now();
      await failure(() => openCdevSync(address, roots), 'ENOENT');
      fastest = Math.min(fastest, performance.now() - start);
    }
    assert.ok(fastest < 500);
    const start = performance.now();
    await failure(() => openCdev(address, roots), 'ENOENT');
    assert.ok(performance.now() - start >= 999);
  });

  it('does not come for what time does not mend', async () => {
    const roots = fakeVfio();
    const start = performance.now();
    const options = { ...roots, timeout: wait };
    await failure(() => openCdev('0000:3c:00.0', options), 'ERR_VFIO_NO_DEVICE');
    assert.throws(() => findCdev('0000:3c:00.0', roots), VfioError);
    mkdirSync(`${roots.devRoot}/${fakeNode}`, { recursive: true });
    await failure(() => openCdevSync(address, options), 'EISDIR');
    assert.ok(performance.now() - start < wait / 2);
  });

  it('comes when the device goes away meanwhile', async () => {
    const roots = fakeVfio();
    const options = { ...roots, timeout: wait };
    await whileWaiting(
      () => failure(() => openCdev(address, options), 'ERR_VFIO_NO_DEVICE'),
      () => {
        rmSync(roots.sysfsRoot, { recursive: true });
        putFile(roots, 'anything');
      },
    );
  });
});
