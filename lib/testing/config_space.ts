import type { FakeBarOptions } from './bar_options.ts';
import { BarRegisters } from './bar_registers.ts';

/** A capability of the configuration space. */
export interface FakeCapability {
  /** The capability's number. */
  id: number;
  /** What follows its header, which has two bytes; of an extended capability four. */
  body: Uint8Array;
}

/** An extended capability, at 0x100 and above: what follows the four bytes of its header. */
export interface FakeExtendedCapability extends FakeCapability {
  /** 1 by default. */
  version?: number | undefined;
}

/** Where the table of MSI-X is, and behind it the pending bits. */
export interface TablePlace {
  bar: number;
  /** A multiple of 8. */
  offset: number;
}

/** What the configuration space is made of. */
export interface ConfigParts {
  vendor: number;
  device: number;
  classCode: number;
  revision: number;
  subsystemVendor: number;
  subsystemDevice: number;
  bars: ReadonlyMap<number, FakeBarOptions>;
  intx: boolean;
  msi: number;
  msix: number;
  msixTable: TablePlace;
  reset: boolean;
  express: boolean;
  power: boolean;
  capabilities: readonly FakeCapability[];
  extendedCapabilities: readonly FakeExtendedCapability[];
}

const COMMAND = 0x04;
const STATUS = 0x06;
const FIRST_BAR = 0x10;
const AFTER_BARS = 0x28;
const CAPABILITIES = 0x34;
const FIRST_EXTENDED = 0x100;

/** Bits of the Command register. */
export const command = { io: 1, memory: 2, busMaster: 4, intxDisable: 0x400 } as const;
/** I/O, memory, bus master, parity, SERR, INTx disable. */
const writableCommand = 0x0547;
/** PCI_EXP_DEVCTL_BCR_FLR */
const startFlr = 0x8000;

const expressId = 0x10;
const powerId = 0x01;

/** The configuration space of a type 0 function, with what vfio-pci lets a program write. */
export class ConfigSpace {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** A bit for each that a program may write. */
  readonly #writable: Uint8Array;
  readonly #bars: BarRegisters;
  readonly #power: number;
  readonly #express: number;
  readonly #onFlr: () => void;

  constructor(parts: ConfigParts, onFlr: () => void) {
    const laid = [...standardOf(parts), ...parts.capabilities];
    const isExpress = laid.some(({ id }) => id === expressId);
    this.#onFlr = onFlr;
    this.#bars = new BarRegisters(parts.bars);
    this.bytes = new Uint8Array(isExpress ? 4096 : 256);
    this.view = new DataView(this.bytes.buffer);
    this.#writable = new Uint8Array(this.bytes.length);
    this.#header(parts);
    const places = this.#layOut(laid);
    this.#power = places.get(powerId) ?? 0;
    this.#express = places.get(expressId) ?? 0;
    this.#layOutExtended(parts.extendedCapabilities);
    this.#allowWrites();
  }

  get command(): number {
    return this.view.getUint16(COMMAND, true);
  }

  set command(value: number) {
    this.view.setUint16(COMMAND, value, true);
  }

  /** 0 is D0, 3 D3hot. */
  get powerState(): number {
    return this.#power === 0 ? 0 : this.view.getUint8(this.#power + 4) & 3;
  }

  /** Whether the device answers at its ports. */
  get answersPorts(): boolean {
    return (this.command & command.io) !== 0 && this.powerState !== 3;
  }

  /** Whether the device answers at its memory. */
  get answersMemory(): boolean {
    return (this.command & command.memory) !== 0 && this.powerState !== 3;
  }

  setIntxStatus(asserted: boolean): void {
    const status = this.view.getUint8(STATUS);
    this.view.setUint8(STATUS, asserted ? status | 8 : status & ~8);
  }

  /** As pci_enable_device has it: memory and ports are decoded, and bus mastering is off. */
  open(): void {
    this.command = (this.command | command.io | command.memory) & ~command.busMaster;
    this.#bars.reopen();
  }

  /** A read by a program. */
  read(offset: number, target: Uint8Array): void {
    for (let at = 0; at < target.length; at++) {
      const place = offset + at;
      target[at] = isOfBar(place) ? this.#bars.read(place - FIRST_BAR) : (this.bytes[place] ?? 0);
    }
  }

  /** A write by a program: what may not be written keeps its value. */
  write(offset: number, values: Uint8Array): void {
    const power = this.powerState;
    for (const [at, value] of values.entries()) {
      if (isOfBar(offset + at)) this.#bars.write(offset + at - FIRST_BAR, value);
      const mask = this.#writable[offset + at] ?? 0;
      const before = this.bytes[offset + at] ?? 0;
      this.bytes[offset + at] = (before & ~mask) | (value & mask);
    }
    // D1 and D2 are states that it does not have.
    if (this.powerState === 1 || this.powerState === 2) this.#setPowerState(power);
    this.#startFlr();
  }

