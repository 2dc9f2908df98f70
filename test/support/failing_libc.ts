import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './root.ts';
import { tree } from './tree.ts';

/** What a program said that runs with failing_libc.c. It has to end well. */
export function runWithFailingLibc(program: string): { stdout: string; stderr: string } {
  const folder = tree({ 'program.mts': program });
  const library = join(folder, 'failing_libc.so');
  const source = new URL('test/support/failing_libc.c', root).pathname;
  const compiled = spawnSync('gcc', ['-shared', '-fPIC', '-o', library, source, '-ldl'], {
    encoding: 'utf8',
  });
  assert.equal(compiled.status, 0, compiled.stderr);

  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', join(folder, 'program.mts')],
    { cwd: root, encoding: 'utf8', env: { ...process.env, LD_PRELOAD: preloaded(library) } },
  );
  assert.deepEqual({ status, signal }, { status: 0, signal: null }, stderr);
  return { stdout, stderr };
}

/** After what is preloaded already, as a sanitizer's runtime is, which has to be the first. */
function preloaded(library: string): string {
  const before = process.env['LD_PRELOAD'];
  return before === undefined ? library : `${before} ${library}`;
}

/** For programs: the file at this path of the checkout. */
export const moduleAt = (path: string): string => JSON.stringify(new URL(path, root).href);
