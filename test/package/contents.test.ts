import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';
import { tarball } from './tarball.ts';

interface Scripts {
  unpack: (tarball: string) => string;
  problemsOfFiles: (folder: string) => string[];
  packedSizes: (folder: string) => object[];
  problemsOfSize: (sizes: object[]) => string[];
}

async function script<Name extends keyof Scripts>(
  file: string,
  name: Name,
): Promise<Scripts[Name]> {
  const module = (await import(new URL(`scripts/${file}`, root).href)) as Scripts;
  return module[name];
}

describe('the tarball', () => {
  it('has no script that npm would ask its users about', async () => {
    const unpack = await script('unpack.mjs', 'unpack');
    const folder = unpack(tarball());
    try {
      const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as object;
      assert.ok(!('scripts' in manifest));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('has what its users need, and nothing else, and is no larger than 600 kB for one platform', async () => {
    const unpack = await script('unpack.mjs', 'unpack');
    const problemsOfFiles = await script('package-files.mjs', 'problemsOfFiles');
    const packedSizes = await script('package-size.mjs', 'packedSizes');
    const problemsOfSize = await script('package-size.mjs', 'problemsOfSize');
    const folder = unpack(tarball());
    try {
      // A machine without a cross compiler packs without that binary; a release is refused then.
      const problems = problemsOfFiles(folder).filter(
        (problem) => !problem.startsWith('prebuilds/'),
      );
      assert.deepEqual([...problems, ...problemsOfSize(packedSizes(folder))], []);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
