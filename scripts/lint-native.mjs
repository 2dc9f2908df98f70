// Checks the layout of all C and C++ with clang-format; `--fix` writes it.
import { spawnSync } from 'node:child_process';

const tracked = spawnSync('git', ['ls-files', '-co', '--exclude-standard', '*.cc', '*.h', '*.c'], {
  encoding: 'utf8',
});
if (tracked.status !== 0) throw new Error(`git ls-files failed: ${tracked.stderr}`);
const files = tracked.stdout.split('\n').filter((file) => file !== '');
const how = process.argv.includes('--fix') ? ['-i'] : ['--dry-run', '--Werror'];
const { status, error } = spawnSync('clang-format', [...how, ...files], { stdio: 'inherit' });
if (error) throw error;
process.exit(status ?? 1);
