import {
  type AffectedDevice,
  closeDevices,
  type HotResetPlan,
  type OpenDeviceOptions,
  VfioDevice,
  VfioError,
} from '../index.ts';
import {
  aboutBackends,
  backendOption,
  type Command,
  exitStatus,
  type Invocation,
  isByCdev,
  openOptions,
  type Output,
} from './command.ts';
import { columns } from './text.ts';

export const reset: Command = {
  name: 'reset',
  summary: 'Reset a device, alone or with all that shares its bus or slot',
  positionals: ['device'],
  options: {
    hot: { type: 'boolean', description: 'Reset the bus or slot, and every device on it' },
    'dry-run': { type: 'boolean', description: 'Say what would be reset; reset nothing more' },
    ...backendOption,
  },
  details: `<device> is named as for vfio info, and must be bound to a VFIO driver such as vfio-pci.

Opening a device, which this command does first, resets it already where it can be reset. With --hot
the other devices that would be hit are opened too, which is how the kernel is shown that they are
nobody else's; those without a VFIO driver, or held by another program, forbid the reset. With
--dry-run only <device> itself is opened.

${aboutBackends}`,
  run: resetCommand,
};

async function resetCommand(invocation: Invocation): Promise<number> {
  const { positionals, flags, out } = invocation;
  const [spec = ''] = positionals;
  const dryRun = flags['dry-run'] === true;
  await using device = await VfioDevice.open(spec, openOptions(invocation));
  if (flags['hot'] !== true) return await resetAlone(device, dryRun, out);
  return dryRun ? tellPlan(await device.planHotReset(), out) : await resetAll(device, out);
}

async function resetAlone(device: VfioDevice, dryRun: boolean, out: Output): Promise<number> {
  const { address } = device.device;
  const can = device.info.flags.includes('reset');
  if (dryRun) out.print(can ? `${address} would be reset` : `${address} has no reset of its own`);
  if (dryRun) return can ? exitStatus.ok : exitStatus.failed;
  if (!can) {
    out.note(`vfio reset: ${address} has no reset of its own`);
    out.note(
      `hint: vfio reset ${address} --hot --dry-run says what a reset of its bus or slot would hit`,
    );
    return exitStatus.failed;
  }
  await device.reset();
  out.print(`${address} was reset`);
  return exitStatus.ok;
}

async function resetAll(device: VfioDevice, out: Output): Promise<number> {
  const { devices } = await device.planHotReset();
  const others: VfioDevice[] = [];
  try {
    for (const one of devices) {
      const opened = await openOther(one, device, out);
      if (opened) others.push(opened);
    }
    const plan = await device.planHotReset();
    if (!plan.possible) return tellPlan(plan, out);
    await device.hotReset();
    for (const { address } of plan.devices) out.print(`${address} was reset`);
    return exitStatus.ok;
  } finally {
    await closeDevices(others);
  }
}

/** Opens what is in the way and can be opened; why it cannot be is told. */
async function openOther(
  { address, ownership, driver }: AffectedDevice,
  beside: VfioDevice,
  out: Output,
): Promise<VfioDevice | undefined> {
  if (ownership !== 'foreign' || driver === null) return undefined;
  try {
    return await VfioDevice.open(address, sharedWith(beside));
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    out.note(`vfio reset: ${error.message}`);
    return undefined;
  }
}

/** What makes a device one of ours to the kernel: the iommufd, or the container, of the first. */
function sharedWith(device: VfioDevice): OpenDeviceOptions {
  const { kind: backend } = device.backend;
  return backend === 'compat' || isByCdev(device)
    ? { backend, iommufd: device.iommufd }
    : { backend, container: device.container };
}

function tellPlan({ devices, possible, reason = '' }: HotResetPlan, out: Output): number {
  const rows = devices.map(({ address, ownership, driver }) => [
    `  ${address}`,
    driver ?? 'no driver',
    words[ownership],
  ]);
  if (devices.length > 0) out.print(['A hot reset would hit', ...columns(rows)].join('\n'));
  if (!possible) out.note(`vfio reset: a hot reset is not possible: ${reason}`);
  return possible ? exitStatus.ok : exitStatus.failed;
}

const words: Readonly<Record<AffectedDevice['ownership'], string>> = {
  open: 'open here',
  owned: 'nobody else’s: in the IOMMU group of one that is open here',
  foreign: 'not open here',
};
