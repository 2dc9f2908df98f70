// Runs one lane of `npm test`.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT_LAB_FAILED } from '../../lab/failure.ts';
import type { Lane } from './lanes.ts';
import { readResults, type Results } from './results.ts';

/** How a lane went. */
export interface Outcome {
  lane: string;
  seconds: number;
  /** Its exit status; null where a signal ended it. */
  status: number | null;
  isCheck: boolean;
  /** Of its tests; undefined for a check, and where it ended before it had any. */
  results?: Results | undefined;
  /** What it printed. */
  printed: string;
  /** What the reader of the summary should know besides. */
  notes: string[];
}

/** How long a lane that is told to end may take for it. */
const grace = 5_000;

const running = new Set<ChildProcess>();
let isEnding = false;

/** How often a lane is begun whose VM dies: of eight VMs on a busy machine two were seen to. */
const attempts = 3;

/**
 * Where the VM dies or hangs, as QEMU 7.2 does now and then by a fault of its own, the lane is run
 * again.
 */
export async function runLane(lane: Lane, folder: string): Promise<Outcome> {
  let outcome = await runOnce(lane, folder);
  for (let left = attempts - 1; left > 0 && outcome.status === EXIT_LAB_FAILED; left--) {
    const { seconds, printed, notes } = outcome;
    const note = `its VM died after ${seconds} s, not by a test; it was run again`;
    const next = await runOnce(lane, folder);
    outcome = { ...next, printed: printed + next.printed, notes: [...notes, note] };
  }
  return outcome;
}

async function runOnce({ name, command, isCheck = false }: Lane, folder: string): Promise<Outcome> {
  if (isEnding) return new Promise(() => undefined);
  const file = join(folder, `${name}.jsonl`);
  rmSync(file, { force: true });
  const [program = '', ...args] = command(folder, file);
  const start = performance.now();
  // A process group of its own: all of it is ended by one signal.
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  running.add(child);
  const printed: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => printed.push(bytes));
  const status = await ended(child, printed);
  running.delete(child);
  return {
    lane: name,
    seconds: Math.round((performance.now() - start) / 1000),
    status,
    isCheck,
    results: readResults(file),
    printed: Buffer.concat(printed).toString(),
    notes: [],
  };
}

async function ended(child: ChildProcess, printed: Buffer[]): Promise<number | null> {
  try {
    const [status] = (await once(child, 'close')) as [number | null];
    return status;
  } catch (error) {
    printed.push(Buffer.from(`it could not be started: ${String(error)}\n`));
    return null;
  }
}

/**
 * Ends all lanes that run, and has no other begin: by SIGTERM, with which the lab stops its VM, and
 * then by force.
 */
export async function endLanes(): Promise<void> {
  isEnding = true;
  const children = [...running];
  const gone = Promise.all(children.map((child) => once(child, 'close')));
  for (const child of children) signalGroup(child, 'SIGTERM');
  const timer = setTimeout(() => {
    for (const child of children) signalGroup(child, 'SIGKILL');
  }, grace);
  await gone;
  clearTimeout(timer);
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // all of it is gone
  }
}
