// The processes in which scenarios are run: one goes on from failure to failure until one ends it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { tree } from '../support/tree.ts';
import type { Order, Report, Step } from './reports.ts';
import { shimEnvironment } from './shim.ts';

/** Without progress for so long, a process hangs in a call that blocks. */
const silence = 120_000;

/** Where scenarios are run. */
export type Target = Pick<Order, 'device' | 'roots' | 'fake'>;

/** How much is tried. */
export interface Limits extends Pick<Order, 'most' | 'errnos'> {
  /** Of the places where memory is asked for, so many. */
  memory: number;
}

/** What came of a scenario. */
export interface Run {
  counts: Record<string, number>;
  steps: Step[];
}

/** A scenario to its end, and then its ends for want of memory. */
export async function runScenario(
  scenario: string,
  where: Target,
  { memory, ...limits }: Limits,
  onStep: (step: Step) => void,
): Promise<Run> {
  const run: Run = { counts: {}, steps: [] };
  const add = (step: Step): void => {
    run.steps.push(step);
    onStep(step);
  };
  const environment = shimEnvironment(tree({}), where);
  for (;;) {
    const order: Order = { ...where, scenario, from: run.steps.length, ...limits };
    const child = await runChild(order, environment, (report) => {
      if (report.counts) run.counts = report.counts;
      if (report.step) add(report.step);
    });
    if (child.isEnd) break;
    if (child.begun === undefined) throw new Error(`${scenario} does not begin: ${child.how}`);
    const isTold = child.told === child.begun;
    if (!isTold) add({ ...child.begun, outcome: 'ended', lost: [child.how] });
  }
  for (const only of places(run.counts, memory)) {
    const order: Order = { ...where, scenario, from: 0, only };
    add({ ...only, errno: 'bad_alloc', ...(await endBy(order, environment)) });
  }
  return run;
}

/** Spread over all where `operator new` is called. */
function places(counts: Run['counts'], most: number): { call: string; nth: number }[] {
  return ['_Znwm', '_Znam'].flatMap((call) => {
    const count = counts[call] ?? 0;
    const every = Math.max(1, Math.ceil(count / Math.max(1, most)));
    const all = Array.from({ length: most === 0 ? 0 : count }, (_, at) => ({ call, nth: at + 1 }));
    return all.filter((_, at) => at % every === 0);
  });
}

/** A lack of memory ends the process, as it does in Node: by SIGABRT, and by nothing else. */
async function endBy(
  order: Order,
  environment: NodeJS.ProcessEnv,
): Promise<Pick<Step, 'outcome' | 'lost'>> {
  const { isEnd, how } = await runChild(order, environment, () => undefined);
  if (isEnd) return { outcome: 'not made', lost: [] };
  const isAbort = how.includes('SIGABRT') && how.includes('std::bad_alloc');
  return { outcome: 'ended', lost: isAbort ? [] : [how] };
}

interface Child {
  /** Whether it came to its end. */
  isEnd: boolean;
  /** The failure that was tried last, and whether it was told of. */
  begun: Report['begins'];
  told: Report['begins'];
  how: string;
}

async function runChild(
  order: Order,
  environment: NodeJS.ProcessEnv,
  onReport: (report: Report) => void,
): Promise<Child> {
  const isSource = import.meta.url.endsWith('.ts');
  const program = new URL(isSource ? 'sweep.ts' : 'sweep.js', import.meta.url).pathname;
  const loader = isSource ? ['--import', 'tsx'] : [];
  const args = ['--expose-gc', '--no-warnings', ...loader, program, JSON.stringify(order)];
  const env = { ...process.env, ...environment };
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (more: string) => {
    text = (text + more).slice(-4000);
  });
  const seen: Child = { isEnd: false, begun: undefined, told: undefined, how: '' };
  const timer = setTimeout(() => child.kill('SIGKILL'), silence);
  const lines = createInterface(child.stdout).on('line', (line) => {
    timer.refresh();
    const report = JSON.parse(line) as Report;
    if (report.begins) seen.begun = report.begins;
    if (report.step) seen.told = seen.begun;
    if (report.end) seen.isEnd = true;
    onReport(report);
  });
  const [[status, signal]] = (await Promise.all([once(child, 'exit'), once(lines, 'close')])) as [
    [number | null, string | null],
    unknown,
  ];
  clearTimeout(timer);
  seen.isEnd &&= status === 0;
  seen.how = `the process ended: ${signal ?? status}: ${text.trim()}`;
  return seen;
}
