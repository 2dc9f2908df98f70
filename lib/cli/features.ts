import { VfioDevice } from '../index.ts';
import {
  aboutBackends,
  backendOption,
  type Command,
  exitStatus,
  type Invocation,
  openOptions,
} from './command.ts';
import { columns, jsonText } from './text.ts';

export const features: Command = {
  name: 'features',
  summary: 'List the features of a device: migration, low power and others',
  positionals: ['device'],
  options: {
    json: { type: 'boolean', description: 'Print JSON' },
    ...backendOption,
  },
  details: `<device> is named as for vfio info, and must be bound to a VFIO driver such as vfio-pci.

Opening a device resets it where it can be reset. Probing changes nothing. The third column is the
first kernel that has the feature.

${aboutBackends}`,
  run: listFeatures,
};

async function listFeatures(invocation: Invocation): Promise<number> {
  const { positionals, flags, out } = invocation;
  const [spec = ''] = positionals;
  await using device = await VfioDevice.open(spec, openOptions(invocation));
  const found = await device.feature.list();
  if (flags['json']) {
    out.print(jsonText(found));
    return exitStatus.ok;
  }
  if (found.length === 0) out.note(`vfio features: ${device.device.address} has none`);
  const rows = found.map(({ index, name, since, operations }) => [
    String(index),
    name,
    since,
    operations.join(' '),
  ]);
  for (const line of columns(rows, [0])) out.print(line);
  return exitStatus.ok;
}
