// `npm run check:faults`: has each call that the addon makes of the C library fail once, in each
// scenario, and prints what came of it. See docs/reliability.md.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { put, tree } from '../support/tree.ts';
import { fakeAddress, fakeVfio, putNode } from '../support/fake_vfio.ts';
import type { Order, Report, Step } from './reports.ts';
import { scenarios } from './scenarios.ts';
import { shimEnvironment } from './shim.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    device: { type: 'string' },
    most: { type: 'string' },
    errnos: { type: 'string' },
    verbose: { type: 'boolean' },
  },
});

/** Without progress for so long, a child hangs in a call that blocks. */
const silence = 120_000;

type Target = Pick<Order, 'device' | 'roots' | 'fake'>;

/** The lab's device, or the one that is named; otherwise the fake kernel's. */
function target(): Target {
  const manifest = process.env['VFIO_LAB_DEVICES'];
  const named = values.device ?? process.env['VFIO_TEST_DEVICE'];
  if (named !== undefined) return { device: named, roots: {}, fake: false };
  if (manifest === undefined) return fakeTarget();
  const all = JSON.parse(readFileSync(manifest, 'utf8')) as { name: string; address: string }[];
  const edu = all.find(({ name }) => name === 'edu');
  if (edu === undefined) throw new Error('the lab has no edu');
  return { device: edu.address, roots: {}, fake: false };
}

function fakeTarget(): Target {
  const roots = fakeVfio('1:5');
  const device = `devices/pci0000:3a/${fakeAddress}`;
  put(roots.sysfsRoot, {
    [`${device}/iommu_group`]: { pointsTo: '../../../kernel/iommu_groups/7' },
    [`kernel/iommu_groups/7/devices/${fakeAddress}`]: { pointsTo: `../../../../${device}` },
    'kernel/iommu_groups/7/type': 'DMA\n',
    'class/vfio/7/dev': '1:5\n',
    'class/net/.keep': '',
    'class/misc/iommu/dev': '1:7\n',
    'class/misc/vfio/dev': '1:3\n',
    [`${device}/uevent`]: 'PCI_CLASS=10802\n',
    [`${device}/vfio-dev/vfio7/uevent`]: 'DEVNAME=vfio/devices/vfio7\n',
    [`${device}/driver`]: { pointsTo: '../../../bus/pci/drivers/vfio-pci' },
  });
  for (const node of ['vfio/devices/vfio7', 'vfio/7']) putNode(roots, node, '/dev/zero');
  putNode(roots, 'iommu', '/dev/full');
  putNode(roots, 'vfio/vfio', '/dev/null');
  return { device: fakeAddress, roots, fake: true };
}

interface Run {
  counts: Record<string, number>;
  steps: Step[];
}

/** A scenario to its end; where its process ends of a failure, another goes on behind that. */
async function runScenario(scenario: string, where: Target): Promise<Run> {
  const run: Run = { counts: {}, steps: [] };
  const environment = shimEnvironment(tree({}), where);
  for (;;) {
    const order: Order = { ...where, scenario, from: run.steps.length, ...limits() };
    const ended = await runChild(order, environment, run);
    if (ended === undefined) return run;
    if (ended.begun === undefined) throw new Error(`${scenario} does not begin: ${ended.how}`);
    const last = run.steps.at(-1);
    const isTold =
      last?.call === ended.begun.call &&
      last.nth === ended.begun.nth &&
      last.errno === ended.begun.errno;
    if (!isTold) run.steps.push({ ...ended.begun, outcome: 'ended', lost: [ended.how] });
  }
}

function limits(): Pick<Order, 'most' | 'errnos'> {
  return {
    ...(values.most !== undefined && { most: Number(values.most) }),
    ...(values.errnos !== undefined && { errnos: Number(values.errnos) }),
  };
}

/** How it ended, unless well. */
async function runChild(
  order: Order,
  environment: NodeJS.ProcessEnv,
  run: Run,
): Promise<{ begun: Report['begins']; how: string } | undefined> {
  const isSource = import.meta.url.endsWith('.ts');
  const program = new URL(isSource ? 'sweep.ts' : 'sweep.js', import.meta.url).pathname;
  const loader = isSource ? ['--import', 'tsx'] : [];
  const args = ['--expose-gc', '--no-warnings', ...loader, program, JSON.stringify(order)];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  child.stderr
    .setEncoding('utf8')
    .on('data', (more: string) => (text = (text + more).slice(-4000)));
  let begun: Report['begins'];
  let isEnd = false;
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  let timer = setTimeout(kill, silence);
  const lines = createInterface(child.stdout);
  lines.on('line', (line) => {
    clearTimeout(timer);
    timer = setTimeout(kill, silence);
    const report = JSON.parse(line) as Report;
    if (report.counts) run.counts = report.counts;
    if (report.begins) begun = report.begins;
    if (report.step) {
      run.steps.push(report.step);
      showStep(order.scenario, report.step);
    }
    if (report.end) isEnd = true;
  });
  const [[status, signal]] = (await Promise.all([once(child, 'exit'), once(lines, 'close')])) as [
    [number | null, string | null],
    unknown,
  ];
  clearTimeout(timer);
  if (isEnd && status === 0) return undefined;
  return { begun, how: `the process ended: ${signal ?? status}: ${text.trim()}` };
}

function showStep(scenario: string, { call, nth, errno, outcome, lost }: Step): void {
  const name = `${scenario}: ${call} ${nth} ${errno}`;
  for (const what of lost) console.log(`LOST ${name}: ${what}`);
  if (values.verbose) console.log(`${name}: ${outcome}`);
}

/** A row for each call of a scenario. */
function showTable(scenario: string, { counts, steps }: Run): void {
  for (const [call, count] of Object.entries(counts)) {
    const tried = steps.filter((step) => step.call === call);
    const of = (kind: string): number =>
      tried.filter(({ outcome }) => outcome.startsWith(kind)).length;
    const lost = tried.filter((step) => step.lost.length > 0).length;
    const cells = [count, tried.length, of('told'), of('went on'), of('not made'), lost];
    console.log(
      [scenario.padEnd(16), call.padEnd(18), ...cells.map((cell) => String(cell).padStart(8))].join(
        '',
      ),
    );
  }
}

const wanted = positionals.length > 0 ? positionals : Object.keys(scenarios);
const where = target();
const runs: [string, Run][] = [];
for (const scenario of wanted) {
  if (!(scenario in scenarios)) throw new Error(`there is no scenario ${scenario}`);
  runs.push([scenario, await runScenario(scenario, where)]);
}
console.log(
  [
    'scenario'.padEnd(16),
    'call'.padEnd(18),
    ...['places', 'tried', 'told', 'went on', 'not made', 'lost'].map((cell) => cell.padStart(8)),
  ].join(''),
);
for (const [scenario, run] of runs) showTable(scenario, run);
const all = runs.flatMap(([, { steps }]) => steps);
const lost = all.filter((step) => step.lost.length > 0);
console.log(`${all.length} failures tried, ${lost.length} lost`);
process.exitCode = lost.length === 0 ? 0 : 1;
