import type { RootOptions } from '../../lib/index.ts';

/** What sweep.ts is to do. */
export interface Order {
  scenario: string;
  device: string;
  roots: RootOptions;
  fake: boolean;
  /** How many of the faults were tried already. */
  from: number;
  /** Of each call at most so many places. */
  most?: number;
  /** So many errnos of each. */
  errnos?: number;
  /** One call alone, of which the process ends. */
  only?: { call: string; nth: number };
}

/** One failure. */
export interface Step {
  call: string;
  nth: number;
  errno: string;
  /** `told`, `went on`, `hangs`, `not made`; where it went on, with the place in the addon. */
  outcome: string;
  /** What was wrong. */
  lost: string[];
}

/** What sweep.ts tells. */
export interface Report {
  /** How often the scenario makes each call. */
  counts?: Record<string, number>;
  begins?: Omit<Step, 'outcome' | 'lost'>;
  step?: Step;
  end?: boolean;
}
