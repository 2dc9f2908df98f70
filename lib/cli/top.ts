import { type DeviceUsage, type ProcessUsage, readUsage, type Usage } from '../index.ts';
import { type Command, exitStatus, type Invocation, usageError } from './command.ts';
import { bytes, columns, jsonLine } from './text.ts';

export const top: Command = {
  name: 'top',
  summary: 'Show which devices are open, by whom, what is pinned, and their interrupts a second',
  positionals: [],
  options: {
    json: { type: 'boolean', description: 'Print a JSON object on each line, see below' },
    interval: { type: 'string', placeholder: 'ms', description: 'Look so often; 2000' },
    count: { type: 'string', placeholder: 'n', description: 'End after having looked so often' },
  },
  details: `It looks in sysfs and /proc, again and again, until it is interrupted or its reader goes away. Nothing is
opened, and it takes no rights; but whose devices are open can be seen of one's own processes only.
Where others are hidden it says how many: a device that shows nobody may be theirs. root sees all,
of its own pid namespace.

PINNED is what the process has pinned, which is what it mapped through iommufds, and LOCKED what it
locked, which is what it mapped by legacy containers, or with mlock; both of all its devices, and of
what else it does. Interrupts are those of /proc/interrupts; what a processor hands to a guest by
itself (posted interrupts) is not counted there. On a shared line those of others are counted too.

The JSON has the keys time (milliseconds since 1970), devices (bus, address, driver, iommuGroup,
cdev, pids, interrupts, interruptsPerSecond), processes (pid, command, pinned and locked in bytes),
hidden (processes that could not be looked at) and searched (false where some were not seen at all).
interrupts has name, irq and count of each that is enabled. What cannot be read is null, and so is
interruptsPerSecond the first time.`,
  run: look,
};

const defaultInterval = 2_000;

async function look({ flags, values, out }: Invocation): Promise<number> {
  const interval = numberOf('--interval', values['interval'], 50, 2 ** 31 - 1) ?? defaultInterval;
  const count = numberOf('--count', values['count'], 1, 2 ** 31 - 1) ?? Infinity;
  const asJson = flags['json'] === true;
  const ended = new AbortController();
  const unwatched = out.whenLost?.(() => {
    ended.abort();
  });
  const show = (text: string): void => {
    if (asJson || out.picture === undefined) out.print(text);
    else out.picture(text);
  };
  try {
    let before: Usage | undefined;
    for (let at = 1; !ended.signal.aborted; at++) {
      const now = await readUsage();
      const rates = now.devices.map((device) => rateOf(device, now, before));
      show(asJson ? jsonOf(now, rates) : textOf(now, rates));
      before = now;
      if (at >= count) break;
      await pause(interval, ended.signal);
    }
  } finally {
    unwatched?.();
  }
  return exitStatus.ok;
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // The reader may have gone while the devices were looked at.
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener('abort', end);
  });
}

function numberOf(
  name: string,
  text: string | undefined,
  least: number,
  most: number,
): number | undefined {
  if (text === undefined) return undefined;
  const number = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
  if (number >= least && number <= most) return number;
  throw usageError(name, `a number from ${least} to ${most}`, text);
}

/** Interrupts a second since the look before; null where that is not known. */
function rateOf(device: DeviceUsage, now: Usage, before: Usage | undefined): number | null {
  const { bus, address, interrupts } = device;
  const earlier = before?.devices.find((each) => each.bus === bus && each.address === address);
  if (before === undefined || interrupts === null || !earlier?.interrupts) return null;
  const counted = new Map(earlier.interrupts.map(({ name, irq, count }) => [name + irq, count]));
  const happened = interrupts.reduce((sum, { name, irq, count }) => {
    const past = counted.get(name + irq) ?? 0;
    // Enabled anew, it counts from 0 again.
    return sum + (count >= past ? count - past : count);
  }, 0);
  const seconds = (now.monotonicTime - before.monotonicTime) / 1000;
  return seconds > 0 ? happened / seconds : null;
}

function jsonOf(usage: Usage, rates: readonly (number | null)[]): string {
  const { time, devices, processes, hidden, searched } = usage;
  const rated = devices.map((device, at) => {
    const rate = rates[at] ?? null;
    return { ...device, interruptsPerSecond: rate === null ? null : Math.round(rate * 10) / 10 };
  });
  return jsonLine({ time, devices: rated, processes, hidden, searched });
}

const header = ['ADDRESS', 'DRIVER', 'GROUP', 'CDEV', 'VECTORS', 'IRQ/S', 'OPEN IN'];
const right = [2, 4, 5];

function textOf(usage: Usage, rates: readonly (number | null)[]): string {
  const { devices, processes } = usage;
  const rows = devices.map((device, at) => rowOf(device, rates[at] ?? null, usage));
  const holding = processes.map(processRow);
  return [
    summaryOf(usage),
    ...(rows.length > 0 ? ['', ...columns([header, ...rows], right)] : []),
    ...(holding.length > 0
      ? ['', ...columns([['PID', 'COMMAND', 'PINNED', 'LOCKED'], ...holding], [0, 2, 3])]
      : []),
    ...notesOf(usage).map((note) => `\n${note}`),
  ].join('\n');
}

function summaryOf({ time, devices }: Usage): string {
  const open = devices.filter(({ pids }) => pids.length > 0).length;
  const clock = new Date(time).toTimeString().slice(0, 8);
  const all = devices.length === 1 ? '1 device with' : `${devices.length} devices with`;
  return `vfio top  ${clock}  ${all} a VFIO driver, ${open} seen open`;
}

function rowOf(device: DeviceUsage, rate: number | null, usage: Usage): string[] {
  const { address, driver, iommuGroup, cdev, interrupts } = device;
  return [
    address,
    driver ?? '-',
    iommuGroup === null ? '-' : String(iommuGroup),
    cdev ?? '-',
    interrupts === null ? '?' : String(interrupts.length),
    rate === null ? '?' : rate.toFixed(rate < 10 ? 1 : 0),
    openIn(device, usage),
  ];
}

/** Nobody, where somebody could be who is not seen, is no answer. */
function openIn({ pids }: DeviceUsage, { processes, hidden, searched }: Usage): string {
  const names = pids.map((pid) => {
    const command = processes.find((each) => each.pid === pid)?.command ?? '';
    return `${pid} (${command})`;
  });
  if (names.length > 0) return names.join(', ');
  return searched && hidden === 0 ? '-' : '?';
}

function processRow({ pid, command, pinned, locked }: ProcessUsage): string[] {
  return [String(pid), command, sizeOf(pinned), sizeOf(locked)];
}

function sizeOf(size: number | null): string {
  return size === null ? '?' : bytes(size);
}

function notesOf({ devices, hidden, searched }: Usage): string[] {
  const notes: string[] = [];
  if (hidden > 0) {
    const those = hidden === 1 ? 'One process is' : `${hidden} processes are`;
    notes.push(`${those} another user's, and cannot be looked at: run it as root to see all.`);
  }
  if (!searched) {
    notes.push('Not all processes were seen: /proc hides some, or there was not enough time.');
  }
  if (devices.some(({ interrupts }) => interrupts === null)) {
    notes.push('/proc/interrupts cannot be read: what happens of interrupts is not known.');
  }
  return notes;
}
