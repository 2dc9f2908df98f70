import {
  checkInteger,
  invalidType,
  invalidValue,
  requireBoolean,
  requireObject,
} from '../core/arguments.ts';
import { asLoaded, type Binding, plainBinding, replaceBinding } from '../core/binding.ts';
import { replaceRoots } from '../locate/roots.ts';
import { AccessCalls } from './access_calls.ts';
import { faked } from './calls.ts';
import { deviceCalls } from './device_calls.ts';
import { type FakeDeviceOptions, partsOf } from './device_options.ts';
import { FakeDevice } from './fake_device.ts';
import { fileCalls } from './file_calls.ts';
import { infoCalls } from './info_calls.ts';
import type { InjectOptions, Injection } from './injections.ts';
import { iommufdCalls } from './iommufd_calls.ts';
import { IrqCalls } from './irq_calls.ts';
import { Machine } from './machine.ts';
import { MachineFolder } from './machine_folder.ts';

/** What the fake machine has. */
export interface FakeHostOptions {
  /** How many bits an IOVA has that its IOMMU translates; 48 by default. */
  iovaBits?: number | undefined;
  /** Whether its IOMMU tells which pages devices wrote; false by default. */
  dirtyTracking?: boolean | undefined;
}

/** @throws TypeError */
function addressOf({ address }: FakeDeviceOptions): string | undefined {
  const expected = 'the whole address of a PCI function, such as 0000:3b:00.0';
  if (address === undefined) return undefined;
  if (typeof address !== 'string') throw invalidType('options.address', expected, address);
  if (wholeAddress.test(address)) return address;
  throw invalidValue('options.address', expected, address);
}

const wholeAddress = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;

let installed: FakeHost | undefined;

/**
 * The hosts whose bindings are in the addon's place, each over the one before: the one that is
 * installed, and below it those of which a program has something open still.
 */
const inPlace: { binding: Binding; isOver: () => boolean; restore: () => void }[] = [];

/** Takes those away of which nothing is needed any more. */
function settle(): void {
  while (inPlace.at(-1)?.isOver()) inPlace.pop()?.restore();
}

/** The major number of cdevs, as on a machine of today. */
const cdevMajor = 511;

/**
 * A machine with devices that are not there: until it is disposed of, all of the package in this
 * thread works with it in the place of the kernel's VFIO and iommufd, and with its sysfs and its
 * nodes where the program names no others. Other threads have the real ones.
 *
 * ```ts
 * using host = FakeHost.install();
 * const nic = host.addDevice({ bars: { bar0: { size: 0x1000 } } });
 * await using device = await VfioDevice.open(nic.address);
 * ```
 */
export class FakeHost {
  readonly #machine: Machine;
  readonly #folder: MachineFolder;
  readonly #restoreRoots: () => void;
  #nextCdev = 0;
  #nextGroup = 1;
  #disposed = false;

  private constructor(options: FakeHostOptions) {
    requireObject('options', options);
    const { iovaBits = 48, dirtyTracking = false } = options;
    checkInteger('options.iovaBits', iovaBits, 33, 64);
    requireBoolean('options.dirtyTracking', dirtyTracking);
    const native = inPlace.at(-1)?.binding ?? plainBinding();
    const limits = {
      lastIova: 2n ** BigInt(iovaBits) - 1n,
      pageSize: 4096n,
      canTrack: dirtyTracking,
      // Where x86 has the messages of interrupts.
      reserved: { start: 0xfee0_0000n, last: 0xfeef_ffffn },
    };
    this.#folder = new MachineFolder();
    this.#machine = new Machine(native, limits, (path) => this.#nodeAt(path));
    this.#machine.onAllClosed = settle;
    const binding = this.#binding();
    this.#restoreRoots = replaceRoots(this.#folder.roots);
    // The trace is of what programs ask of this machine, not of what it asks of the addon.
    const restore = replaceBinding(asLoaded(binding));
    const isOver = (): boolean => this.#disposed && this.#machine.files.areAllClosed;
    inPlace.push({ binding, isOver, restore });
  }

  /**
   * Puts the fake machine in the real one's place.
   *
   * @throws Error where there is one already in this thread; TypeError, RangeError for options
   * @throws VfioError where the package's addon cannot be loaded, which the fake machine needs for
   *   memory and eventfds: it is for Linux, and needs no rights
   */
  static install(options: FakeHostOptions = {}): FakeHost {
    if (installed) {
      const left =
        'a test that has timed out keeps its own until it ends: dispose of it after each test';
      throw new Error(`vfio/testing: there is a fake host already in this thread (${left})`);
    }
    installed = new FakeHost(options);
    return installed;
  }

