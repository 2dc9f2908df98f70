import { createRequire } from 'node:module';
import { arch, release, type } from 'node:os';
import { styleText } from 'node:util';
import { diagnose, type Finding, type FindingStatus, printable } from '../index.ts';
import { type Command, exitStatus, type Invocation, type Output } from './command.ts';
import { jsonText } from './text.ts';
import { inOptions } from './words.ts';

/** `vfio doctor` */
export const doctor: Command = {
  name: 'doctor',
  summary: 'Say what keeps devices, or one device, from being opened, and what mends it',
  positionals: ['device'],
  optional: true,
  devices: 'all',
  options: {
    json: { type: 'boolean', description: 'Print JSON, see below' },
  },
  details: `It looks at the IOMMU, the kernel's options and modules, nodes, rights, limits and namespaces; with a
device, also at its driver, group, nodes and holders. Nothing is opened or changed. It needs no
root, and says what cannot be looked at without. The text can be pasted into a bug report.

A finding is ok, a WARNING (it works, or may, and you should know), BAD (devices cannot be opened as
it is), or unknown: it could not be looked at, which says nothing of how it is.

The JSON is an object: vfio, node, kernel, arch, and findings, an array of objects with id, subject,
status (ok, warning, bad, unknown), what, and mend where something mends it. The ids are stable.

Exit status: 0 where nothing is bad, 1 where something is, 2 where the command line makes no sense.`,
  run: examine,
};

async function examine({ positionals, flags, out }: Invocation): Promise<number> {
  const { findings } = await diagnose(positionals[0]);
  const report: Report = { ...versions(), findings };
  out.print(flags['json'] ? jsonText(report) : doctorText(report, out));
  return findings.some(({ status }) => status === 'bad') ? exitStatus.failed : exitStatus.ok;
}

/** What the JSON has. */
interface Report {
  vfio: string;
  node: string;
  kernel: string;
  arch: string;
  findings: Finding[];
}

function versions(): Omit<Report, 'findings'> {
  const require = createRequire(import.meta.url);
  const { version } = require('vfio/package.json') as { version: string };
  return { vfio: version, node: process.version, kernel: `${type()} ${release()}`, arch: arch() };
}

const marks: Record<FindingStatus, string> = {
  ok: 'ok',
  warning: 'WARNING',
  bad: 'BAD',
  unknown: 'unknown',
};

const colours = { ok: 'green', warning: 'yellow', bad: 'red' } as const;

/** A line for each finding, under what it is of; what mends it on a line below. */
export function doctorText(report: Report, { colour }: Pick<Output, 'colour'>): string {
  const { vfio, node, kernel, arch: machine, findings } = report;
  const lines = [`vfio ${vfio}, Node ${node}, ${kernel} ${machine}`];
  const width = Math.max(0, ...findings.map(({ id }) => id.length));
  let last: string | undefined;
  for (const { id, subject, status, what, mend } of findings) {
    if (subject !== last) lines.push('', bold(printable(subject), colour));
    last = subject;
    lines.push(`  ${mark(status, colour)}  ${id.padEnd(width)}  ${printable(what)}`);
    if (mend !== undefined)
      lines.push(`${' '.repeat(width + 13)}mend: ${printable(inOptions(mend))}`);
  }
  return [...lines, '', summary(findings)].join('\n');
}

function bold(text: string, colour: boolean): string {
  return colour ? styleText('bold', text, { validateStream: false }) : text;
}

function mark(status: FindingStatus, colour: boolean): string {
  const text = marks[status].padEnd(7);
  if (!colour || status === 'unknown') return text;
  return styleText(colours[status], text, { validateStream: false });
}

function summary(findings: readonly Finding[]): string {
  const statuses = ['bad', 'warning', 'unknown', 'ok'] as const;
  const counts = statuses.map(
    (status) => `${findings.filter((each) => each.status === status).length} ${marks[status]}`,
  );
  return counts.join(', ');
}
