// What a soak is, and how it is run: its first tenth warms up, the gauges are read, and read again at its end.
import { stat } from 'node:fs/promises';
import { DmaBuffer } from '../../lib/index.ts';
import { KernelLog } from '../support/edu.ts';
import {
  grown,
  kernelWarnings,
  settledGauges,
  shown,
  steadyGauges,
  type Gauges,
} from './gauges.ts';

export interface Soak {
  /** What a round is. */
  what: string;
  /** On this machine, or in the lab, whose devices it needs. */
  where: 'machine' | 'lab';
  /** As many rounds as issue by issue are promised, and as few as show that it runs. */
  rounds: number;
  quick: number;
  /** So many rounds are asked for at a time. */
  batch: number;
  begin: () => Promise<Session> | Session;
}

export interface Session extends AsyncDisposable {
  /** Throws where something is not as it should be. */
  run: (rounds: number) => Promise<void>;
  /** What came of the rounds, by name. */
  seen?: Record<string, number>;
}

export interface RunOptions {
  rounds: number;
  /** Called in each thousand rounds, or in each tenth of fewer: leaves something behind, to be found. */
  leak: (() => unknown) | undefined;
  /** Told after each batch: the rounds so far. */
  onProgress: (done: number) => void;
}

export interface Verdict {
  seconds: number;
  gauges: string;
  seen: Record<string, number>;
  /** Empty where everything is flat. */
  faults: string[];
}

export async function runSoak(soak: Soak, options: RunOptions): Promise<Verdict> {
  const start = performance.now();
  const log = soak.where === 'lab' ? new KernelLog() : undefined;
  const session = await soak.begin();
  const { before, after } = await runBetween(session, soak.batch, options);
  await session[Symbol.asyncDispose]();
  const warnings = kernelWarnings(log?.read() ?? []);
  log?.close();
  return {
    seconds: (performance.now() - start) / 1000,
    gauges: shown(before, after),
    seen: session.seen ?? {},
    faults: [...grown(before, after), ...warnings.map((line) => `the kernel says: ${line}`)],
  };
}

/**
 * Threads are made when all are busy, and kept: as many as are ever busy at a time are made before.
 */
async function fillThreads(): Promise<void> {
  const some = Array.from({ length: 8 }, () => DmaBuffer.allocate(4096));
  for (const buffer of await Promise.all(some)) await buffer.dispose();
  // The four of libuv.
  await stat('/');
}

async function runBetween(
  session: Session,
  batch: number,
  { rounds, leak, onProgress }: RunOptions,
): Promise<{ before: Gauges; after: Gauges }> {
  const leakEvery = leak ? Math.min(1000, Math.ceil(rounds / 10)) : Infinity;
  let done = 0;
  let leaks = 0;
  const runTo = async (end: number): Promise<void> => {
    while (done < end) {
      const some = Math.min(batch, end - done);
      await session.run(some);
      done += some;
      for (; leaks < Math.floor(done / leakEvery); leaks++) leak?.();
      onProgress(done);
    }
  };
  await fillThreads();
  await runTo(Math.ceil(rounds / 10));
  const before = await steadyGauges();
  await runTo(rounds);
  return { before, after: await settledGauges(before) };
}
