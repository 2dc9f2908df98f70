import type { RegionInfo } from '../index.ts';
import type { InfoReport } from './info_report.ts';
import { jsonText } from './json.ts';
import { hex } from './text.ts';

/** The report as JSON. Sizes and offsets are hex strings: a JSON number would lose bits of 64. */
export function infoJson({ device, backend, cdev, group, info }: InfoReport): string {
  const { name, path, major, minor } = cdev ?? {};
  const report = {
    device,
    ...(backend && { backend }),
    cdev: cdev && { name, path, major, minor },
    ...(group && { group }),
    ...(info && {
      flags: info.flags,
      capabilities: info.capabilities,
      regions: info.regions.map(regionJson),
      irqs: info.irqs,
    }),
  };
  return jsonText(report);
}

function regionJson({ index, name, size, offset, flags, capabilities }: RegionInfo): object {
  return { index, name, size: hex(size), offset: hex(offset), flags, capabilities };
}
