import { existsSync, readlinkSync } from 'node:fs';
import { type ChangesLost, type DeviceChange, type DeviceEvent, watchDevices } from '../index.ts';
import { type Command, exitStatus, type Invocation, usageError } from './command.ts';
import { jsonLine, printableLine } from './text.ts';

export const watch: Command = {
  name: 'watch',
  summary: 'Tell of devices and drivers that come and go, until it is interrupted',
  positionals: [],
  options: {
    json: { type: 'boolean', description: 'Print a JSON object on each line, see below' },
    timeout: { type: 'string', placeholder: 'ms', description: 'End after so many milliseconds' },
  },
  details: `The kernel tells (uevents); nothing is asked again and again, and nothing is opened. It takes no rights. What
there was before is not shown: vfio list --all does that. Standard error says when it begins.

A line has the time, the kernel's word (add, remove, bind, unbind, change, …), what it is of, the
device, and its driver or node. Where the kernel had no room for some events, a line says lost,
and lines with is say what there is now.

The JSON has the keys action, subsystem, bus, address, driver, node (name, path, major, minor), devpath,
seqnum and time (milliseconds since 1970); of lost: action, devices (as vfio list --json prints
them) and time.

It ends when it is interrupted, when its reader goes away, and after --timeout; the exit status is
0 in the last two cases, and 128 and the signal's number, as a shell says it, in the first.`,
  run: tell,
};

async function tell({ flags, values, out }: Invocation): Promise<number> {
  const timeout = timeoutOf(values['timeout']);
  const note = namespaceNote();
  if (note !== undefined) out.note(`vfio watch: ${note}`);
  const show = flags['json'] === true ? jsonLine : linesOf;
  const ended = new AbortController();
  const end = (): void => {
    ended.abort();
  };
  const timer = timeout === undefined ? undefined : setTimeout(end, timeout);
  const unwatched = out.whenLost?.(end);
  try {
    const watch = watchDevices({ signal: ended.signal });
    // Whoever reads this may list what there is, and misses nothing.
    out.note('vfio watch: what changes is told from now on');
    for await (const event of watch) out.print(show(event));
  } catch (error) {
    if (error !== ended.signal.reason) throw error;
  } finally {
    clearTimeout(timer);
    unwatched?.();
  }
  return exitStatus.ok;
}

function timeoutOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
  if (time <= 2 ** 31 - 1) return time;
  throw usageError('--timeout', 'a number of milliseconds, such as 60000', text);
}

/** PROC_USER_INIT_INO of the kernel (include/linux/proc_ns.h). */
const initialNamespace = 'user:[4026531837]';

/** The kernel tells nothing, and no error, where a rootless container waits for it. */
export function namespaceNote(proc = '/proc'): string | undefined {
  try {
    if (readlinkSync(`${proc}/self/ns/user`) === initialNamespace) return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // A kernel that has no user namespaces has all in the initial one.
    if (code === 'ENOENT' && existsSync(`${proc}/self/ns`)) return undefined;
    return `whether the kernel tells this process of devices could not be looked at: ${message}`;
  }
  return (
    'this is a user namespace of its own: where its network namespace is, too, as in a rootless ' +
    'container, the kernel tells it of no devices'
  );
}

function linesOf(event: DeviceEvent): string {
  return event.action === 'lost' ? lostLines(event) : changeLine(event);
}

function changeLine(event: DeviceChange): string {
  const { action, subsystem, address, driver, node, time } = event;
  const words = [timeOf(time), action.padEnd(6), subsystem.padEnd(8)];
  const named = [address ?? (subsystem === 'drivers' ? event.bus : undefined), driver, node?.path];
  return printableLine([...words, ...named.filter((name) => name != null)]);
}

function lostLines({ devices, time }: ChangesLost): string {
  const lost = `${timeOf(time)}  lost    the kernel had no room for some events; ${devices.length === 1 ? 'there is now 1 device' : `there are now ${devices.length} devices`}:`;
  const lines = devices.map(({ bus, address, driver, cdev }) =>
    printableLine([
      ...[timeOf(time), 'is    ', bus.padEnd(8), address],
      ...[driver, cdev?.path].filter((name) => name != null),
    ]),
  );
  return [lost, ...lines].join('\n');
}

/** By the clock on the wall: `14:03:59.071` */
function timeOf(time: number): string {
  const date = new Date(time);
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()];
  const clock = parts.map((part) => String(part).padStart(2, '0')).join(':');
  return `${clock}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}
