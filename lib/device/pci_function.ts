import { invalidType, invalidValue } from '../core/arguments.ts';
import { VfioError, type VfioErrorCode } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { run, runSync, type Steps } from '../core/steps.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import type { DeviceInfo } from '../info/decode.ts';
import { powerControlFields } from '../pci/capabilities.ts';
import { decodePciConfig, type PciConfig } from '../pci/config.ts';
import { decodeFields } from '../pci/fields.ts';
import { commandFields, responds } from '../pci/header.ts';
import type { PciCommand } from '../pci/register_values.ts';
import { standardChain } from '../pci/walk.ts';
import { noAnswerError } from '../region/access_errors.ts';
import { findRegion } from '../region/find.ts';
import type { RegionOwner } from '../region/owner.ts';
import { Region } from '../region/region.ts';
import { placeOf, type RegionPlace, writeBytes } from '../region/transfer.ts';

/** States that a device can be put into; D3cold takes its power away and is the platform's. */
export type PciPowerState = 'D0' | 'D1' | 'D2' | 'D3hot';

const powerStates: readonly PciPowerState[] = ['D0', 'D1', 'D2', 'D3hot'];

const COMMAND = 4;
const MEMORY = 1 << 1;
const BUS_MASTER = 1 << 2;

const PM = 1;
/** PMCSR, counted from the capability; writing 1 to its highest bit would clear a status. */
const PM_CONTROL = 4;
const PM_STATE = 3;
const PM_STATUS = 1 << 15;

/** A device's PCI side: its configuration space, as the kernel shows it to the device's user. */
export class PciFunction {
  readonly #config: Region;
  readonly #place: RegionPlace;

  static {
    defineInspect(this, 'PciFunction', (pci) => {
      const { location, fd } = pci.#place.owner;
      return { address: location.device.address, state: fd.closed ? 'closed' : 'open' };
    });
  }

  private constructor(config: Region, place: RegionPlace) {
    makeUncloneable(this);
    this.#config = config;
    this.#place = place;
  }

  /** @internal */
  static of(owner: RegionOwner, info: DeviceInfo): PciFunction {
    const region = findRegion(info, 'config', owner.location.device);
    return new PciFunction(Region.of(owner, region), placeOf(owner, region));
  }

  /**
   * Reads the whole configuration space: 256 bytes, or 4,096 of PCI Express.
   *
   * @throws VfioError as {@link Region.read}
   */
  readBytes(): Uint8Array {
    return this.#config.read(0, this.#config.size);
  }

  /**
   * Reads and decodes the configuration space. The kernel virtualizes a part of it: base addresses
   * are the user's own, some capabilities are hidden or read-only.
   *
   * @throws VfioError as {@link Region.read}
   */
  readConfig(): PciConfig {
    return decodePciConfig(this.readBytes());
  }

