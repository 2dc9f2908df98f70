import { requireObject } from '../core/arguments.ts';
import { fs } from '../core/builtins.ts';
import type { DeviceAddress } from '../core/location.ts';
import { either, run, runSync, type Steps } from '../core/steps.ts';
import { eachProcess, isHidden } from '../diagnose/holders.ts';
import { listDevices, listDevicesSync, type ListedDevice } from '../locate/list.ts';
import { processStatus } from '../locate/process_status.ts';
import { readAttribute } from '../locate/sysfs.ts';
import { nodesOf } from './device_holders.ts';
import { type HostRootOptions, type HostRoots, hostRootsOf } from './host_roots.ts';

/** Who uses this machine's VFIO devices, at one moment. */
export interface Usage {
  /** When its interrupts were read, in milliseconds since 1970, by the clock that people set. */
  time: number;
  /**
   * The same in milliseconds of a clock that nobody sets and that begins anywhere, as
   * `performance.now()` does: how often interrupts happen between two looks is by this.
   */
  monotonicTime: number;
  /** The devices that have a VFIO driver, in the order of bus and address. */
  devices: DeviceUsage[];
  /** Those that have a device's node open, as far as this process may look. */
  processes: ProcessUsage[];
  /** So many processes are other users', and may have devices open all the same. */
  hidden: number;
  /** Whether all processes were seen, those that are hidden too; else some may not be counted. */
  searched: boolean;
}

/** A device of {@link Usage}. */
export interface DeviceUsage extends DeviceAddress {
  /** Its driver; null without one. */
  driver: string | null;
  /** The number of its IOMMU group; null without one. */
  iommuGroup: number | null;
  /** The name of its cdev, `vfio0`; null where it has none. */
  cdev: string | null;
  /** The processes that have its cdev, or its group's node, open. */
  pids: number[];
  /**
   * Its interrupts that are enabled, as /proc/interrupts has them; null where that cannot be read.
   */
  interrupts: InterruptUsage[] | null;
}

/** An interrupt of {@link DeviceUsage}. */
export interface InterruptUsage {
  /** `vfio-msix[0]` */
  name: string;
  /** The machine's number for it. */
  irq: string;
  /**
   * How often it happened, on all processors, since it was enabled; of a shared line with those of
   * the others. What a processor hands to a guest by itself (posted interrupts) is not counted.
   */
  count: number;
}

/** A process of {@link Usage}. */
export interface ProcessUsage {
  /** The process's id. */
  pid: number;
  /** Its name, as the kernel has it (`comm`). */
  command: string;
  /**
   * Bytes that the process has pinned (VmPin: DMA through an iommufd, and by others) and locked
   * (VmLck: DMA through a container, mlock). null where the kernel does not say.
   */
  pinned: number | null;
  /** See `pinned`. */
  locked: number | null;
}

/** So many milliseconds are given to looking at all processes. */
const mostMilliseconds = 2_000;

/**
 * Who uses this machine's VFIO devices: which processes have them open, what these have pinned, and
 * which interrupts happen. Opens nothing, and takes no rights; of other users' processes it says
 * only how many there are, unless it is root that asks.
 *
 * @param options - where sysfs and procfs are, if elsewhere
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`
 * @throws VfioError as {@link listDevices}
 */
export async function readUsage(options: HostRootOptions = {}): Promise<Usage> {
  return await run(read(rootsFrom(options)));
}

/** The blocking form of {@link readUsage}. */
export function readUsageSync(options: HostRootOptions = {}): Usage {
  return runSync(read(rootsFrom(options)));
}

function rootsFrom(options: HostRootOptions): HostRoots {
  requireObject('options', options);
  return hostRootsOf(options);
}

function* read(roots: HostRoots): Steps<Usage> {
  const { sysfsRoot, devRoot } = roots;
  const listed = yield* either(
    () => listDevices({ sysfsRoot, devRoot }),
    () => listDevicesSync({ sysfsRoot, devRoot }),
  );
  const bound = listed.filter(({ boundToVfio }) => boundToVfio);
  const nodes = new Map(bound.map((device) => [device, nodesOf(device, sysfsRoot)]));
  const { opened, hidden, searched } = yield* findOpened([...nodes.values()].flat(), roots);
  const clocks = { time: Date.now(), monotonicTime: performance.now() };
  const lines = interruptLines(yield* readInterrupts(roots));
  const devices = bound.map((device) => {
    const pids = pidsOf(nodes.get(device) ?? [], opened);
    return usageOf(device, pids, lines && linesOf(device, lines));
  });
  const processes = [...opened.keys()].map((pid) => processOf(pid, roots));
  return { ...clocks, devices, processes, hidden, searched };
}

