import type { OpenDeviceOptions, VfioDevice } from '../index.ts';
import { type Invocation, type Options, usageError } from './command.ts';

const backends = ['auto', 'cdev', 'group', 'compat', 'noiommu'] as const;

/** Of every command that opens a device. */
export const backendOption: Options = {
  backend: { type: 'string', description: `How to open it: ${backends.join(', ')}; see below` },
};

/** What `--help` says of it. */
export const aboutBackends = `A device is opened by its cdev and an iommufd (--backend cdev), or by its legacy group and a type1
container (group); auto, which is the default, takes the group where the kernel has no cdev. compat
is the group with an iommufd for its container. noiommu is for a device without an IOMMU: its DMA
reaches all memory of the machine.`;

/** As the command line says how to open the device; a usage error where it makes no sense. */
export function openOptions({ values, flags }: Invocation): Pick<OpenDeviceOptions, 'backend'> {
  const { backend: text } = values;
  if (text === undefined) return {};
  const backend = backends.find((one) => one === text);
  if (backend === undefined) {
    throw usageError('--backend', 'auto, cdev, group, compat or noiommu', text);
  }
  if (flags['no-open'] === true) throw usageError('--backend', 'absent with --no-open', text);
  return { backend };
}

/** Whether a device was opened by its own node, `vfio0`; a group's is called `12` or `noiommu-12`. */
export function isByCdev({ name }: VfioDevice): boolean {
  return /^(?:noiommu-)?vfio\d+$/.test(name);
}
