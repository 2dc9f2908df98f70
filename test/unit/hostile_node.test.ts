import assert from 'node:assert/strict';
import { type ChildProcessByStdio, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fstatSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { inspect } from 'node:util';
import { describe, it } from 'mocha';
import type { Roots } from '../../lib/core/location.ts';
import { openCdev, openCdevSync, type VfioCdev, VfioError } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import {
  fakeAddress as address,
  fakeNode,
  fakeVfio,
  firstWait,
  putFile,
  putNode,
} from '../support/fake_vfio.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { skip } from '../support/skip.ts';

const nodeOf = ({ devRoot }: Roots): string => `${devRoot}/${fakeNode}`;

describe('in place of a node', () => {
  const hostile: [string, string, RegExp, (roots: Roots) => void][] = [
    [
      'another device of the same major',
      'ERR_VFIO_NODE_MISMATCH',
      /is the character device 1:5/,
      (roots) => {
        putNode(roots, fakeNode, '/dev/zero');
      },
    ],
    [
      'a regular file',
      'ERR_VFIO_NODE_MISMATCH',
      /is not a character device/,
      (roots) => {
        putFile(roots, fakeNode);
      },
    ],
    [
      'a FIFO',
      'ERR_VFIO_NODE_MISMATCH',
      /is not a character device/,
      (roots) => {
        putFile(roots, 'vfio/devices/x');
        execFileSync('mkfifo', [nodeOf(roots)]);
      },
    ],
    ['a folder', 'EISDIR', /vfio7'/, (roots) => mkdirSync(nodeOf(roots), { recursive: true })],
    [
      'a link that leads nowhere',
      'ENOENT',
      /vfio7'/,
      (roots) => {
        putNode(roots, fakeNode, 'nowhere');
      },
    ],
    [
      'a link to itself',
      'ELOOP',
      /vfio7'/,
      (roots) => {
        putNode(roots, fakeNode, 'vfio7');
      },
    ],
  ];
  for (const [what, code, message, prepare] of hostile) {
    it(`${what} is refused, closed and named`, async () => {
      const roots = fakeVfio();
      prepare(roots);
      const before = libraryFds();
      const error = await failure(() => openCdevSync(address, roots), code);
      assert.match(error.message, message);
      const named = Object.entries(error).filter(([key]) => key === 'path' || key === 'device');
      assert.deepEqual(Object.fromEntries(named), { path: nodeOf(roots), device: address });
      assertNoMore(libraryFds(), before);
    });
  }

  it('a socket is refused, closed and named', async () => {
    const roots = fakeVfio();
    putFile(roots, 'vfio/devices/x');
    const server = createServer().listen(nodeOf(roots));
    await once(server, 'listening');
    const before = libraryFds();
    const error = await failure(() => openCdevSync(address, roots), 'ENXIO');
    assert.match(error.message, /vfio7'/);
    assertNoMore(libraryFds(), before);
    server.close();
  });

  it('a node whose numbers no driver has is refused and named', async function () {
    const roots = fakeVfio();
    putFile(roots, 'vfio/devices/x');
    const { status } = spawnSync('mknod', [nodeOf(roots), 'c', '511', '1048575']);
    const makesNodes = status === 0 && process.getuid?.() === 0;
    if (!makesNodes) skip(this, 'root, and a temporary folder that may have devices');
    const before = libraryFds();
    const error = await failure(() => openCdevSync(address, roots), 'ENXIO');
    assert.match(error.message, /no such device or address, open 0000:3b:00\.0 '.*vfio7'/);
    assertNoMore(libraryFds(), before);
  });

  it('a hostile node does not hide the right one of its numbers', () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/zero');
    putNode(roots, 'char/1:3', '/dev/null');
    using cdev = openCdevSync(address, roots);
    assert.equal(cdev.path, `${roots.devRoot}/char/1:3`);
    assert.equal(cdev.name, 'vfio7');
  });
});

describe('a node that is swapped all the time', () => {
  const allowed = ['ERR_VFIO_NODE_MISMATCH', 'ENOENT', 'ENXIO', 'EISDIR', 'ELOOP'];
  const rounds = 10_000;

  /** How often what came of it: 'opened', or an error's code. */
  async function openMany(roots: Roots): Promise<Map<string, number>> {
    const seen = new Map<string, number>();
    const waiting = { ...roots, timeout: 5 };
    const ways = [() => openCdev(address, waiting), () => openCdevSync(address, waiting)];
    for (let at = 0; at < rounds; at++) {
      const open = ways[at % 20] ?? ((): VfioCdev => openCdevSync(address, roots));
      const result = await judge(open);
      seen.set(result, (seen.get(result) ?? 0) + 1);
    }
    return seen;
  }

  async function judge(open: () => VfioCdev | Promise<VfioCdev>): Promise<string> {
    try {
      const cdev = await open();
      const { rdev } = fstatSync(cdev.fd);
      cdev.closeSync();
      assert.equal(rdev, 0x103, 'not /dev/null');
      return 'opened';
    } catch (error) {
      if (error instanceof VfioError && allowed.includes(error.code)) return error.code;
      throw error;
    }
  }

  it(`is never another device, and leaves no descriptor, in ${rounds} rounds`, async () => {
    await firstWait();
    const roots = fakeVfio();
    putFile(roots, 'vfio/devices/x');
    const racer = startRacer(nodeOf(roots));
    try {
      await once(racer.stdout, 'data');
      const before = libraryFds();
      const seen = await openMany(roots);
      assertNoMore(libraryFds(), before);
      const { opened = 0, ERR_VFIO_NODE_MISMATCH: mismatches = 0 } = Object.fromEntries(seen);
      assert.ok(opened > 0 && mismatches > 0, inspect(seen));
    } finally {
      racer.stdin.end();
      await once(racer, 'exit');
    }
  }).timeout(120_000);
});

function startRacer(node: string): ChildProcessByStdio<Writable, Readable, null> {
  const file = new URL('../support/racer.ts', import.meta.url).pathname;
  const args = ['--import', 'tsx', file, node];
  return spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
}
