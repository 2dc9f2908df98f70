import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { after, beforeEach, describe, it } from 'mocha';

import { cacheRoot, provide, recipeHash } from '../../lab/cache.ts';

/**
 * A program that provides "thing" and logs each step to the cache's "log". It takes so many
 * milliseconds for it, or until SIGUSR2.
 */
const PROGRAM = `
  import { appendFileSync, writeFileSync } from 'node:fs';
  import { setTimeout } from 'node:timers/promises';
  const stop = new AbortController();
  process.on('SIGUSR2', () => stop.abort());
  import { provide } from '${join(import.meta.dirname, '../../lab/cache.ts')}';
  const [cache, milliseconds] = process.argv.slice(1);
  await provide(cache, 'thing', async (folder) => {
    appendFileSync(cache + '/log', 'begin\\n');
    writeFileSync(folder + '/half', 'x');
    process.stdout.write('building\\n');
    await setTimeout(Number(milliseconds), undefined, stop).catch(() => undefined);
    writeFileSync(folder + '/whole', 'x');
    appendFileSync(cache + '/log', 'end\\n');
  });
`;

const folders: string[] = [];
let cache = '';

function provider(milliseconds: number): ChildProcess {
  const args = ['--import', 'tsx', '--input-type=module', '--eval', PROGRAM];
  return spawn(process.execPath, [...args, cache, `${milliseconds}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function exitCode(child: ChildProcess): Promise<unknown> {
  const [code] = (await once(child, 'close')) as [unknown];
  return code;
}

async function building(child: ChildProcess): Promise<void> {
  assert(child.stdout);
  await once(child.stdout, 'data');
}

beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'vfio-lab-test-'));
  folders.push(cache);
});

after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

describe('lab cache', () => {
  it('is made by one of two who start at once; the other waits and says so', async () => {
    const first = provider(60_000);
    await building(first);
    const second = provider(0);
    assert(second.stderr);
    const [said] = (await once(second.stderr, 'data')) as [Buffer];
    assert.match(said.toString(), /another lab is filling/);
    first.kill('SIGUSR2'); // ends its making
    assert.deepEqual(await Promise.all([exitCode(first), exitCode(second)]), [0, 0]);
    assert.equal(readFileSync(join(cache, 'log'), 'utf8'), 'begin\nend\n');
  });

  it('survives a maker that is killed: nothing half made is served, the lock is free', async () => {
    const killed = provider(60_000);
    await building(killed);
    killed.kill('SIGKILL');
    await exitCode(killed);
    assert(!readdirSync(cache).includes('thing'));
    assert.equal(await exitCode(provider(0)), 0);
    assert.deepEqual(readdirSync(join(cache, 'thing')).sort(), ['half', 'whole']);
    assert.deepEqual(readdirSync(cache).sort(), ['lock', 'log', 'thing']);
  });

  it('leaves nothing of a making that fails, and tries again', async () => {
    const failure = new Error('no');
    await assert.rejects(
      provide(cache, 'thing', () => Promise.reject(failure)),
      failure,
    );
    assert.deepEqual(readdirSync(cache), ['lock']);
    await provide(cache, 'thing', () => Promise.resolve());
    assert.deepEqual(readdirSync(cache).sort(), ['lock', 'thing']);
  });

  it('forgets what nobody has used for long, when something new is made', async () => {
    for (const [name, age] of Object.entries({ old: 60, recent: 1 })) {
      mkdirSync(join(cache, name));
      const time = Date.now() / 1000 - age * 86_400;
      utimesSync(join(cache, name), time, time);
    }
    await provide(cache, 'new', () => Promise.resolve());
    assert.deepEqual(readdirSync(cache).sort(), ['lock', 'new', 'recent']);
  });

  it('is where XDG says, if that is an absolute path', () => {
    assert.equal(cacheRoot({ XDG_CACHE_HOME: '/x' }), '/x/vfio-lab');
    assert.match(cacheRoot({ XDG_CACHE_HOME: 'x' }), /^\/.*\/\.cache\/vfio-lab$/);
  });

  it('has a new name for every change of a recipe', () => {
    const hashes = [recipeHash('a', 'b'), recipeHash('ab'), recipeHash('a', 'c')];
    assert.equal(new Set(hashes).size, 3);
    assert.equal(recipeHash('a', 'b'), hashes[0]);
  });
});
