import {
  describeDevice,
  findCdev,
  VfioDevice,
  VfioError,
  type CdevLocation,
  type DeviceInfo,
} from '../index.ts';
import { exitStatus, type Command, type Invocation } from './command.ts';
import { infoJson } from './info_json.ts';
import type { InfoReport } from './info_report.ts';
import { infoText } from './info_text.ts';

export const info: Command = {
  name: 'info',
  summary: 'Open a device and print what the kernel says of it',
  positionals: ['device'],
  options: {
    json: { type: 'boolean', description: 'Print JSON; 64-bit values are hex strings' },
    'no-open': { type: 'boolean', description: 'Do not open the device; print what sysfs says' },
  },
  details: `<device> is a PCI address (0000:3b:00.0 or 3b:00.0), the UUID of an mdev, a path in sysfs, or a
node such as /dev/vfio/devices/vfio0. It must be bound to a VFIO driver such as vfio-pci.

Opening a device resets it where it can be reset, and closing it does so again. With --no-open
nothing is touched. Where another program holds the device, what sysfs says is printed and the exit
status is 3.`,
  run: printInfo,
};

async function printInfo({ positionals, flags, out }: Invocation): Promise<number> {
  const [spec = ''] = positionals;
  const device = describeDevice(spec);
  const { cdev, reason } = flags['no-open'] ? tryFindCdev(spec) : { cdev: findCdev(spec) };
  const report: InfoReport = { device, cdev: cdev ?? null, info: null };
  let status: number = exitStatus.ok;
  if (reason) out.note(`vfio info: ${reason.message}`);
  if (!flags['no-open']) {
    try {
      report.info = await readInfo(spec);
    } catch (error) {
      if (!isHeld(error)) throw error;
      out.note(`vfio info: the device is in use (${error.message})`);
      if (error.hint !== undefined) out.note(`hint: ${error.hint}`);
      status = exitStatus.held;
    }
  }
  out.print(flags['json'] ? infoJson(report) : infoText(report, out.colour));
  return status;
}

async function readInfo(spec: string): Promise<DeviceInfo> {
  const device = await VfioDevice.open(spec);
  try {
    return device.info;
  } finally {
    await device.close();
  }
}

/** The cdev, or why there is none; a device that is not there throws in describeDevice before. */
function tryFindCdev(spec: string): { cdev?: CdevLocation; reason?: VfioError } {
  try {
    return { cdev: findCdev(spec) };
  } catch (error) {
    if (error instanceof VfioError) return { reason: error };
    throw error;
  }
}

/** Binding answers EINVAL to the second cdev descriptor, EBUSY where the group is open. */
function isHeld(error: unknown): error is VfioError {
  return (
    error instanceof VfioError &&
    error.request === 'VFIO_DEVICE_BIND_IOMMUFD' &&
    (error.code === 'EINVAL' || error.code === 'EBUSY')
  );
}
