// Run as a child by test/unit/hostile_node.test.ts: puts one thing after another in the place of
// the node that argv names, until its stdin ends.
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';

const node = process.argv[2] ?? '';
const folder = dirname(node);
const next = join(folder, 'next');
const link = (target: string) => (): void => {
  symlinkSync(target, next);
  renameSync(next, node);
};

execFileSync('mkfifo', [join(folder, 'fifo')]);
createServer().listen(join(folder, 'socket')).unref();
writeFileSync(join(folder, 'file'), '');
mkdirSync(join(folder, 'folder'));

const right = link('/dev/null');
const wrong = [
  link('/dev/zero'),
  link('fifo'),
  link('socket'),
  link('file'),
  link('folder'),
  link('loop'),
  link(node),
  (): void => {
    rmSync(node);
  },
];

function swapForAWhile(): void {
  for (let at = 0; at < 200; at++) {
    right();
    wrong[at % wrong.length]?.();
  }
  setImmediate(swapForAWhile);
}

process.stdin.on('end', () => process.exit()).resume();
right();
console.log('racing');
swapForAWhile();
