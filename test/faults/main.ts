// `npm run check:faults`: has each call that the addon makes of the C library fail once, in each
// scenario, and prints what came of it. docs/reliability.md says what is looked at.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { linkFailingAddon, whyNotLinked } from '../support/failing_napi.ts';
import { fakeAddress, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { root } from '../support/root.ts';
import { put } from '../support/tree.ts';
import type { Step } from './reports.ts';
import { runScenario, type Run, type Target } from './runs.ts';
import { scenarios } from './scenarios.ts';

const usage = `npm run check:faults -- [options] [scenario...]
  --most N      of each call's places at most N, spread over all
  --errnos N    of each call's errnos at most N
  --memory N    of the places where memory is asked for N (default 8); each ends a process
  --device D    a device bound to vfio-pci; by default the lab's edu, or none: a fake kernel
  --no-node-api leaves the failures of Node-API out
  --verbose     a line for each failure`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: {
    device: { type: 'string' },
    most: { type: 'string' },
    errnos: { type: 'string' },
    memory: { type: 'string' },
    'node-api': { type: 'boolean', default: true },
    verbose: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});

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

/** A sysfs with one device, whose node is /dev/zero; the iommufd and the container are others. */
function fakeTarget(): Target {
  const roots = fakeVfio('1:5');
  const device = `devices/pci0000:3a/${fakeAddress}`;
  put(roots.sysfsRoot, {
    [`${device}/uevent`]: 'PCI_CLASS=10802\n',
    [`${device}/driver`]: { pointsTo: '../../../bus/pci/drivers/vfio-pci' },
    [`${device}/vfio-dev/vfio7/uevent`]: 'DEVNAME=vfio/devices/vfio7\n',
    [`${device}/iommu_group`]: { pointsTo: '../../../kernel/iommu_groups/7' },
    [`kernel/iommu_groups/7/devices/${fakeAddress}`]: { pointsTo: `../../../../${device}` },
    'kernel/iommu_groups/7/type': 'DMA\n',
    'class/vfio/7/dev': '1:5\n',
    'class/net/.keep': '',
    'class/misc/iommu/dev': '1:7\n',
    'class/misc/vfio/dev': '1:3\n',
  });
  for (const node of ['vfio/devices/vfio7', 'vfio/7']) putNode(roots, node, '/dev/zero');
  putNode(roots, 'iommu', '/dev/full');
  putNode(roots, 'vfio/vfio', '/dev/null');
  return { device: fakeAddress, roots, fake: true };
}

function show(scenario: string, { call, nth, errno, outcome, lost }: Step): void {
  const name = `${scenario}: ${call} ${nth} ${errno}`;
  for (const what of lost) console.log(`LOST ${name}: ${what}`);
  if (values.verbose) console.log(`${name}: ${outcome}`);
}

const outcomes = ['told', 'went on', 'ended', 'not made'];

function row(scenario: string, call: string, cells: readonly (string | number)[]): string {
  const padded = cells.map((cell) => String(cell).padStart(9));
  return `${scenario.padEnd(16)}${call.padEnd(18)}${padded.join('')}`;
}

/** A row for each call of a scenario. */
function rowsOf(scenario: string, { counts, steps }: Run): string[] {
  return Object.entries(counts).map(([call, count]) => {
    const tried = steps.filter((step) => step.call === call);
    const how = outcomes.map(
      (kind) => tried.filter((step) => step.outcome.startsWith(kind)).length,
    );
    const lost = tried.filter((step) => step.lost.length > 0).length;
    return row(scenario, call, [count, tried.length, ...how, lost]);
  });
}

/** Each call of Node-API failing once, and from each on all: the same as the unit test does. */
function nodeApi(which: 'any' | 'ending', failing: number): boolean {
  const program = new URL('test/support/napi_failures.mjs', root).pathname;
  const args = [program, linkFailingAddon(which), String(failing)];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  const places = stdout.split('\n').filter((line) => / napi_\w+$/.test(line)).length;
  const isWell = status === 0 && stdout.endsWith('\nend\n');
  if (!isWell) console.log(`LOST Node-API, ${which}: ended by ${signal ?? status}: ${stderr}`);
  console.log(row('Node-API', which, [places, places, '', '', '', '', isWell ? 0 : 1]));
  return isWell;
}

async function main(): Promise<number> {
  const wanted = positionals.length > 0 ? positionals : Object.keys(scenarios);
  const unknown = wanted.find((name) => !(name in scenarios));
  if (values.help || unknown !== undefined) {
    if (unknown !== undefined) console.error(`there is no scenario ${unknown}`);
    console.error(`${usage}\nscenarios: ${Object.keys(scenarios).join(', ')}`);
    return values.help ? 0 : 2;
  }
  const where = target();
  const { most, errnos, memory = 8 } = values;
  const limits = {
    memory: Number(memory),
    ...(most !== undefined && { most: Number(most) }),
    ...(errnos !== undefined && { errnos: Number(errnos) }),
  };
  const rows = [row('scenario', 'call', ['places', 'tried', ...outcomes, 'lost'])];
  const steps: Step[] = [];
  for (const scenario of wanted) {
    // A worker for each failure and each next try takes long.
    const some = scenario === 'workers' ? { most: 2, ...limits } : limits;
    const run = await runScenario(scenario, where, some, (step) => {
      show(scenario, step);
    });
    rows.push(...rowsOf(scenario, run));
    steps.push(...run.steps);
  }
  console.log(rows.join('\n'));
  const isWell =
    !values['node-api'] ||
    whyNotLinked() !== undefined ||
    [nodeApi('any', 1), nodeApi('ending', 1_000_000)].every(Boolean);
  const lost = steps.filter((step) => step.lost.length > 0);
  console.log(`${steps.length} failures tried, ${lost.length} lost`);
  return lost.length === 0 && isWell ? 0 : 1;
}

process.exitCode = await main();
