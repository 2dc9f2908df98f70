/**
 * Does one operation on a device again and again, each time with another allocation of the kernel's
 * failing in it, and says what came of it as JSON. test/support/fail_nth.ts starts it.
 */
import { closeSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import {
  Container,
  type DmaMapping,
  DmaBuffer,
  Iommufd,
  type MappedRegion,
  VfioDevice,
  VfioError,
  type AddressSpace,
  type OpenDeviceOptions,
} from '../../lib/index.ts';
import type { FailReport, Way } from './fail_nth.ts';

const { FAIL_NTH_CONTROL = '', FAIL_NTH_JOB = '{}' } = process.env;
const job = JSON.parse(FAIL_NTH_JOB) as { device: string; way: Way; operation: string };
const spec = { bus: 'pci', address: job.device };

const control = openSync(FAIL_NTH_CONTROL, 'r+');

/** The n-th allocation from now on fails. */
function arm(nth: number): void {
  writeSync(control, new Uint8Array(Uint32Array.of(nth, 0, 0).buffer), 0, 12, 0);
}

/** Answers whether one failed. */
function disarm(): { failed: boolean; calls: number } {
  const words = new Uint32Array(3);
  readSync(control, words, 0, 12, 0);
  arm(0);
  return { failed: words[1] !== 0, calls: words[2] ?? 0 };
}

/** What a device is opened in. */
interface Host {
  options: OpenDeviceOptions;
  close: () => Promise<void>;
}

function openHost(): Host {
  if (job.way === 'group') {
    const container = Container.open();
    return { options: { backend: 'group', container }, close: () => container.close() };
  }
  const iommufd = Iommufd.open();
  iommufd.rlimitMode = 'process';
  return { options: { backend: job.way, iommufd }, close: () => iommufd.close() };
}

/** What an operation needs and makes; all of it is closed after each try. */
interface World {
  host: Host;
  device: VfioDevice | undefined;
  space: AddressSpace | undefined;
  mapping: DmaMapping | undefined;
  region: MappedRegion | undefined;
}

const buffer = DmaBuffer.allocateSync(1 << 20);

interface Operation {
  /** Without failures. */
  before: (world: World) => Promise<void>;
  run: (world: World) => Promise<unknown>;
  /** What has to be so after it, and after its failure. */
  check?: (world: World, outcome: string) => void;
  /** What else a program may do after a failure: before every second one of the next tries. */
  mend?: (world: World) => Promise<unknown>;
}

async function open(world: World): Promise<VfioDevice> {
  world.device = await VfioDevice.open(spec, world.host.options);
  return world.device;
}

async function attach(world: World): Promise<void> {
  const { device } = world;
  if (!device) throw new Error('no device');
  world.space ??= device.createIoas();
  await device.attach(world.space);
}

async function map(world: World): Promise<void> {
  world.mapping = await world.space?.map(buffer);
}

const opened = async (world: World): Promise<void> => {
  await open(world);
};

const operations: Record<string, Operation> = {
  // With the iommufd or container, which is opened for it.
  open: {
    before: () => Promise.resolve(),
    run: async (world) => {
      const { backend } = world.host.options;
      world.device = await VfioDevice.open(spec, { backend });
    },
  },
  bind: { before: () => Promise.resolve(), run: open },
  attach: {
    before: opened,
    run: attach,
  },
  map: {
    before: async (world) => {
      await open(world);
      await attach(world);
    },
    run: map,
    check: (_world, outcome) => {
      requirePinned(outcome === 'success');
    },
  },
  unmap: {
    before: async (world) => {
      await open(world);
      await attach(world);
      await map(world);
    },
    run: async (world) => world.mapping?.unmap(),
    check: (world, outcome) => {
      requirePinned(outcome !== 'success');
      if (world.mapping?.mapped !== (outcome !== 'success')) throw new Error(`told ${outcome}`);
    },
  },
  region: {
    before: opened,
    run: (world) => {
      world.region ??= world.device?.region('bar0').map();
      world.region?.closeSync();
      return Promise.resolve();
    },
  },
  enable: { before: opened, run: async (world) => world.device?.interrupt('msi').enable() },
  disable: {
    before: async (world) => {
      await (await open(world)).interrupt('msi').enable();
    },
    run: async (world) => world.device?.interrupt('msi').disable(),
  },
  // With interrupts, which it establishes again.
  reset: {
    before: async (world) => {
      await (await open(world)).interrupt('msix').enable(2);
    },
    run: async (world) => world.device?.reset(),
    mend: async ({ device }) => {
      await device?.interrupt('msix').disable();
      await device?.interrupt('msix').enable(2);
    },
  },
  detach: {
    before: async (world) => {
      await open(world);
      await attach(world);
    },
    run: async (world) => world.device?.detach(),
  },
  close: {
    before: async (world) => {
      await open(world);
      await attach(world);
      await map(world);
    },
    run: async (world) => world.device?.close(),
  },
};

/** Memory that the kernel counts for this process. */
function pinned(): string {
  const status = readFileSync('/proc/self/status', 'utf8');
  return [...status.matchAll(/^Vm(?:Lck|Pin):.*$/gm)].map(([line]) => line).join(' ');
}

/** Only `buffer` is ever pinned. */
function requirePinned(isPinned: boolean): void {
  if ((pinned() !== pinnedBefore) !== isPinned) throw new Error(`pinned: ${pinned()}`);
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** One try; answers undefined where no allocation was left to fail. */
async function attempt(
  operation: Operation,
  nth: number,
): Promise<{ outcome: string; calls: number } | undefined> {
  const world: World = {
    host: openHost(),
    device: undefined,
    space: undefined,
    mapping: undefined,
    region: undefined,
  };
  let outcome = 'success';
  try {
    await operation.before(world);
    arm(nth);
    try {
      await operation.run(world);
    } catch (error) {
      outcome = nameOf(error);
    }
    const { failed, calls } = disarm();
    if (!failed && outcome !== 'success') outcome = `${outcome} without a failure`;
    operation.check?.(world, outcome);
    // The same, with nothing failing, where it did not succeed.
    if (outcome !== 'success') await again(world, operation, nth % 2 === 0);
    return failed || outcome !== 'success' ? { outcome, calls } : undefined;
  } finally {
    await end(world);
  }
}

async function again(world: World, operation: Operation, doMend: boolean): Promise<void> {
  const { run, check, mend } = operation;
  try {
    if (doMend) await mend?.(world);
    await run(world);
    check?.(world, 'success');
  } catch (error) {
    throw new Error(`the next try failed: ${String(error)}`, { cause: error });
  }
}

async function end({ host, device, space, mapping, region }: World): Promise<void> {
  await region?.close();
  await mapping?.unmap();
  await device?.close();
  await space?.close();
  await host.close();
}

function nameOf(error: unknown): string {
  if (error instanceof VfioError) {
    if (error.reason !== undefined) reasons.add(`${error.code} ${error.reason}`);
    return error.code;
  }
  return `not a VfioError: ${String(error)}`;
}

const reasons = new Set<string>();

const operation = operations[job.operation];
if (!operation) throw new Error(`no operation ${job.operation}`);
const warnings: string[] = [];
process.on('warning', ({ message }) => warnings.push(message));
const pinnedBefore = pinned();
// Once without a failure, since what is loaded and made at first stays.
await attempt(operation, 2 ** 31);
const descriptorsBefore = descriptors();
const outcomes: Record<string, number> = {};
let points = 0;
for (let nth = 1; ; nth++) {
  const told = await attempt(operation, nth);
  if (told === undefined) break;
  points++;
  outcomes[told.outcome] = (outcomes[told.outcome] ?? 0) + 1;
}
// What was dropped without being closed says so when it is collected.
for (let turn = 0; turn < 5; turn++) {
  globalThis.gc?.();
  await new Promise((resolve) => setImmediate(resolve));
}
const report: FailReport = {
  points,
  outcomes,
  reasons: [...reasons],
  warnings,
  leaked: {
    descriptors: descriptors() - descriptorsBefore,
    pinned: pinned() === pinnedBefore ? '' : `${pinned()}, was ${pinnedBefore}`,
  },
};
closeSync(control);
process.stdout.write(JSON.stringify(report));
