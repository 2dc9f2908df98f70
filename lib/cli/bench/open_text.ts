import { columns } from '../text.ts';
import { machineText } from './machine.ts';
import { backendText, type Backend } from './paths.ts';
import type { Measured, OpenReport } from './report.ts';
import { summary, timesOf, type Summary } from './statistics.ts';

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