  /** Where its sysfs is, to be looked at and changed: the `sysfsRoot` of options. */
  get sysfsRoot(): string {
    return this.#folder.roots.sysfsRoot;
  }

  /** Where its nodes are: a node that is removed, or whose mode is changed, is so for programs. */
  get devRoot(): string {
    return this.#folder.roots.devRoot;
  }

  /** Its devices, in the order in which they came. */
  get devices(): FakeDevice[] {
    return [...this.#machine.devices.values()];
  }

  /** The addresses of the devices that programs have open: none at the end of a good test. */
  get openDevices(): string[] {
    return this.devices.filter(({ isOpen }) => isOpen).map(({ address }) => address);
  }

  /**
   * Adds a device, bound to vfio-pci.
   *
   * @throws TypeError (`ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`), RangeError
   *   (`ERR_OUT_OF_RANGE`) for what no PCI function has; Error where its address is taken. Nothing
   *   is added then.
   */
  addDevice(options: FakeDeviceOptions = {}): FakeDevice {
    this.#requireInstalled();
    const parts = partsOf(options);
    const address = addressOf(options) ?? this.#freeAddress();
    const { native, devices } = this.#machine;
    if (devices.has(address)) throw new Error(`${address} is there already`);
    const minor = this.#nextCdev;
    const cdev = { name: `vfio${minor}`, major: cdevMajor, minor };
    const group = options.group ?? this.#freeGroup();
    const place = { address, group, cdev };
    const device = new FakeDevice(native, options, parts, place, (gone) => {
      this.#remove(gone);
    });
    try {
      this.#folder.add(device);
    } catch (error) {
      device.discard();
      this.#folder.remove(device);
      throw error;
    }
    device.onConfig = () => {
      this.#folder.writeConfig(device);
    };
    this.#nextCdev++;
    devices.set(address, device);
    return device;
  }

  /**
   * Has a system call, or a request, answer something else, or wait: the next one, unless told
   * otherwise.
   *
   * ```ts
   * host.inject({ call: 'VFIO_DEVICE_BIND_IOMMUFD', errno: 'EBUSY' });
   * ```
   *
   * @throws TypeError (`ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`), RangeError
   *   (`ERR_OUT_OF_RANGE`): for a call that there is not, an errno that Linux does not have, an
   *   `until` of a call that cannot wait
   */
  inject(options: InjectOptions): Injection {
    this.#requireInstalled();
    return this.#machine.injections.add(options);
  }

  /**
   * Puts the real machine back, and removes the folder, which is removed when the process ends as
   * well. A device that a program has open still is as one that was unplugged, until the program
   * closes it; the model does not hear of that.
   *
   * @throws Error of `node:fs` where the folder cannot be removed
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#restoreRoots();
    installed = undefined;
    this.#machine.injections.clear();
    for (const device of this.devices) device.dispose();
    this.#folder.dispose();
    settle();
  }

  /** At the end of a block with `using`: {@link dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #binding(): Binding {
    const machine = this.#machine;
    const access = new AccessCalls(machine);
    const irqs = new IrqCalls(machine);
    return {
      ...machine.native,
      ...faked(machine, infoCalls(machine)),
      ...faked(machine, deviceCalls(machine)),
      ...faked(machine, iommufdCalls(machine)),
      ...faked(machine, access.ofDescriptors()),
      ...faked(machine, irqs.ofDescriptors()),
      ...access.others(),
      ...irqs.notices(access),
      ...fileCalls(machine, irqs),
    };
  }

  #nodeAt(path: string): 'iommu' | FakeDevice | undefined {
    if (path === this.#folder.iommu) return 'iommu';
    return this.devices.find((device) => path === this.#folder.nodeOf(device));
  }

  #remove(device: FakeDevice): void {
    if (this.#machine.devices.get(device.address) !== device) return;
    this.#machine.devices.delete(device.address);
    this.#folder.remove(device);
    device.dispose();
  }

  #freeAddress(): string {
    for (let bus = 0x3b; bus <= 0xff; bus++) {
      const address = `0000:${bus.toString(16)}:00.0`;
      if (!this.#machine.devices.has(address)) return address;
    }
    throw new RangeError('there is no address left');
  }

  #freeGroup(): number {
    const taken = new Set(this.devices.map(({ group }) => group));
    while (taken.has(this.#nextGroup)) this.#nextGroup++;
    return this.#nextGroup;
  }

  #requireInstalled(): void {
    if (this.#disposed) throw new Error('vfio/testing: this fake host was disposed of');
  }
}
