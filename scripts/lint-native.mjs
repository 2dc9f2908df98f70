// Checks the layout of all C and C++ with clang-format (`--fix` writes it), and that the addon has
// neither paths nor sentences: those are TypeScript's.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const tracked = spawnSync('git', ['ls-files', '-co', '--exclude-standard', '*.cc', '*.h', '*.c'], {
  encoding: 'utf8',
});
if (tracked.status !== 0) throw new Error(`git ls-files failed: ${tracked.stderr}`);
const files = tracked.stdout.split('\n').filter((file) => file !== '');
const how = process.argv.includes('--fix') ? ['-i'] : ['--dry-run', '--Werror'];
const { status, error } = spawnSync('clang-format', [...how, ...files], { stdio: 'inherit' });
if (error) throw error;
const texts = files.filter((file) => /^native\/.*\.(cc|h)$/.test(file)).flatMap(textsIn);
for (const text of texts) console.error(`${text}: paths and sentences belong into lib/`);
process.exit(texts.length > 0 ? 1 : (status ?? 1));

/**
 * Literals that are no name: with a slash or a space. The compiler's own lines, and assembly, are
 * none of it.
 */
function textsIn(file) {
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.flatMap((line, at) => {
    if (/^\s*(\/\/|#|static_assert)|\basm\b/.test(line)) return [];
    const literals = line.match(/"(?:[^"\\]|\\.)*"/g) ?? [];
    return literals.filter((text) => /[ /]/.test(text)).map((text) => `${file}:${at + 1}: ${text}`);
  });
}
