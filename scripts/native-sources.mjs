// What the addon is built from, as a hash: where it is the same, building again would make the
// same.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** For builds in the current folder; `target` is the architecture that is built for. */
export function hashOfSources(target) {
  const require = createRequire(import.meta.url);
  const { version } = require('node-addon-api/package.json');
  const hash = createHash('sha256').update(`${process.version} ${target} ${version}`);
  const files = readdirSync('native', { recursive: true }).filter((name) =>
    /\.(cc|h|gypi)$/.test(name),
  );
  for (const file of ['binding.gyp', ...files.sort().map((name) => `native/${name}`)]) {
    hash.update(`\0${file}\0`).update(readFileSync(file));
  }
  return hash.digest('hex');
}

/** Whether `addon` is there, and the file `stamp` says that it was built from these sources. */
export function isBuilt(addon, stamp, sources) {
  return existsSync(addon) && existsSync(stamp) && readFileSync(stamp, 'utf8') === sources;
}
