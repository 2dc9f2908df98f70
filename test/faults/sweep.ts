// Run in a process of its own by main.ts, with the shim: does a scenario again and again, with each
// call failing once. Tells each step as a line of JSON on standard output.
import { mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { inspect } from 'node:util';
import { binding } from '../../lib/core/binding.ts';
import { failingCalls, type FailingCall } from './calls.ts';
import type { Order, Report, Step } from './reports.ts';
import { scenarios, type Host } from './scenarios.ts';
import { type Fault, Shim } from './shim.ts';
import { moreThan, settled, type State, stateNow } from './state.ts';
import { whyUntold } from './verdict.ts';

/** A scenario that takes longer hangs. */
const deadline = 30_000;

const order = JSON.parse(process.argv[2] ?? '') as Order;
const scenario = scenarios[order.scenario];
if (scenario === undefined) throw new Error(`there is no scenario ${order.scenario}`);

binding(); // loads the addon, whose calls are counted
const shim = new Shim();

/** What nobody waited for. */
const strays: string[] = [];
process.on('unhandledRejection', (reason) => {
  strays.push(`unhandled rejection: ${String(reason)}`);
});
process.on('uncaughtException', (error) => {
  strays.push(`uncaught: ${String(error)}`);
});
process.on('warning', (warning) => {
  const { code } = warning as { code?: string };
  if (code === 'VFIO_NOT_CLOSED') strays.push(`dropped: ${warning.message}`);
});

function tell(report: Report): void {
  writeSync(1, `${JSON.stringify(report)}\n`);
}

type Outcome = { done: true } | { done: false; error: unknown } | 'hangs';

async function once(): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-faults-'));
  const { device, roots, fake } = order;
  const host: Host = { device, roots, fake, folder };
  const timer = new AbortController();
  const late = setTimeout(deadline, 'hangs' as const, { signal: timer.signal });
  const run = async (): Promise<Outcome> => {
    try {
      await scenario?.(host);
      return { done: true };
    } catch (error) {
      return { done: false, error };
    }
  };
  const outcome = await Promise.race([run(), late]);
  timer.abort();
  await late.catch(() => undefined);
  rmSync(folder, { recursive: true, force: true });
  return outcome;
}

/** One that nothing makes fail. */
async function clean(before?: State): Promise<void> {
  const outcome = await once();
  if (outcome === 'hangs') throw new Error('the next try hangs');
  if (!outcome.done) throw new Error('the next try fails', { cause: outcome.error });
  if (before === undefined) return;
  const more = await settled(before);
  if (more.length > 0) throw new Error(`the next try leaves ${more.join(', ')}`);
}

/** What was wrong with one failure; and whether it was told or done without. */
async function tryFault(fault: Fault): Promise<Pick<Step, 'outcome' | 'lost'>> {
  const before = withThreads(stateNow());
  const lost: string[] = [];
  shim.arm(fault);
  const outcome = await once();
  const failed = shim.failed();
  shim.disarm();
  const more = await settled(before, 3_000);
  const isDone = outcome !== 'hangs' && outcome.done;
  const stays = more.length > 0 && more.every((what) => mayStay(what, fault, isDone));
  if (more.length > 0 && !stays) lost.push(`leaves ${more.join(', ')}`);
  lost.push(...strays.splice(0));
  const from = failed?.from.toString(16);
  if (outcome === 'hangs') return { outcome: 'hangs', lost: [...lost, `hangs (${from})`] };
  if (failed === undefined) return { outcome: 'not made', lost };
  if (!outcome.done) {
    const why = whyUntold(outcome.error, fault, failed);
    if (why !== undefined) lost.push(`${why} (${from})`);
  }
  if (stays) return { outcome: 'told: it stays', lost };
  const went = outcome.done ? `went on ${from} ${failed.argument.toString(16)}` : 'told';
  return { outcome: went, lost };
}

/** As many threads as there were at first: the few that may come are counted once. */
function withThreads(state: State): State {
  first ??= state;
  return new Map([...state, ['threads', first.get('threads') ?? 0]]);
}

let first: State | undefined;

/**
 * DMA memory whose pages munmap, or the mmap in their place, refuses to take back stays until the
 * process ends: nobody is left who could try again (Memory in native/memory.cc).
 */
function mayStay(what: string, { call }: Fault, isDone: boolean): boolean {
  if (!what.startsWith('mapping of /memfd:vfio-dma')) return false;
  return call.symbol === 'munmap' || (call.symbol === 'mmap64' && isDone);
}

async function step(fault: Fault): Promise<void> {
  const named = { call: fault.call.symbol, nth: fault.nth, errno: fault.errno };
  tell({ begins: named });
  const { outcome, lost } = await tryFault(fault);
  const before = withThreads(stateNow());
  try {
    await clean(before);
  } catch (error) {
    const { message, cause } = error as Error;
    lost.push(cause === undefined ? message : `${message}: ${inspect(cause)}`);
  }
  lost.push(...strays.splice(0));
  tell({ step: { ...named, outcome, lost } });
  if (outcome === 'hangs') process.exit(3);
}

/** The n-th calls that are tried: all, or as many as asked for, spread over them. */
function* nths(count: number): Generator<number> {
  const every = Math.max(1, Math.ceil(count / (order.most ?? count)));
  for (let nth = 1; nth <= count; nth += every) yield nth;
}

function* faults(counts: ReadonlyMap<FailingCall, number>): Generator<Fault> {
  for (const [call, count] of counts) {
    if (call.kind === 'kThrow') continue;
    for (const nth of nths(count)) {
      for (const errno of call.errnos.slice(0, order.errnos)) yield { call, nth, errno };
    }
  }
}

async function sweep(): Promise<void> {
  // What Node and the library make once and keep.
  for (let at = 0; at < 3; at++) await clean();
  shim.arm();
  await clean();
  const counts = shim.counts();
  shim.disarm();
  await steady();
  tell({ counts: Object.fromEntries([...counts].map(([{ symbol }, count]) => [symbol, count])) });
  let at = 0;
  for (const fault of faults(counts)) {
    if (at++ >= order.from) await step(fault);
  }
  tell({ end: true });
}

/** When what was closed is gone. */
async function steady(): Promise<void> {
  let before = stateNow();
  for (let same = 0; same < 5;) {
    globalThis.gc?.();
    await setTimeout(10);
    const now = stateNow();
    same = moreThan(now, before).length === 0 && moreThan(before, now).length === 0 ? same + 1 : 0;
    before = now;
  }
}

/** Ends by what fails: there is nothing to look at afterwards. */
async function endBy({ call, nth }: { call: string; nth: number }): Promise<void> {
  await clean();
  const found = failingCalls.find(({ symbol }) => symbol === call);
  if (found === undefined) throw new Error(`there is no ${call}`);
  shim.arm({ call: found, nth, errno: 'ENOMEM' });
  await once();
  shim.disarm();
  tell({ end: true });
}

try {
  if (order.only === undefined) await sweep();
  else await endBy(order.only);
  // What was counted as left behind may keep the loop alive.
  process.exit();
} catch (error) {
  process.stderr.write(`${inspect(error)}\n`);
  process.exit(4);
}
