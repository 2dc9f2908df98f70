import assert from 'node:assert/strict';
import type { PciConfig } from '../../lib/index.ts';
import { lspci, type LspciCapability } from './lspci.ts';
import { capabilitySections, headerSections, type Section } from './lspci_names.ts';

/**
 * Asserts that lspci and the decoder say the same of some bytes. Returns what was compared, such as
 * `pcie DevCap RBE`: lspci leaves out what makes no sense for a device.
 */
export function compareWithLspci(bytes: Uint8Array, config: PciConfig): Set<string> {
  const report = lspci(bytes);
  const compared = new Set<string>();
  for (const [heading, section] of Object.entries(headerSections)) {
    compareSection(report.header.get(heading), section, config, `header ${heading}`, compared);
  }
  const ours = [...config.capabilities, ...config.extendedCapabilities];
  assert.deepEqual(
    report.capabilities.map(({ offset }) => offset),
    ours.map(({ offset }) => offset),
  );
  for (const [at, theirs] of report.capabilities.entries()) {
    const capability = ours[at];
    if (capability) compareCapability(theirs, capability, compared);
  }
  return compared;
}

function compareCapability(
  theirs: LspciCapability,
  ours: { kind: string },
  compared: Set<string>,
): void {
  const { kind } = ours;
  if (kind === 'unknown') return;
  const names = capabilitySections[kind];
  assert.ok(names, kind);
  assert.match(theirs.title, names.title);
  compared.add(kind);
  for (const [heading, section] of Object.entries(names.sections)) {
    const all = [...theirs.sections].map(([name, text]) => `${name}:${text}`).join(' ');
    const text = heading === '*' ? all : theirs.sections.get(heading);
    compareSection(text, section, ours, `${kind} ${heading}`, compared);
  }
}

function compareSection(
  text: string | undefined,
  { flags = {}, numbers = {} }: Section,
  ours: unknown,
  where: string,
  compared: Set<string>,
): void {
  if (text === undefined) return;
  for (const [flag, path] of Object.entries(flags)) {
    const escaped = flag.replace(/[^\w]/g, '\\$&');
    const sign: string | undefined = new RegExp(`(?:^|[\\s(,])${escaped}([+-])(?![\\w])`).exec(
      text,
    )?.[1];
    if (sign === undefined) continue;
    assert.equal(valueAt(ours, path), sign === '+', `${where}: ${flag} in '${text}'`);
    compared.add(`${where} ${flag}`);
  }
  for (const [path, pattern] of Object.entries(numbers)) {
    const digits: string | undefined = pattern.exec(text)?.[1];
    if (digits === undefined) continue;
    const wanted: number = pattern.source.includes('a-f') ? parseInt(digits, 16) : Number(digits);
    assert.equal(Number(valueAt(ours, path)), wanted, `${where}: ${path} in '${text}'`);
    compared.add(`${where} ${path}`);
  }
}

function valueAt(object: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], object);
}

/** Everything that {@link compareWithLspci} can compare. */
export function comparable(): Set<string> {
  const all = new Set<string>();
  const add = (where: string, { flags = {}, numbers = {} }: Section): void => {
    for (const name of [...Object.keys(flags), ...Object.keys(numbers)])
      all.add(`${where} ${name}`);
  };
  for (const [heading, section] of Object.entries(headerSections))
    add(`header ${heading}`, section);
  for (const [kind, { sections }] of Object.entries(capabilitySections)) {
    all.add(kind);
    for (const [heading, section] of Object.entries(sections)) add(`${kind} ${heading}`, section);
  }
  return all;
}
