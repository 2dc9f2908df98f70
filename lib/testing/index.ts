/**
 * A fake kernel side for programs' tests: devices that are written in JavaScript, and a machine that
 * has them. Nothing of it needs hardware, rights or a driver.
 *
 * @module vfio/testing
 */
// The package's own, so that what programs import of `vfio` and this are the same modules.
import '../index.ts';

export type { ErrnoName } from '../core/errors.ts';
export type { FakeBar } from './bar.ts';
export type { AccessWidth, FakeBarOptions } from './bar_options.ts';
export type { FakeCapability, FakeExtendedCapability } from './config_space.ts';
export { DmaFault, type DmaFaultReason } from './dma.ts';
export type { BarName, FakeDeviceOptions, FakeReset } from './device_options.ts';
export type { FakeDevice } from './fake_device.ts';
export { FakeHost, type FakeHostOptions } from './fake_host.ts';
export type { FakeCall, Injection, InjectOptions } from './injections.ts';
export type { FakeIrq } from './irq_lines.ts';
