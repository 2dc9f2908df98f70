// Run as a child by races.ts: the node that argv names comes and goes, and others stand in its place, until stdin ends.
import { linkSync, renameSync, rmSync, writeFileSync } from 'node:fs';

const [node = '', other = ''] = process.argv.slice(2);
const spare = `${node}-spare`;
const next = `${node}-next`;

/** Another name for what is there, and then the node's in one step. */
function put(file: string): void {
  linkSync(file, next);
  renameSync(next, node);
  // A rename of a name of the same file does nothing.
  rmSync(next, { force: true });
}

function swapForAWhile(): void {
  for (let at = 0; at < 20; at++) {
    rmSync(node, { force: true });
    put(spare);
    rmSync(node);
    if (at % 4 === 1) put(other);
    if (at % 4 === 3) writeFileSync(node, '');
    put(spare);
  }
  setImmediate(swapForAWhile);
}

linkSync(node, spare);
process.stdin
  .on('end', () => {
    put(spare);
    rmSync(spare);
    process.exit();
  })
  .resume();
console.log('racing');
swapForAWhile();
