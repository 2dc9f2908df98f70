// Builds dist/: the JavaScript by esbuild, in few files, since loading thirty modules takes longer
// than all that they do; the types by tsc, a file for each of lib/, which are rolled up into one.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { build, transform } from 'esbuild';
import { rollUpTypes } from './roll-up-types.mjs';

const { status, error } = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
if (error) throw error;
if (status !== 0) process.exit(status ?? 1);

// Chunks are named after what is in them, so that old ones would stay for ever.
rmSync('dist', { recursive: true, force: true });
const { metafile, outputFiles } = await build({
  entryPoints: [
    'lib/index.ts',
    'lib/testing/index.ts',
    'lib/cli/main.ts',
    'lib/cli/run.ts',
    'lib/cli/commands.ts',
  ],
  outbase: 'lib',
  outdir: 'dist',
  bundle: true,
  // What the entries share is one chunk: the classes are the same for all of them.
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  minifyWhitespace: true,
  metafile: true,
  write: false,
});

// Without comments, which cost as much to load as code does, and in short forms, which are a hundredth
// of the packed package; but on lines of its own, with the names of the source, so that stacks can be
// read without source maps.
for (const { path, text } of outputFiles) {
  const { code } = await transform(text, {
    format: 'esm',
    target: 'node20.19',
    minifySyntax: true,
  });
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, withBuiltinsAskedFor(withClassNames(code)));
}
for (const [name, output] of [
  ['index', 'dist/index.js'],
  ['testing', 'dist/testing/index.js'],
]) {
  await rollUpTypes(name, metafile.outputs[output].exports);
  copyFileSync(`build-types/${name}.d.ts`, `dist/${name}.d.ts`);
}

/**
 * esbuild calls a class _X inside, where its body speaks of it; stacks and `X.name` would say _X.
 */
function withClassNames(code) {
  const classes = [...code.matchAll(/\b(\w+) = class _\1\b/g)].map(([, name]) => name);
  return classes.reduce(
    (text, name) => text.replace(new RegExp(`\\b_${name}\\b`, 'g'), name),
    code,
  );
}

/**
 * Node's modules are asked for, not imported: an import reads all that a module exports, and with
 * that loads what lies behind its getters. docs/performance.md says what that takes.
 */
function withBuiltinsAskedFor(code) {
  const asked = code.replace(/^import \{ (.+) \} from ("node:.+");$/gm, (_, names, module) => {
    return `const { ${names.replaceAll(' as ', ': ')} } = process.getBuiltinModule(${module});`;
  });
  const left = /^import .*"node:.*$/m.exec(asked);
  if (left !== null) throw new Error(`only names can be asked for: ${left[0]}`);
  return asked;
}
