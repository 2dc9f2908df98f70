// node scripts/publish-gate.mjs <tarball> <tag>: fails, and says why, where the tarball lacks a binary or is
// of another version than the tag. The release workflow runs it before it publishes.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { problemsOfBinaries } from './package-binaries.mjs';
import { unpack } from './unpack.mjs';

const [tarball, tag] = process.argv.slice(2);
if (tarball === undefined || tag === undefined) {
  console.error('usage: node scripts/publish-gate.mjs <tarball> <tag>');
  process.exit(2);
}

const folder = unpack(tarball);
const problems = [...problemsOfBinaries(folder), ...problemsOfVersion(folder)];
rmSync(folder, { recursive: true });

for (const problem of problems) console.error(`not published: ${problem}`);
process.exitCode = problems.length === 0 ? 0 : 1;

function problemsOfVersion(folder) {
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return tag === `v${version}`
    ? []
    : [`the tag is ${tag}, and the package is of version ${version}`];
}
