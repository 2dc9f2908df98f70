import { styleText } from 'node:util';
import type { ListedDevice } from '../index.ts';
import type { Output } from './command.ts';
import type { PciIds } from './pci_ids.ts';
import { columns } from './text.ts';

const header = ['ADDRESS', 'IDS', 'DRIVER', 'GROUP', 'CDEV', 'NAME'];
/** The column of IOMMU groups: numbers. */
const right = [3];

/** The devices as a table; the name stands last, where a narrow terminal can cut it. */
export function listText(
  devices: readonly ListedDevice[],
  ids: PciIds,
  { colour, width = Infinity }: Pick<Output, 'colour' | 'width'>,
): string {
  const rows = devices.map((device) => row(device, ids));
  const [head = '', ...lines] = columns([header, ...rows], right).map((line) => cut(line, width));
  const bold = colour ? styleText('bold', head, { validateStream: false }) : head;
  return [bold, ...lines].join('\n');
}

function row(device: ListedDevice, ids: PciIds): string[] {
  const { address, driver, iommuGroup, cdev } = device;
  const vendor = bare(device.vendor);
  const model = bare(device.device);
  const names = ids.names(vendor, model);
  const known = [names.vendor, names.device].filter((name) => name !== undefined);
  return [
    address,
    vendor === '' ? '-' : `${vendor}:${model}`,
    driver ?? '-',
    iommuGroup === null ? '-' : String(iommuGroup),
    cdev?.name ?? '-',
    known.join(' '),
  ];
}

/** `1234` of sysfs's `0x1234`. */
function bare(id: string | null): string {
  return id?.replace('0x', '') ?? '';
}

function cut(line: string, width: number): string {
  return line.length <= width ? line : `${line.slice(0, Math.max(0, width - 1))}…`;
}
