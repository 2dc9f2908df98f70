import { invalidValue } from '../core/arguments.ts';
import { orUndefined } from '../core/errors.ts';
import type { Roots } from '../core/location.ts';
import { isCdevName } from './path.ts';
import { listNames, readLinkName } from './sysfs.ts';

/**
 * Refuses what people call a device by and does not name one: a cdev's name without its folder, a
 * group's number, a PCI address without its bus. The error has the address, where sysfs shows it.
 *
 * @throws TypeError `ERR_INVALID_ARG_VALUE`
 */
export function refuseShortName(text: string, roots: Roots): void {
  const expected = expectedFor(text, roots);
  if (expected !== undefined) throw invalidValue('device', expected, text);
}

/** What cannot be looked at is not told of: the error is of what was typed. */
function expectedFor(text: string, { sysfsRoot, devRoot }: Roots): string | undefined {
  if (isCdevName(text)) {
    const link = `${sysfsRoot}/class/vfio-dev/${text}/device`;
    const address = orUndefined(() => readLinkName(link));
    const is = address === undefined ? '' : ` (${text} is ${address})`;
    return `an address${is} or a node (${devRoot}/vfio/devices/${text})`;
  }
  const group = /^(?:noiommu-)?(\d+)$/.exec(text)?.[1];
  if (group !== undefined) {
    const devices = namesIn(`${sysfsRoot}/kernel/iommu_groups/${group}/devices`);
    const has = devices.length === 0 ? '' : ` (the IOMMU group ${group} has ${devices.join(', ')})`;
    return `the address of a device${has}`;
  }
  const place = /^([01]?[0-9a-f])(\.[0-7])$/i.exec(text);
  if (place === null) return undefined;
  const end = `:${(place[1] ?? '').toLowerCase().padStart(2, '0')}${place[2] ?? ''}`;
  const found = namesIn(`${sysfsRoot}/bus/pci/devices`).filter((name) => name.endsWith(end));
  return `an address with its bus (${found.length > 0 ? found.join(', ') : `such as 3b${end}`})`;
}

function namesIn(folder: string): string[] {
  return (orUndefined(() => listNames(folder)) ?? []).sort();
}
