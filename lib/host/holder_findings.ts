import { counted } from '../core/counted.ts';
import { either, type Steps } from '../core/steps.ts';
import { orUndefined } from '../core/errors.ts';
import { findHolders } from '../diagnose/holders.ts';
import type { SysfsDevice } from '../core/location.ts';
import { driverLeft } from '../locate/driver_override.ts';
import { findCdev, findGroup } from '../locate/find_cdev.ts';
import { lockedNodes } from './device_locks.ts';
import { seesAllProcesses } from './process_findings.ts';
import { type Finding, lookBySteps, type Place, type Seen } from './finding.ts';

/** Whoever asks waits no longer for the search. */
const mostMilliseconds = 2000;

/** Who has a device's nodes open. The blocking form does not search. */
export function* holderFindings(device: SysfsDevice, place: Place): Steps<Finding[]> {
  return yield* lookBySteps('holders', device.address, () => holders(device, place));
}

function* holders(device: SysfsDevice, place: Place): Steps<Seen | undefined> {
  const { roots } = place;
  // Which of them is not there, and why, is said by other findings.
  const nodes = [
    orUndefined(() => findCdev(device, roots)),
    orUndefined(() => findGroup(device, roots)),
  ];
  const numbers = nodes.flatMap((node) => (node ? [`${node.major}:${node.minor}`] : []));
  const left = driverLeft(device);
  // Its nodes are gone from sysfs by then, and whoever has it open is not.
  if (left !== undefined) numbers.push(...lockedNodes(device, place));
  if (numbers.length === 0 && left !== undefined) {
    const what = `it is being taken from ${left}, which waits until nobody has it open; sysfs does not tell its nodes any more`;
    return ['unknown', what, lsofDeleted];
  }
  // Nobody can have open what has no node.
  if (numbers.length === 0) return undefined;
  const deadline = performance.now() + mostMilliseconds;
  const found = yield* either(
    () => findHolders({ numbers, targets: [] }, undefined, deadline),
    () => undefined,
  );
  if (found === undefined) {
    return ['unknown', 'the blocking form does not search who has it open', lsof];
  }
  const names = found.holders.map(({ pid, command }) =>
    pid === process.pid ? 'this process' : `process ${pid} (${command})`,
  );
  if (names.length > 0) {
    const [first] = found.holders;
    const mend = `where it is wanted elsewhere: end it, or have it close the device: ps -fp ${first?.pid}`;
    const waits =
      left === undefined ? '' : `; it is being taken from ${left}, which waits for that`;
    return ['warning', `its nodes are open in ${names.join(' and ')}${waits}`, mend];
  }
  if (found.hidden > 0) {
    const what = `nobody was found, and ${counted(found.hidden, 'process', 'processes')} may not be looked at by this user`;
    return ['unknown', what, 'run this as root'];
  }
  if (!found.searched) {
    return ['unknown', 'nobody was found, and not all processes were looked at', lsof];
  }
  if (!seesAllProcesses(place)) {
    const what =
      'no process that is seen from here has its nodes open; this is not the first pid namespace';
    return ['unknown', what, 'run this on the host'];
  }
  return ['ok', 'no process has its nodes open'];
}

/** What udevd or devtmpfs took away shows so. */
const lsofDeleted = 'sudo lsof | grep "/dev/vfio/devices/.*(deleted)"';

const lsof = 'sudo lsof +D /dev/vfio';
