import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe } from 'mocha';
import {
  openCdev,
  openCdevSync,
  VfioDevice,
  type DeviceCapability,
  type DeviceInfo,
  type RegionCapability,
} from '../../lib/index.ts';
import { itEach, type TestDevice } from '../support/devices.ts';
import { root } from '../support/root.ts';

interface Capability {
  id: number;
  version: number;
}

/** What bench/baseline/info.c prints: the kernel's own numbers. */
interface Numbers {
  flags: number;
  capabilities: Capability[];
  regions: {
    index: number;
    flags: number;
    size: string;
    offset: string;
    capabilities: Capability[];
  }[];
  irqs: { index: number; flags: number; count: number }[];
}

interface Baseline extends Numbers {
  name: string;
  major: number;
  minor: number;
  num_regions: number;
  num_irqs: number;
}

const program = new URL('build-baseline/info', root).pathname;

function baseline({ bus, address }: TestDevice): Baseline {
  const sysfsPath = `/sys/bus/${bus}/devices/${address}`;
  return JSON.parse(execFileSync(program, [sysfsPath], { encoding: 'utf8' })) as Baseline;
}

// The names and numbers of linux/vfio.h, written once more here: a test that borrowed the library's
// tables would agree with their mistakes.
const deviceFlags = { reset: 1, pci: 2, platform: 4, amba: 8, ccw: 16, ap: 32, caps: 128 };
const regionFlags = { read: 1, write: 2, mmap: 4, caps: 8 };
const irqFlags = { eventfd: 1, maskable: 2, automasked: 4, noresize: 8 };
const capabilityIds = { 'pci-atomic-comp': 5, 'sparse-mmap': 1, type: 2, 'msix-mappable': 3 };

function bits(flags: string[], table: Record<string, number>): number {
  return flags.reduce((sum, flag) => sum | (table[flag] ?? NaN), 0);
}

function numbersOf(info: DeviceInfo): Numbers {
  return {
    flags: bits(info.flags, deviceFlags),
    capabilities: info.capabilities.map(capabilityOf),
    regions: info.regions.map((region) => ({
      index: region.index,
      flags: bits(region.flags, regionFlags),
      size: String(region.size),
      offset: String(region.offset),
      capabilities: region.capabilities.map(capabilityOf),
    })),
    irqs: info.irqs.map(({ index, flags, count }) => ({
      index,
      flags: bits(flags, irqFlags),
      count,
    })),
  };
}

function capabilityOf(capability: DeviceCapability | RegionCapability): Capability {
  if (capability.kind !== 'unknown') return { id: capabilityIds[capability.kind], version: 1 };
  return { id: capability.id, version: capability.version };
}

function compare(device: VfioDevice, wanted: Baseline): void {
  const { name, major, minor, num_regions, num_irqs, ...numbers } = wanted;
  if (device.backend.kind === 'cdev') {
    assert.deepEqual([device.name, device.major, device.minor], [name, major, minor]);
  }
  assert.deepEqual(numbersOf(device.info), numbers);
  assert.ok(device.info.regions.length <= num_regions && device.info.irqs.length <= num_irqs);
  assert.ok(device.info.regions.length > 0);
}

describe('what the kernel says of a device is what it says to a C program', () => {
  itEach('by VfioDevice.open', async (spec) => {
    const wanted = baseline(spec);
    await using device = await VfioDevice.open(spec);
    compare(device, wanted);
  });

  itEach('by VfioDevice.openSync', async (spec) => {
    const wanted = baseline(spec);
    using device = VfioDevice.openSync(spec);
    compare(device, wanted);
    await Promise.resolve();
  });

  itEach('by openCdev and bind', async (spec) => {
    const wanted = baseline(spec);
    await using cdev = await openCdev(spec);
    await using device = await cdev.bind();
    compare(device, wanted);
  });

  itEach('by openCdevSync and bindSync', async (spec) => {
    const wanted = baseline(spec);
    using cdev = openCdevSync(spec);
    using device = cdev.bindSync();
    compare(device, wanted);
    await Promise.resolve();
  });
});
