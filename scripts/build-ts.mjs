// Builds dist/: the JavaScript by esbuild, in few files, since loading thirty modules takes longer than
// all that they do; the types by tsc, a file for each of lib/, which are rolled up into one.
import { spawnSync } from 'node:child_process';
import { copyFileSync, rmSync } from 'node:fs';
import { build } from 'esbuild';
import { rollUpTypes } from './roll-up-types.mjs';

const { status, error } = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
if (error) throw error;
if (status !== 0) process.exit(status ?? 1);

// Chunks are named after what is in them, so that old ones would stay for ever.
rmSync('dist', { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ['lib/index.ts', 'lib/cli/main.ts', 'lib/cli/run.ts', 'lib/cli/commands.ts'],
  outbase: 'lib',
  outdir: 'dist',
  bundle: true,
  // What the entries share is one chunk: the classes are the same for all of them.
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  sourcemap: true,
  sourcesContent: true,
  metafile: true,
});
await rollUpTypes(metafile.outputs['dist/index.js'].exports);
copyFileSync('build-types/index.d.ts', 'dist/index.d.ts');
