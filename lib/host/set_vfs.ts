import { requirePlatform } from '../addon.ts';
import { checkInteger, checkTimeout, requireBoolean, requireObject } from '../core/arguments.ts';
import { counted } from '../core/counted.ts';
import { explained, VfioError } from '../core/errors.ts';
import type { DeviceSpec } from '../core/location.ts';
import type { HostNeed, NeededDevice } from '../core/reasons.ts';
import { run, runSync, type Steps, undoAndThrow } from '../core/steps.ts';
import { describeDevice } from '../diagnose/explain.ts';
import type { DeviceFacts } from '../locate/facts.ts';
import { readAttribute } from '../locate/sysfs.ts';
import { virtfnsOf } from '../locate/virtual_functions.ts';
import { type HostRootOptions, type HostRoots, hostRootsOf } from './host_roots.ts';
import { type PhysicalFunction, readSriov } from './sriov.ts';
import { writeSysfs } from './sysfs_write.ts';

/** How virtual functions are made. */
export interface SetVfsOptions extends HostRootOptions {
  /**
   * Whether the kernel offers new virtual functions to the host's drivers; as it is set already, if
   * absent. It stays so for later ones. A `driver_override` is heeded in any case.
   */
  probe?: boolean | undefined;
  /** Milliseconds for each write, which waits for drivers; 30,000. */
  timeout?: number | undefined;
}

/** A write to sysfs on the way to another number of virtual functions. */
export interface VfsStep {
  /** The file of sysfs that is written to. */
  path: string;
  /** What is written. */
  text: string;
  /** `probe`: whether new ones are offered to drivers; `remove` and `make`: how many. */
  kind: 'probe' | 'remove' | 'make';
}

/** How a physical function gets another number of virtual functions. */
export interface VfsPlan {
  /** How it is now. */
  before: PhysicalFunction;
  /** In their order; none where all is as it was asked for. */
  steps: VfsStep[];
}

/** What was done. */
export interface VfsChange extends VfsPlan {
  /** How it is when all is done. */
  after: PhysicalFunction;
}

/** SR-IOV has 16 bits for their number. */
const mostVfs = 0xffff;

/**
 * What {@link setVfs} would do, with nothing done.
 *
 * @throws as it does, where it would change nothing
 */
export function planVfs(
  pf: DeviceSpec,
  count: number,
  options: SetVfsOptions = {},
): Promise<VfsPlan> {
  return run(planOf(pf, count, options));
}

/** The blocking form of {@link planVfs}. */
export function planVfsSync(pf: DeviceSpec, count: number, options: SetVfsOptions = {}): VfsPlan {
  return runSync(planOf(pf, count, options));
}

/**
 * Gives a physical function so many virtual functions, by `sriov_numvfs`. The kernel changes no
 * number but 0, so those that there are are removed first, and with them the drivers that they had;
 * where the new ones cannot be made, as many as before are made again. None is removed while the
 * host or a program has one, or while a program has the physical function open by VFIO.
 *
 * @param pf - the physical function
 * @param count - from 0 to what it can have, `sriov_totalvfs`
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`; RangeError `ERR_OUT_OF_RANGE`
 * @throws VfioError `ERR_VFIO_NO_DEVICE`; `ERR_VFIO_UNSUPPORTED` where the device is no physical
 *   function; `ERR_VFIO_IN_USE`, with nothing changed; `EACCES`, `ENOENT`, `EBUSY` and others of
 *   the kernel; `ERR_VFIO_NOT_TAKEN` where sysfs shows another number afterwards;
 *   `ERR_VFIO_TIMEOUT`, after which the kernel goes on; `ERR_VFIO_NO_HELPER`
 */
export function setVfs(
  pf: DeviceSpec,
  count: number,
  options: SetVfsOptions = {},
): Promise<VfsChange> {
  return run(change(pf, count, options));
}

/** The blocking form of {@link setVfs}. */
export function setVfsSync(pf: DeviceSpec, count: number, options: SetVfsOptions = {}): VfsChange {
  return runSync(change(pf, count, options));
}

interface Task {
  device: DeviceFacts;
  roots: HostRoots;
  count: number;
  timeout: number;
  plan: VfsPlan;
}

function* planOf(pf: DeviceSpec, count: number, options: SetVfsOptions): Steps<VfsPlan> {
  return (yield* taskOf(pf, count, options)).plan;
}

function* taskOf(pf: DeviceSpec, count: number, options: SetVfsOptions): Steps<Task> {
  requirePlatform();
  requireObject('options', options);
  const { probe, timeout = 30_000 } = options;
  checkInteger('count', count, 0, mostVfs);
  requireBoolean('probe', probe);
  checkTimeout(timeout);
  const roots = hostRootsOf(options);
  const device = describeDevice(pf, roots);
  const before = yield* readSriov(device, roots);
  const { totalVfs, address } = before;
  const expected = `an integer from 0 to ${totalVfs}, as many as ${address} can have`;
  checkInteger('count', count, 0, totalVfs, expected);
  const steps = stepsTo(count, before, probe);
  if (steps.some(({ kind }) => kind === 'remove')) requireUnneeded(before);
  return { device, roots, count, timeout, plan: { before, steps } };
}

