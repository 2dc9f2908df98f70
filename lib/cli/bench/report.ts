import { jsonText } from '../text.ts';
import type { Machine } from './machine.ts';
import type { Backend, Fleet, Form, Missing } from './paths.ts';
import { type Row, summary, type Summary, timesOf } from './statistics.ts';
import type { Round } from './steps.ts';

/** The rounds of one way to one device. */
export interface Measured {
  device: string;
  backend: Backend;
  form: Form;
  rounds: Round[];
}

/** The rounds of one way to all devices at once. */
export interface MeasuredFleet {
  backend: Backend;
  rounds: Fleet[];
}

/** All that was measured. */
export interface OpenReport {
  machine: Machine;
  /** Rounds that count, and those before them. */
  rounds: number;
  warmUp: number;
  concurrency: number;
  devices: string[];
  missing: Missing[];
  measured: Measured[];
  fleets: MeasuredFleet[];
}

/** As programs get it: nanoseconds. */
export function openJson({ measured, fleets, ...rest }: OpenReport): string {
  const results = measured.map(({ device, backend, form, rounds }) => ({
    device,
    backend,
    form,
    steps: stepsJson(rounds),
  }));
  const together = fleets.map(({ backend, rounds }) => ({
    backend,
    open: summary(rounds.map(({ open }) => open)),
    close: summary(rounds.map(({ close }) => close)),
  }));
  return jsonText({ ...rest, unit: 'ns', results, fleets: together });
}

function stepsJson(rounds: readonly Round[]): Partial<Record<Row, Summary>> {
  return Object.fromEntries([...timesOf(rounds)].map(([row, times]) => [row, summary(times)]));
}
