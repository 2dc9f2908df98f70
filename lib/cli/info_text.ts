import { styleText } from 'node:util';
import type { DeviceCapability, DeviceInfo, RegionCapability } from '../index.ts';
import type { InfoReport } from './info_json.ts';
import { bytes, columns, hex } from './text.ts';

/** The report for a person. */
export function infoText(report: InfoReport, colour: boolean): string {
  const { device, backend, cdev, group, info } = report;
  const bold = (text: string): string =>
    colour ? styleText('bold', text, { validateStream: false }) : text;
  const ids = device.vendor === null ? '' : `  [${bare(device.vendor)}:${bare(device.device)}]`;
  const facts: [string, string | number | null | undefined][] = [
    ['bus', device.bus],
    ['class', device.class],
    ['driver', device.driver],
    ['IOMMU group', device.iommuGroup],
    ['NUMA node', device.numaNode],
    [
      'backend',
      backend && `${backend.kind}${backend.isolated ? '' : ': its DMA reaches all memory'}`,
    ],
    ['cdev', cdev && `${cdev.path} (${cdev.major}:${cdev.minor})`],
    ['group', group && `${group.path} (${group.major}:${group.minor}): ${group.why}`],
    ['flags', info?.flags.join(' ')],
    ['capabilities', info?.capabilities.map(capabilityText).join(', ')],
  ];
  const known = facts.filter(([, value]) => value != null && value !== '');
  const lines = columns(known.map(([name, value]) => [`  ${name}`, String(value)]));
  return [bold(device.address) + ids, ...lines, ...(info ? detailLines(info, bold) : [])].join(
    '\n',
  );
}

function detailLines(info: DeviceInfo, bold: (text: string) => string): string[] {
  const regions = info.regions
    .filter(({ size }) => size > 0)
    .map(({ index, name, size, offset, flags, capabilities }) => [
      `  ${index}`,
      name,
      bytes(size),
      hex(offset),
      [flags.join(' '), ...capabilities.map(capabilityText)].join('; '),
    ]);
  const irqs = info.irqs
    .filter(({ count }) => count > 0)
    .map(({ index, name, count, flags }) => [`  ${index}`, name, String(count), flags.join(' ')]);
  const table = (title: string, header: string[], rows: string[][], right: number[]): string[] =>
    rows.length === 0
      ? ['', `${bold(title)}: none`]
      : ['', bold(title), ...columns([header, ...rows], right)];
  return [
    ...table('Regions', ['  #', 'name', 'size', 'offset', 'flags'], regions, [2]),
    ...table('Interrupts', ['  #', 'name', 'count', 'flags'], irqs, [2]),
  ];
}

function capabilityText(capability: DeviceCapability | RegionCapability): string {
  switch (capability.kind) {
    case 'sparse-mmap': {
      const areas = capability.areas.map(({ offset, size }) => `${hex(offset)}+${hex(size)}`);
      return `mappable: ${areas.join(', ')}`;
    }
    case 'type':
      return `type ${hex(capability.type)} subtype ${hex(capability.subtype)}`;
    case 'msix-mappable':
      return 'MSI-X table mappable';
    case 'pci-atomic-comp':
      return `PCIe atomic completion ${capability.flags.join(' ')}`;
    case 'unknown':
      return `capability ${capability.id} version ${capability.version}`;
  }
}

/** `1234` of sysfs's `0x1234`. */
function bare(id: string | null): string {
  return id?.replace('0x', '') ?? '';
}
