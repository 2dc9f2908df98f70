import assert from 'node:assert/strict';
import type { Command } from '../../lib/cli/command.ts';
import type { DeviceAddress } from '../../lib/core/location.ts';
import { withoutIommu } from './iommu.ts';

/** What follows a command's name in a run of it, and what it finds in its environment. */
export interface CommandRun {
  args: readonly string[];
  env?: Readonly<Record<string, string>>;
}

/** A device that is nowhere. */
const nowhere = 'ffff:ff:1f.7';

/**
 * Every command's run on any machine, which opens nothing, changes nothing and ends by itself. A
 * new command has its line here.
 */
export const runsAnywhere: Readonly<Record<string, CommandRun>> = {
  info: { args: [nowhere] },
  list: { args: ['--all'] },
  groups: { args: [] },
  watch: { args: ['--timeout', '1'] },
  top: { args: ['--count', '1'] },
  config: { args: [nowhere] },
  read: { args: [nowhere, 'bar0', '0'] },
  write: { args: [nowhere, 'bar0', '0', '0'] },
  features: { args: [nowhere] },
  reset: { args: [nowhere] },
  doctor: { args: [nowhere] },
  bind: { args: [nowhere, '--dry-run'] },
  unbind: { args: [nowhere, '--dry-run'] },
  sriov: { args: [nowhere] },
  udev: { args: ['--group', 'vfio'] },
  cdi: { args: [nowhere] },
  // A command that asks the kernel nothing, since a trace has times.
  trace: { args: ['completion', 'bash'] },
  'bench open': { args: [nowhere] },
  // Without a compiler it says what it needs.
  build: { args: [], env: { PATH: '/nowhere' } },
  completion: { args: ['bash'] },
};

/**
 * Every command's run on a device of the lab, `edu`. A new command that takes a device has its
 * line here.
 */
export function runsOnDevice(device: string): Readonly<Record<string, CommandRun>> {
  return {
    info: { args: [device] },
    list: { args: ['--json'] },
    groups: { args: [] },
    watch: { args: ['--timeout', '1'] },
    top: { args: ['--count', '1'] },
    config: { args: [device] },
    read: { args: [device, 'bar0', '0'] },
    write: { args: [device, 'config', '0', '0x5555', '--width', '16'] },
    features: { args: [device, '--json'] },
    reset: { args: [device, '--dry-run'] },
    doctor: { args: [device] },
    bind: { args: [device, '--dry-run'] },
    unbind: { args: [device, '--dry-run'] },
    // A device without virtual functions is told so.
    sriov: { args: [device, '--vfs', '1', '--dry-run'] },
    udev: { args: [device, '--group', 'root'] },
    cdi: { args: [device] },
    // It runs this very program again, which a test is not.
    trace: { args: ['info', device], env: {} },
    'bench open': { args: [device, '--rounds', '1'] },
    build: { args: [], env: { PATH: '/nowhere' } },
    completion: { args: ['bash'] },
  };
}

/** The run of a command, which must have one. */
export function runOf(runs: Readonly<Record<string, CommandRun>>, { name }: Command): CommandRun {
  const run = runs[name];
  assert.ok(run, `say in test/support/command_runs.ts how vfio ${name} is run`);
  return run;
}

/** The whole command line of a command's run on a device of the lab, on a kernel without an IOMMU too. */
export function argvOnDevice(command: Command, { bus, address }: DeviceAddress): string[] {
  const { args } = runOf(runsOnDevice(address), command);
  const isUnconfined = withoutIommu && bus === 'pci' && command.options['backend'] !== undefined;
  return [...command.name.split(' '), ...args, ...(isUnconfined ? ['--backend', 'noiommu'] : [])];
}