  /**
   * Reads the command register.
   *
   * @throws VfioError `EIO` where the device does not answer; as {@link Region.read}
   */
  command(): PciCommand {
    return decodeFields(this.#read16(COMMAND), commandFields);
  }

  /**
   * Switches bus mastering, without which the device makes no DMA and sends no MSI, and says
   * nothing. It is off after a device was opened or reset.
   *
   * @param on - whether it is on from now on
   * @throws TypeError for what is no boolean
   * @throws VfioError `ERR_VFIO_NOT_TAKEN` where the device ignores it, `EIO` where it does not
   *   answer; as {@link Region.write}
   */
  setBusMaster(on: boolean): void {
    this.#setCommand(BUS_MASTER, 'bus mastering', on);
  }

  /**
   * Switches memory decoding. While it is off, reading and writing the device's memory is `EIO`, by
   * regions and in mappings, and other devices do not reach it; where they did, they do when it is
   * on again.
   *
   * @param on - whether it is on from now on
   * @throws as {@link setBusMaster}; what {@link PeerMapping.remap} throws
   */
  setMemory(on: boolean): void {
    this.#setCommand(MEMORY, 'memory decoding', on);
    const { peers } = this.#place.owner;
    if (on) runSync(peers.unblock('decoding'));
    else peers.block('decoding');
  }

  /**
   * Reads the power state.
   *
   * @throws VfioError `ERR_VFIO_NO_CAPABILITY` for a device without power management; `EIO` where
   *   it does not answer
   */
  powerState(): PciPowerState {
    const control = this.#read16(this.#powerControl());
    const { powerState } = decodeFields(control, powerControlFields);
    return powerStates[powerState] ?? 'D0';
  }

  /**
   * Puts the device into a power state. In D3hot its memory does not answer (`EIO`), not to other
   * devices either; leaving it may take 10 ms and more, and reset the device. The kernel saves and
   * restores the configuration space.
   *
   * @throws TypeError for what is no power state
   * @throws VfioError `ERR_VFIO_NO_CAPABILITY`, `ERR_VFIO_NOT_TAKEN` where the device has no such
   *   state; what {@link PeerMapping.remap} throws
   */
  setPowerState(state: PciPowerState): Promise<void> {
    return run(this.#setPowerState(state));
  }

  /** The blocking form of {@link setPowerState}. */
  setPowerStateSync(state: PciPowerState): void {
    runSync(this.#setPowerState(state));
  }

  *#setPowerState(state: PciPowerState): Steps<void> {
    const { offset, bytes } = this.#powerWrite(state);
    yield* writeBytes(this.#place, offset, bytes);
    this.#checkPowerState(state);
    const { peers } = this.#place.owner;
    if (state === 'D3hot') peers.block('power');
    else yield* peers.unblock('power');
  }

  #setCommand(bit: number, what: string, on: unknown): void {
    if (typeof on !== 'boolean') throw invalidType('on', 'a boolean', on);
    const before = this.#read16(COMMAND);
    this.#config.write16(COMMAND, on ? before | bit : before & ~bit);
    const isOn = (this.#read16(COMMAND) & bit) !== 0;
    if (isOn !== on) throw this.#notTaken(`${what} stays ${isOn ? 'on' : 'off'}`);
  }

  #powerWrite(state: unknown): { offset: number; bytes: Uint8Array } {
    const bits = powerStates.indexOf(state as PciPowerState);
    if (bits < 0) throw invalidValue('state', `one of ${powerStates.join(', ')}`, state);
    const offset = this.#powerControl();
    const kept = this.#read16(offset) & ~(PM_STATE | PM_STATUS);
    const control = kept | bits;
    return { offset, bytes: Uint8Array.of(control & 0xff, control >> 8) };
  }

  #checkPowerState(wanted: PciPowerState): void {
    const state = this.powerState();
    if (state !== wanted) throw this.#notTaken(`it is in ${state}, not in ${wanted}`);
  }

  /** Where the power management capability has its control register. */
  #powerControl(): number {
    const header = this.#config.read(0, Math.min(this.#config.size, 0x100));
    if (!responds(header)) throw noAnswerError(this.#place.owner.location.device);
    const placed = standardChain(header).capabilities.find(({ id }) => id === PM);
    // One that is cut off has no such register: what stands there is another's.
    if (placed && placed.offset + PM_CONTROL + 2 <= placed.end) return placed.offset + PM_CONTROL;
    throw this.#error('ERR_VFIO_NO_CAPABILITY', 'it has no power management capability');
  }

  /**
   * A register that has bits which are always 0. @throws VfioError `EIO` where all of them are 1
   */
  #read16(offset: number): number {
    const value = this.#config.read16(offset);
    if (value !== 0xffff) return value;
    throw noAnswerError(this.#place.owner.location.device);
  }

  #notTaken(what: string): VfioError {
    return this.#error('ERR_VFIO_NOT_TAKEN', what);
  }

  #error(code: VfioErrorCode, what: string): VfioError {
    const { address } = this.#place.owner.location.device;
    return new VfioError({ code, message: `${address}: ${what}`, device: address });
  }
}
