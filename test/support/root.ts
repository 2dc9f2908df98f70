import { existsSync } from 'node:fs';

/** The checkout, as a folder's URL: from here or from where build:test puts this file. */
export const root: URL = findRoot();

function findRoot(): URL {
  let at = new URL('..', import.meta.url);
  while (!existsSync(new URL('binding.gyp', at))) at = new URL('..', at);
  return at;
}
