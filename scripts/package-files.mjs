import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { binaries } from './package-binaries.mjs';

/**
 * What is in an unpacked package and should not be, and what should be and is not. It runs in a git
 * checkout of what was packed.
 */
export function problemsOfFiles(folder) {
  const wanted = new Set([
    ...trackedFiles(folder),
    ...distFiles(folder),
    ...binaries.map((each) => each.path),
  ]);
  const entries = entriesBelow(folder);
  const found = new Set(entries.filter(({ stats }) => stats.isFile()).map(({ name }) => name));
  const neither = entries.filter(({ stats }) => !stats.isFile() && !stats.isDirectory());
  const extra = [...found].filter((file) => !wanted.has(file));
  const lacking = [...wanted].filter((file) => !found.has(file));
  return [
    ...neither.map(({ name }) => `${name} is neither a regular file nor a folder`),
    ...extra.map((file) => `${file} is in the package, and nothing needs it`),
    ...lacking.map((file) => `${file} is not in the package`),
  ];
}

function entriesBelow(folder) {
  const names = readdirSync(folder, { recursive: true });
  return names.map((name) => ({ name, stats: lstatSync(join(folder, name)) }));
}

/** What git knows of what package.json lists, and what npm always packs. */
function trackedFiles(folder) {
  const { files } = manifestOf(folder);
  const built = ['dist', 'prebuilds'];
  const listed = files.filter((file) => !file.startsWith('!') && !built.includes(file));
  const paths = ['package.json', 'README.md', 'LICENSE', ...listed].map((path) => `:(glob)${path}`);
  const { status, stdout, stderr, error } = spawnSync('git', ['ls-files', '-z', '--', ...paths], {
    encoding: 'utf8',
  });
  if (error) throw error;
  if (status !== 0) {
    const needs = 'which files belong to the package is known in a git checkout only';
    throw new Error(`git ls-files failed, and ${needs}: ${stderr.trim()}`);
  }
  return stdout.split('\0').filter((file) => file !== '');
}

/** The modules and types that package.json names, and what they import. */
function distFiles(folder) {
  const { exports, bin } = manifestOf(folder);
  const wanted = new Set();
  const follow = (file) => {
    if (wanted.has(file)) return;
    wanted.add(file);
    if (existsSync(join(folder, file))) importsOf(folder, file).forEach(follow);
  };
  [...pathsIn(exports), ...pathsIn(bin)].filter((file) => file.startsWith('dist/')).forEach(follow);
  return wanted;
}

/** The files that a tree of conditions leads to. */
function pathsIn(conditions) {
  if (typeof conditions === 'string') return [join(conditions)];
  return Object.values(conditions).flatMap(pathsIn);
}

function importsOf(folder, file) {
  const text = readFileSync(join(folder, file), 'utf8');
  const specifiers = text.matchAll(/\b(?:from|import)\s*\(?\s*["'](\.{1,2}\/[^"']+)["']/g);
  return [...specifiers].map(([, specifier]) => {
    const path = join(dirname(file), specifier);
    return file.endsWith('.d.ts') ? path.replace(/(\.d)?\.[jt]s$/, '.d.ts') : path;
  });
}

function manifestOf(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
}