function stepsTo(
  count: number,
  { sysfsPath, numVfs, driversAutoprobe }: PhysicalFunction,
  probe: boolean | undefined,
): VfsStep[] {
  const [numbers, autoprobe] = ['sriov_numvfs', 'sriov_drivers_autoprobe'].map(
    (name) => `${sysfsPath}/${name}`,
  ) as [string, string];
  const isOther = count !== numVfs;
  const steps: VfsStep[] = [];
  if (isOther && numVfs > 0) steps.push({ path: numbers, text: '0', kind: 'remove' });
  if (probe !== undefined && probe !== driversAutoprobe)
    steps.push({ path: autoprobe, text: probe ? '1' : '0', kind: 'probe' });
  if (isOther && count > 0) steps.push({ path: numbers, text: String(count), kind: 'make' });
  return steps;
}

/** What could not be looked at counts as needed: nobody can insist here. */
function requireUnneeded({ address, holding, vfs }: PhysicalFunction): void {
  const ofVfs = vfs.map((vf) => ({
    ...{ bus: 'pci', address: vf.address },
    needs: vf.needs,
    unseen: vf.unseen,
  }));
  const devices: NeededDevice[] = [
    { bus: 'pci', address, needs: usersOf(address, holding) },
    ...ofVfs,
  ]
    .map(({ bus, address: name, needs }) => ({ bus, address: name, needs }))
    .filter(({ needs }) => needs.length > 0);
  const unseen = ofVfs.flatMap((vf) => vf.unseen);
  if (!holding.searched) unseen.push(`who has ${address} open: not all processes were looked at`);
  if (devices.length === 0 && unseen.length === 0) return;
  const error = new VfioError({
    code: 'ERR_VFIO_IN_USE',
    message: 'nothing was changed',
    device: address,
  });
  const facts = { physicalFunction: address, devices, unseen };
  const certainty = devices.length > 0 ? 'certain' : 'likely';
  throw explained(error, { reason: 'vfs-in-use', certainty, facts });
}

/** Closing the physical function resets it, and its user drives the virtual ones. */
function usersOf(address: string, { holders }: PhysicalFunction['holding']): HostNeed[] {
  return holders.map(({ pid, command }) => ({
    kind: 'user',
    name: address,
    text: `${pid === process.pid ? 'this process' : `process ${pid} (${command})`} has it open, and its virtual functions with it`,
  }));
}

function* change(pf: DeviceSpec, count: number, options: SetVfsOptions): Steps<VfsChange> {
  const task = yield* taskOf(pf, count, options);
  const done: VfsStep[] = [];
  try {
    for (const step of task.plan.steps) {
      yield* write(step, task);
      done.push(step);
    }
    requireCount(task);
  } catch (error) {
    if (!canUndo(error)) throw error;
    return yield* undoAndThrow(error, undo(done, task));
  }
  return { ...task.plan, after: yield* readSriov(task.device, task.roots) };
}

function* write(step: VfsStep, { device, roots, timeout, count }: Task): Steps<void> {
  const { path, text } = step;
  const { sysfsRoot } = roots;
  const error = yield* writeSysfs([{ path, text }], { timeout, device, sysfsRoot });
  if (error === undefined) return;
  throw step.kind === 'probe' ? error : refused(error, device, count, roots);
}

/** A write that goes on in the kernel has the device: no other gets through. */
function canUndo(error: unknown): boolean {
  return error instanceof VfioError && error.code !== 'ERR_VFIO_TIMEOUT';
}

/** As many as before, offered to drivers as before. */
function* undo(done: readonly VfsStep[], task: Task): Steps<void> {
  const { numVfs, driversAutoprobe, sysfsPath } = task.plan.before;
  const numbers = `${sysfsPath}/sriov_numvfs`;
  const back: VfsStep[] = [];
  const now = virtfnsOf(task.device).length;
  if (now !== numVfs && now !== 0) back.push({ path: numbers, text: '0', kind: 'remove' });
  const probe = done.find(({ kind }) => kind === 'probe');
  if (probe) back.push({ ...probe, text: driversAutoprobe === true ? '1' : '0' });
  if (now !== numVfs && numVfs > 0)
    back.push({ path: numbers, text: String(numVfs), kind: 'make' });
  for (const step of back) yield* write(step, { ...task, count: numVfs });
}

/** The kernel may make fewer, and says so in its log alone. */
function requireCount({ device, count, plan }: Task): void {
  if (!plan.steps.some(({ kind }) => kind !== 'probe')) return;
  const links = virtfnsOf(device).length;
  if (links === count) return;
  throw new VfioError({
    code: 'ERR_VFIO_NOT_TAKEN',
    message: `${device.address} was to have ${counted(count, 'virtual function')}, and sysfs shows ${links}`,
    path: `${device.sysfsPath}/sriov_numvfs`,
    device: device.address,
    hint: `the kernel's log may say why: sudo journalctl -k -g ${device.address}`,
  });
}

function refused(
  error: VfioError,
  { address, driver }: DeviceFacts,
  count: number,
  { sysfsRoot }: HostRoots,
): VfioError {
  // Not begun in time: nobody refused it.
  if (error.reason !== undefined || error.code === 'ERR_VFIO_TIMEOUT') return error;
  const parameter = readAttribute(`${sysfsRoot}/module/vfio_pci/parameters/enable_sriov`);
  const enableSriov = parameter === undefined ? null : parameter === 'Y';
  const isKnown =
    error.code === 'EACCES' ||
    (error.code === 'ENOENT' &&
      (driver === null || (driver === 'vfio-pci' && enableSriov === false)));
  return explained(error, {
    reason: 'vfs-refused',
    certainty: isKnown ? 'certain' : 'likely',
    facts: { address, driver, enableSriov, count, code: error.code },
  });
}
