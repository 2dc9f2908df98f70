// node scripts/publish-gate.mjs <tarball> <tag>: fails, and says why, where the tarball has not
// exactly the files that it should have, where a binary is broken, where it is of another version
// than the tag, or, in a workflow of GitHub, of another repository. The release workflow runs it
// before it publishes. It runs in a git checkout of what was packed: git knows which files belong
// to the package.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { problemsOfBinaries } from './package-binaries.mjs';
import { problemsOfFiles } from './package-files.mjs';
import { unpack } from './unpack.mjs';

const [tarball, tag] = process.argv.slice(2);
if (tarball === undefined || tag === undefined) {
  console.error('usage: node scripts/publish-gate.mjs <tarball> <tag>');
  process.exit(2);
}

try {
  for (const problem of problemsOfTarball()) refuse(problem);
} catch (error) {
  refuse(error.message); // what cannot be looked at is not published either
}

function refuse(problem) {
  console.error(`not published: ${problem}`);
  process.exitCode = 1;
}

function problemsOfTarball() {
  const folder = unpack(tarball);
  try {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return [
      ...problemsOfFiles(folder),
      ...problemsOfBinaries(folder),
      ...problemsOfVersion(manifest),
      ...problemsOfRepository(manifest),
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function problemsOfVersion({ version }) {
  return tag === `v${version}`
    ? []
    : [`the tag is ${tag}, and the package is of version ${version}`];
}

/**
 * npm refuses provenance where the package names another repository than the one whose workflow
 * built it.
 */
function problemsOfRepository({ repository }) {
  const { GITHUB_SERVER_URL, GITHUB_REPOSITORY } = process.env;
  if (GITHUB_REPOSITORY === undefined) return [];
  const wanted = `git+${GITHUB_SERVER_URL}/${GITHUB_REPOSITORY}.git`;
  return repository?.url === wanted
    ? []
    : [`repository.url is ${repository?.url}, and provenance needs ${wanted}`];
}