  #setPowerState(state: number): void {
    const at = this.#power + 4;
    this.view.setUint8(at, (this.view.getUint8(at) & ~3) | state);
  }

  #startFlr(): void {
    if (this.#express === 0) return;
    const at = this.#express + 8;
    const control = this.view.getUint16(at, true);
    if ((control & startFlr) === 0) return;
    this.view.setUint16(at, control & ~startFlr, true);
    this.#onFlr();
  }

  #header({ intx, ...parts }: ConfigParts): void {
    const { view } = this;
    view.setUint16(0, parts.vendor, true);
    view.setUint16(2, parts.device, true);
    view.setUint32(8, ((parts.classCode << 8) | parts.revision) >>> 0, true);
    view.setUint16(0x2c, parts.subsystemVendor, true);
    view.setUint16(0x2e, parts.subsystemDevice, true);
    view.setUint8(0x3d, intx ? 1 : 0);
    this.bytes.set(this.#bars.hostBytes, FIRST_BAR);
  }

  #layOut(capabilities: readonly FakeCapability[]): Map<number, number> {
    const places = new Map<number, number>();
    let at = 0x40;
    let link = CAPABILITIES;
    for (const { id, body } of capabilities) {
      const end = at + 2 + body.length;
      if (end > 0x100) throw new RangeError('the capabilities do not fit the first 256 bytes');
      this.bytes[link] = at;
      this.bytes[at] = id;
      this.bytes.set(body, at + 2);
      if (!places.has(id)) places.set(id, at);
      link = at + 1;
      at = Math.ceil(end / 4) * 4;
    }
    if (capabilities.length > 0) this.view.setUint16(STATUS, 0x10, true);
    return places;
  }

  #layOutExtended(capabilities: readonly FakeExtendedCapability[]): void {
    let at = FIRST_EXTENDED;
    for (const [index, { id, version = 1, body }] of capabilities.entries()) {
      const end = Math.ceil((at + 4 + body.length) / 4) * 4;
      if (end > this.bytes.length) {
        throw new RangeError('extended capabilities need PCI Express, and room up to byte 4096');
      }
      const next = index + 1 < capabilities.length ? end : 0;
      this.view.setUint32(at, (id | (version << 16) | (next << 20)) >>> 0, true);
      this.bytes.set(body, at + 4);
      at = end;
    }
  }

  #allowWrites(): void {
    const writable = new DataView(this.#writable.buffer);
    writable.setUint16(COMMAND, writableCommand, true);
    // Cache line size, latency timer, interrupt line.
    writable.setUint8(0x0c, 0xff);
    writable.setUint8(0x0d, 0xff);
    writable.setUint8(0x3c, 0xff);
    if (this.#power !== 0) writable.setUint8(this.#power + 4, 3);
    if (this.#express !== 0) writable.setUint16(this.#express + 8, 0xffff, true);
  }
}

function isOfBar(place: number): boolean {
  return place >= FIRST_BAR && place < AFTER_BARS;
}

/** What devices of such a kind have: power management, then PCI Express, MSI and MSI-X. */
function standardOf(parts: ConfigParts): FakeCapability[] {
  const { msi, msix, msixTable, reset, capabilities } = parts;
  const given = new Set(capabilities.map(({ id }) => id));
  const all = [
    ...(parts.power ? [power()] : []),
    ...(parts.express ? [express(reset)] : []),
    ...(msi > 0 ? [msiOf(msi)] : []),
  ];
  return [...all, ...(msix > 0 ? [msixOf(msix, msixTable)] : [])].filter(
    ({ id }) => !given.has(id),
  );
}

function power(): FakeCapability {
  // Version 3; state is kept from D3hot to D0.
  return { id: powerId, body: Uint8Array.of(3, 0, 8, 0, 0, 0) };
}

function express(reset: boolean): FakeCapability {
  const body = new Uint8Array(58);
  const view = new DataView(body.buffer);
  view.setUint16(0, 2, true);
  // Function-level reset; what else a PCI Express function says, in part.
  view.setUint32(2, reset ? 0x1000_8000 : 0x8000, true);
  view.setUint32(10, 0x11, true);
  view.setUint16(16, 0x11, true);
  return { id: expressId, body };
}

function msiOf(vectors: number): FakeCapability {
  const body = new Uint8Array(12);
  new DataView(body.buffer).setUint16(0, 0x80 | (Math.log2(vectors) << 1), true);
  return { id: 5, body };
}

function msixOf(vectors: number, { bar, offset }: TablePlace): FakeCapability {
  const body = new Uint8Array(10);
  const view = new DataView(body.buffer);
  view.setUint16(0, vectors - 1, true);
  view.setUint32(2, offset | bar, true);
  view.setUint32(6, (offset + tableBytes(vectors)) | bar, true);
  return { id: 0x11, body };
}

/** Bytes of a table of so many vectors. */
export function tableBytes(vectors: number): number {
  return vectors * 16;
}

/** And with the pending bits behind it. */
export function tableAndPendingBytes(vectors: number): number {
  return tableBytes(vectors) + Math.ceil(vectors / 64) * 8;
}
