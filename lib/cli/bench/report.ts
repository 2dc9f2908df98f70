import { readFileSync } from 'node:fs';
import { arch, cpus, loadavg, release } from 'node:os';
import { columns, jsonText } from '../text.ts';
import {
  type Backend,
  backendText,
  type Fleet,
  type Form,
  type Missing,
  type Round,
} from './paths.ts';
import { type Row, summary, type Summary, timesOf } from './rounds.ts';

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

/** What programs get, in nanoseconds. */
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

const statistics = ['median', 'p99', 'min'] as const;

/** The report for a person: a table for each device and backend. */
export function openText(report: OpenReport): string {
  const { machine, rounds, warmUp, devices, missing, measured, fleets } = report;
  const found = [...new Set(measured.map(({ backend }) => backend))];
  const tables = devices.flatMap((device) =>
    found.map((backend) => {
      const ways = measured.filter((way) => way.device === device && way.backend === backend);
      return waysTable(`${device}: ${backendText[backend]}`, ways);
    }),
  );
  const parts = [
    [
      machineText(machine),
      `${rounds} rounds of each way after ${warmUp} to warm up, in turns; µs`,
      ...missing.map(({ backend, why }) => `no ${backend} (${backendText[backend]}): ${why}`),
    ].join('\n'),
    ...tables,
    ...(fleets.length > 0 ? [fleetTable(report)] : []),
  ];
  return parts.join('\n\n');
}

function waysTable(title: string, measured: readonly Measured[]): string {
  const names = measured.map(({ form }) => form);
  const times = measured.map(({ rounds }) => timesOf(rounds));
  const rows = [...new Set(times.flatMap((each) => [...each.keys()]))];
  const cells = rows.map((row) => [
    row,
    ...times.flatMap((each) => numbers(summary(each.get(row) ?? []))),
  ]);
  const header = ['', ...names.flatMap((name) => [name, '', ''])];
  const below = ['', ...names.flatMap(() => statistics)];
  return [title, ...columns([header, below, ...cells], numbered(names.length * 3))].join('\n');
}

function fleetTable({ devices, concurrency, fleets }: OpenReport): string {
  const rows = fleets.map(({ backend, rounds }: { backend: Backend; rounds: Fleets }) => [
    backend,
    ...numbers(summary(rounds.map(({ open }) => open))),
    ...numbers(summary(rounds.map(({ close }) => close))),
  ]);
  const header = ['', 'open all', '', '', 'close all', '', ''];
  const table = columns([header, ['', ...statistics, ...statistics], ...rows], numbered(6));
  return [`${devices.length} together, ${concurrency} at once`, ...table].join('\n');
}

type Fleets = readonly { open: number; close: number }[];

/** The columns after the first. */
function numbered(count: number): number[] {
  return Array.from({ length: count }, (_, at) => at + 1);
}

function numbers(of: Summary): string[] {
  return statistics.map((each) => microseconds(of[each]));
}

function microseconds(nanoseconds: number): string {
  return Number.isNaN(nanoseconds) ? '-' : (nanoseconds / 1000).toFixed(1);
}

/** What the times were taken on. */
export interface Machine {
  kernel: string;
  architecture: string;
  processor: string;
  processors: number;
  /** The processor says that it is a virtual one. */
  virtual: boolean;
  node: string;
  /** How many wanted to run, on the average of the last minute. */
  load: number;
}

export function thisMachine(): Machine {
  const all = cpus();
  return {
    kernel: release(),
    architecture: arch(),
    processor: all[0]?.model.trim() ?? 'unknown',
    processors: all.length,
    virtual: /^flags.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8')),
    node: process.version,
    load: loadavg()[0] ?? NaN,
  };
}

export function machineText(machine: Machine): string {
  const { kernel, architecture, processor, processors, virtual, node, load } = machine;
  const kind = virtual ? ', virtual' : '';
  return `Linux ${kernel} ${architecture}; ${processors} × ${processor}${kind}; Node ${node}; load ${load.toFixed(2)}`;
}