function usageOf(
  { bus, address, driver, iommuGroup, cdev }: ListedDevice,
  pids: number[],
  interrupts: InterruptUsage[] | undefined,
): DeviceUsage {
  const name = cdev?.name ?? null;
  return { bus, address, driver, iommuGroup, cdev: name, pids, interrupts: interrupts ?? null };
}

/** The numbers of the nodes that each process has open. */
type Opened = Map<number, Set<string>>;

function* findOpened(
  numbers: string[],
  { procRoot }: HostRoots,
): Steps<{ opened: Opened; hidden: number; searched: boolean }> {
  const opened: Opened = new Map();
  if (numbers.length === 0) return { opened, hidden: 0, searched: true };
  let hidden = 0;
  const deadline = performance.now() + mostMilliseconds;
  const searched = yield* eachProcess(
    procRoot,
    { numbers, targets: [] },
    deadline,
    (pid, names) => {
      if (isHidden(names)) hidden++;
      if (typeof names === 'number' || names.length === 0) return;
      const those = names.map((name) => numbersOf(`${procRoot}/${pid}/fd/${name}`));
      opened.set(pid, new Set(those.filter((each) => each !== undefined)));
    },
  );
  return { opened, hidden, searched };
}

/** `major:minor` of what a descriptor leads to; undefined where it was closed since. */
function numbersOf(path: string): string | undefined {
  const stat = unlessUnseen(() => fs.statSync(path, { bigint: true }));
  if (stat === undefined) return undefined;
  // As gnu_dev_major and gnu_dev_minor of glibc take a dev_t apart.
  const { rdev } = stat;
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  return `${major}:${(rdev & 0xffn) | ((rdev >> 12n) & ~0xffn & 0xffffffffn)}`;
}

function pidsOf(nodes: readonly string[], opened: Opened): number[] {
  const those = [...opened].filter(([, numbers]) => nodes.some((node) => numbers.has(node)));
  return those.map(([pid]) => pid);
}

function processOf(pid: number, { procRoot }: HostRoots): ProcessUsage {
  const status = unlessUnseen(() => processStatus(`${procRoot}/${pid}/status`));
  const bytes = (name: string): number | null => {
    const text = /^(\d+) kB$/.exec(status?.get(name) ?? '')?.[1];
    return text === undefined ? null : Number(text) * 1024;
  };
  const command = unlessUnseen(() => readAttribute(`${procRoot}/${pid}/comm`)) ?? '';
  return { pid, command, pinned: bytes('VmPin'), locked: bytes('VmLck') };
}

/** On a machine with many processors it has megabytes. */
function readInterrupts({ procRoot }: HostRoots): Steps<string | undefined> {
  const path = `${procRoot}/interrupts`;
  return either(
    () => fs.promises.readFile(path, 'utf8').catch(throwUnlessUnseen),
    () => unlessUnseen(() => fs.readFileSync(path, 'utf8')),
  );
}

/** What a process that ended meanwhile, or whose files are another's to see, answers. */
const unseen: readonly unknown[] = ['ENOENT', 'ESRCH', 'ENOTDIR', 'EACCES', 'EPERM'];

function unlessUnseen<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    throwUnlessUnseen(error);
    return undefined;
  }
}

function throwUnlessUnseen(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && unseen.includes(error.code)) return undefined;
  throw error;
}

interface InterruptLine extends InterruptUsage {
  address: string;
}

/** The lines of VFIO's drivers; undefined where the file could not be read. */
function interruptLines(text: string | undefined): InterruptLine[] | undefined {
  if (text === undefined) return undefined;
  const [head = '', ...lines] = text.split('\n');
  const processors = head.trim().split(/\s+/).length;
  return lines.flatMap((line) => namesIn(line).map((named) => ({ ...named, ...countIn(line, processors) }))); // prettier-ignore
}

/** A line that devices share has the names of all. */
function namesIn(line: string): { name: string; address: string }[] {
  const found = line.matchAll(/(vfio-[a-z]+(?:\[\d+\])?)\(([^()]+)\)/g);
  return [...found].map(([, name = '', address = '']) => ({ name, address }));
}

function countIn(line: string, processors: number): { irq: string; count: number } {
  const [irq = '', ...rest] = line.trim().split(/\s+/);
  const counts = rest.slice(0, processors).map(Number);
  return { irq: irq.replace(/:$/, ''), count: counts.reduce((sum, each) => sum + each, 0) };
}

function linesOf({ address }: DeviceAddress, lines: readonly InterruptLine[]): InterruptUsage[] {
  const those = lines.filter((line) => line.address === address);
  return those.map(({ name, irq, count }) => ({ name, irq, count }));
}
