// Which lane runs when.
import type { Lane } from './lanes.ts';
import type { Outcome } from './run_lane.ts';
import { failuresOf } from './summary.ts';

export interface Schedule {
  lanes: readonly Lane[];
  /** How many run side by side. */
  slots: number;
  run: (lane: Lane) => Promise<Outcome>;
  /** Hears of each lane that ended, in the order in which they end. */
  onEnd: (outcome: Outcome) => void;
}

/**
 * Runs all lanes, the earlier ones first. A lane that fails stops no other, but those that come
 * after it: they would test what was there before. Answers in the order of the lanes.
 */
export async function runAll({ lanes, slots, run, onEnd }: Schedule): Promise<Outcome[]> {
  const outcomes = new Map<string, Outcome>();
  const waiting = [...lanes];
  const active = new Map<string, Promise<void>>();
  const isOver = (name: string): boolean =>
    outcomes.has(name) || !lanes.some((lane) => lane.name === name);

  const start = async (lane: Lane): Promise<void> => {
    const outcome = lacking(lane, outcomes) ?? (await run(lane));
    outcomes.set(lane.name, outcome);
    onEnd(outcome);
  };
  while (waiting.length + active.size > 0) {
    const next = waiting.findIndex(({ after = [] }) => after.every(isOver));
    if (next >= 0 && active.size < slots) {
      for (const lane of waiting.splice(next, 1)) {
        const ended = start(lane).then(() => void active.delete(lane.name));
        active.set(lane.name, ended);
      }
    } else {
      await Promise.race(active.values());
    }
  }
  return lanes.flatMap(({ name }) => outcomes.get(name) ?? []);
}

/** What becomes of a lane where one that it comes after has failed. */
function lacking({ name, after = [], isCheck = false }: Lane, outcomes: Map<string, Outcome>) {
  const failed = after.find((one) => {
    const outcome = outcomes.get(one);
    return outcome !== undefined && failuresOf(outcome).length > 0;
  });
  if (failed === undefined) return undefined;
  const printed = `not run, since ${failed} failed\n`;
  return { lane: name, seconds: 0, status: null, isCheck, printed, notes: [] };
}
