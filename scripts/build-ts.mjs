// Builds dist/: the types by tsc, a file for each of lib/; the JavaScript by esbuild, in few files,
// since loading thirty modules takes longer than all that they do.
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const { status, error } = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
if (error) throw error;
if (status !== 0) process.exit(status ?? 1);

// Chunks are named after what is in them, so that old ones would stay for ever.
for (const name of readdirSync('dist', { recursive: true })) {
  if (/\.js(\.map)?$/.test(name)) rmSync(`dist/${name}`);
}

await build({
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
  // The sources are no part of the package: their text would be a third of it.
  sourcesContent: false,
});
