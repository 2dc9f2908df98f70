// What a user downloads counts for one platform: the tarball without the binaries of the others.
import { spawnSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import { binaries } from './package-binaries.mjs';

const mostBytes = 600_000;

/** What is too large, of {@link packedSizes}. */
export function problemsOfSize(sizes) {
  return sizes
    .filter(({ size }) => size > mostBytes)
    .map(({ path, size }) => `with ${path} alone it has ${size} bytes, more than ${mostBytes}`);
}

/** The size of an unpacked package for each of the platforms, in bytes. */
export function packedSizes(unpacked) {
  return binaries.map(({ path }) => {
    const others = binaries.filter((other) => other.path !== path);
    return {
      path,
      size: packedSize(
        unpacked,
        others.map((other) => other.path),
      ),
    };
  });
}

function packedSize(unpacked, without) {
  const excluded = without.map((path) => `--exclude=./${path}`);
  const args = ['--create', ...excluded, '--directory', unpacked, '.'];
  const { status, stdout, error } = spawnSync('tar', args, { maxBuffer: 2 ** 30 });
  if (error) throw error;
  if (status !== 0) throw new Error('tar failed');
  return gzipSync(stdout, { level: 9 }).length;
}
