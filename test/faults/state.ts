// What a process has of the kernel, to be as it was before when something has failed.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { openFds } from '../support/proc.ts';

/** Counts by name: descriptors by what they lead to, mappings by their file, threads, pins. */
export type State = ReadonlyMap<string, number>;

export function stateNow(): State {
  const state = new Map<string, number>();
  const add = (name: string, count = 1): void => {
    state.set(name, (state.get(name) ?? 0) + count);
  };
  for (const target of openFds()) {
    // A folder that is being read, this one of /proc.
    if (!target.startsWith('/proc/')) add(`descriptor of ${target.replace(/:\[\d+\]/, '')}`);
  }
  for (const name of mappedFiles()) add(`mapping of ${name}`);
  add('threads', readdirSync('/proc/self/task').length);
  for (const [name, kilobytes] of pinned()) add(name, kilobytes);
  return state;
}

/** Of what the library maps: DMA memory, and what devices have. */
function mappedFiles(): string[] {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  const names = lines.map((line) => line.split(/\s+/).slice(5).join(' '));
  return names.filter((name) => /memfd:|^\/dev\/|anon_inode|vfio-device/.test(name));
}

function pinned(): [string, number][] {
  const status = readFileSync('/proc/self/status', 'utf8');
  return [...status.matchAll(/^(VmLck|VmPin):\s+(\d+) kB$/gm)].map(([, name = '', size]) => [
    name,
    Number(size),
  ]);
}

/** Threads are kept, and one is made where another has not come to its end yet. */
const spare = (name: string): number => (name === 'threads' ? 4 : 0);

/** What there is more of; nothing where there is none. */
export function moreThan(before: State, now: State = stateNow()): string[] {
  const more = [...now].filter(([name, count]) => count > (before.get(name) ?? 0) + spare(name));
  return more.map(([name, count]) => `${name}: ${before.get(name) ?? 0}, now ${count}`);
}

/**
 * Waits until there is no more than before: what was closed needs a turn of the loop, and memory
 * that JavaScript saw is given back when it is collected. Answers what is left after `most`
 * milliseconds.
 */
export async function settled(before: State, most = 10_000): Promise<string[]> {
  const end = performance.now() + most;
  let more = moreThan(before);
  for (let at = 0; more.length > 0 && performance.now() < end; at++) {
    await setTimeout(at < 10 ? 1 : 20);
    globalThis.gc?.();
    more = moreThan(before);
  }
  return more;
}
