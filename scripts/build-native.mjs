// npm run build:native: builds the addon of a checkout into build/Release, against the headers of
// the Node that runs. Nothing is done if the same sources were built before: `npm ci` gives every
// header a new date, which would have make build everything again.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { hashOfSources, isBuilt } from './native-sources.mjs';
import { buildAddon, requireTools } from './node-gyp.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const stamp = 'build/Release/vfio.sources';
const sources = hashOfSources(process.arch);
if (!isBuilt('build/Release/vfio.node', stamp, sources)) {
  requireTools();
  const status = buildAddon({ folder: '.', options: ['--warnings_are_errors=true'] });
  if (status === 0) writeFileSync(stamp, sources);
  process.exitCode = status;
}
