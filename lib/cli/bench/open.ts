import { describeDevice, type DeviceAddress } from '../../index.ts';
import { type Command, exitStatus, type Invocation, type Output, usageError } from '../command.ts';
import {
  type Backend,
  backends,
  forms,
  openAndClose,
  openAndCloseAll,
  probe,
  Watches,
} from './paths.ts';
import {
  type Measured,
  type MeasuredFleet,
  openJson,
  type OpenReport,
  openText,
  thisMachine,
} from './report.ts';
import { requireNamedFile, writeNamedFile } from '../write_file.ts';
import { interleave, type Plan, progressBar, repeat, type Way } from './rounds.ts';
import { openSvg } from './svg.ts';

export const benchOpen: Command = {
  name: 'bench open',
  summary: 'Time opening and closing devices, step by step, by every way that the kernel has',
  positionals: ['device…'],
  options: {
    backend: {
      type: 'string',
      description: 'Only this: cdev, group, compat or noiommu; auto: all but noiommu',
      values: ['auto', ...backends, 'noiommu'],
    },
    concurrency: {
      type: 'string',
      placeholder: 'count',
      description: 'Open all devices too, so many at once',
    },
    rounds: { type: 'string', placeholder: 'count', description: 'How often, with each way (30)' },
    json: { type: 'boolean', description: 'Print JSON; nanoseconds' },
    svg: {
      type: 'string',
      description: 'Write a picture of the times to this file',
      values: 'file',
    },
  },
  details: `<device> is named as for vfio info. Every round opens and closes it, which resets it twice where it
can be reset: 0.2 s and more. Nobody else may have it meanwhile.

  cdev    the device cdev, bound to an iommufd and attached to an address space
  group   the IOMMU group in a type1 container
  compat  the group with /dev/iommu as its container
  noiommu a device without an IOMMU: its DMA reaches all memory, so only where it is asked for

  lookup  the device's node, in sysfs           info     what the kernel says of it
  open    that, and the iommufd or container    attach   an address space, attached
  bind    open in the kernel's sense            close    all of it

Ways take turns, a tenth of their rounds each, after a tenth that does not count. p99 is the value
that 99 of 100 rounds do not exceed; of few rounds it is the longest.`,
  run: bench,
};

async function bench({ positionals, values, flags, out }: Invocation): Promise<number> {
  const wanted = backendsOf(values['backend']);
  const rounds = whole('--rounds', values['rounds'] ?? '30', 1_000_000);
  const concurrency = whole('--concurrency', values['concurrency'] ?? '1', 64);
  const devices = positionals.map((spec) => describeDevice(spec));
  if (values['svg'] !== undefined) await requireNamedFile(values['svg']);
  const { found, missing } = await probe(wanted, devices);
  const turn = Math.ceil(rounds / 10);
  const plan = { rounds, warmUp: Math.max(3, turn), turn };
  const machine = thisMachine();
  const measured = await measure(found, devices, plan, out);
  const fleets = concurrency > 1 ? await measureFleets(found, devices, concurrency, plan, out) : [];
  const { warmUp } = plan;
  const addresses = devices.map(({ address }) => address);
  const report = {
    ...{ machine, rounds, warmUp, concurrency, devices: addresses },
    ...{ missing, measured, fleets },
  };
  out.print(flags['json'] ? openJson(report) : openText(report));
  if (values['svg'] !== undefined) await writeNamedFile(values['svg'], svgOf(report));
  return exitStatus.ok;
}

async function measure(
  found: readonly Backend[],
  devices: readonly DeviceAddress[],
  plan: Plan,
  out: Output,
): Promise<Measured[]> {
  using watches = new Watches();
  const ways = devices.flatMap((device) =>
    found.flatMap((backend) =>
      forms.map((form): Way & Measured => ({
        ...{ device: device.address, backend, form, rounds: [] },
        run: (count) => repeat(count, () => openAndClose(backend, form, device, watches)),
      })),
    ),
  );
  await interleave(ways, plan, progressBar(out, 'each alone'));
  return ways;
}

async function measureFleets(
  found: readonly Backend[],
  devices: readonly DeviceAddress[],
  concurrency: number,
  plan: Plan,
  out: Output,
): Promise<MeasuredFleet[]> {
  const ways = found.map((backend) => ({
    ...{ backend, rounds: [] },
    run: (count: number) => repeat(count, () => openAndCloseAll(backend, devices, concurrency)),
  }));
  await interleave(ways, plan, progressBar(out, `${concurrency} at once`));
  return ways;
}

function svgOf({ machine, rounds, measured }: OpenReport): string {
  const series = measured.map((each) => ({
    group: each.device,
    name: `${each.backend} ${each.form}`,
    fill: each.form === 'sync' ? ('solid' as const) : ('hollow' as const),
    rounds: each.rounds,
  }));
  return openSvg(machine, rounds, series);
}

function backendsOf(text: string | undefined): readonly Backend[] {
  if (text === undefined || text === 'auto') return backends;
  const one = ([...backends, 'noiommu'] as const).find((backend) => backend === text);
  if (one !== undefined) return [one];
  throw usageError('--backend', 'auto, cdev, group, compat or noiommu', text);
}

function whole(option: string, text: string, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= 1 && value <= most) return value;
  throw usageError(option, `a whole number from 1 to ${most}`, text);
}
