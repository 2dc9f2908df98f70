import { styleText } from 'node:util';
import type { PciBar, PciCapability, PciConfig, PciExtendedCapability } from '../index.ts';
import type { PciIds } from './pci_ids.ts';
import { columns, hex } from './text.ts';

/** A decoded configuration space for a person. */
export function configText(
  address: string,
  config: PciConfig,
  ids: PciIds,
  colour: boolean,
): string {
  const bold = (text: string): string =>
    colour ? styleText('bold', text, { validateStream: false }) : text;
  const capabilities = [...config.capabilities, ...config.extendedCapabilities];
  return [
    bold(address) + `  [${id(config.vendor)}:${id(config.device)}]`,
    ...columns(wrapped(headerRows(config, ids))),
    ...capabilities.flatMap((capability) => ['', bold(title(capability)), ...lines(capability)]),
    ...config.problems.map((problem) => `\nincomplete: ${problem}`),
  ].join('\n');
}

function headerRows(config: PciConfig, ids: PciIds): string[][] {
  const { vendor, device } = ids.names(id(config.vendor), id(config.device));
  const { subsystem, bridge, rom } = config;
  const rows: [string, string | null | undefined][] = [
    ['name', [vendor, device].filter((name) => name !== undefined).join(' ')],
    ['class', `${config.class.toString(16).padStart(6, '0')}, revision ${hex(config.revision)}`],
    ['subsystem', subsystem && `${id(subsystem.vendor)}:${id(subsystem.device)}`],
    ['header', `type ${config.headerType}${config.multifunction ? ', multifunction' : ''}`],
    ['buses', bridge && fieldsText(bridge)],
    ['command', fieldsText(config.command)],
    ['status', fieldsText(config.status)],
    ['cache line', `${config.cacheLineSize * 4} bytes, latency timer ${config.latencyTimer}`],
    [
      'interrupt',
      config.interruptPin && `pin ${config.interruptPin}, line ${config.interruptLine}`,
    ],
    ...config.bars.map((bar): [string, string] => [`bar${bar.index}`, barText(bar)]),
    ['rom', rom && `${hex(rom.address)}, ${rom.enabled ? 'enabled' : 'disabled'}`],
  ];
  return rows.flatMap(([name, text]) => (text ? [[`  ${name}`, text]] : []));
}

function barText(bar: PciBar): string {
  if (bar.kind === 'io') return `I/O ports at ${hex(bar.address)}`;
  const kind = bar.prefetchable ? 'prefetchable' : 'not prefetchable';
  return `memory at ${hex(bar.address)}, ${bar.bits} bits, ${kind}`;
}

type Capability = PciCapability | PciExtendedCapability;

function title({ offset, id: number, name, ...rest }: Capability): string {
  const version = 'version' in rest ? ` version ${rest.version}` : '';
  return `[${offset.toString(16)}] ${name ?? 'capability'} (${hex(number)})${version}`;
}

/** What every capability has, and is in its title. */
const inTitle = new Set(['id', 'name', 'offset', 'bytes', 'version', 'kind']);

/** Every register of a capability, under the name that it has in the API. */
function lines(capability: Capability): string[] {
  if (capability.kind === 'unknown') return [`  ${bytesText(capability.bytes)}`];
  const all = Object.entries(capability) as [string, Value][];
  const registers = all.filter(([name]) => !inTitle.has(name));
  return columns(wrapped(registers.map(([name, value]) => [`  ${words(name)}`, valueText(value)])));
}

/** Long lists of flags on several lines, below one another. */
function wrapped(rows: string[][]): string[][] {
  return rows.flatMap(([name = '', text = '']) => {
    const parts = text.match(/\S.{0,79}(?= |$)/g) ?? [''];
    return parts.map((part, at) => [at === 0 ? name : '', part]);
  });
}

/** What a decoded register can be. */
type Value = number | bigint | boolean | string | object | null;

function valueText(value: Value): string {
  if (value === null) return 'none';
  if (value instanceof Uint8Array) return bytesText(value);
  if (Array.isArray(value)) return value.map((word) => hex(word as number)).join(' ');
  if (typeof value === 'object') return fieldsText(value);
  return typeof value === 'bigint' ? hex(value) : String(value);
}

/** `memory+ busMaster- powerState=0` */
function fieldsText(fields: object): string {
  const texts = Object.entries(fields).map(([name, value]: [string, unknown]) => {
    if (typeof value === 'boolean') return `${name}${value ? '+' : '-'}`;
    return `${name}=${name === 'offset' ? hex(value as number) : String(value)}`;
  });
  return texts.join(' ');
}

/** `device control 2` of `deviceControl2`. */
function words(name: string): string {
  return name.replace(/[A-Z]|\d+$/g, (part) => ` ${part.toLowerCase()}`);
}

function bytesText(bytes: Uint8Array): string {
  const most = 32;
  const text = [...bytes.subarray(0, most)].map(byte).join(' ');
  return bytes.length > most ? `${text} … (${bytes.length} bytes)` : text;
}

/** The bytes as `lspci -x` prints them and `lspci -F` reads them. */
export function hexDump(address: string, bytes: Uint8Array): string {
  const rows = Array.from({ length: Math.ceil(bytes.length / 16) }, (_, row) => {
    const part = [...bytes.subarray(row * 16, row * 16 + 16)].map(byte).join(' ');
    return `${(row * 16).toString(16).padStart(2, '0')}: ${part}`;
  });
  return [`${address} `, ...rows].join('\n');
}

function byte(value: number): string {
  return value.toString(16).padStart(2, '0');
}

function id(value: number): string {
  return value.toString(16).padStart(4, '0');
}
