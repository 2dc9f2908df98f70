import { outOfRange, requireBytes } from '../arguments.ts';
import { decodeCapability, type PciCapability } from './capabilities.ts';
import { decodeExtended, type PciExtendedCapability } from './extended.ts';
import { decodeHeader, headerSize, type PciHeader } from './header.ts';
import { extendedChain, standardChain } from './walk.ts';

/** A function's configuration space, decoded. */
export interface PciConfig extends PciHeader {
  capabilities: PciCapability[];
  extendedCapabilities: PciExtendedCapability[];
  /** What is wrong with the bytes, in words: chains that leave them or meet themselves. */
  problems: string[];
}

/**
 * Decodes a configuration space: that of an open device, or a `config` file of sysfs, of which only
 * root reads more than the first 64 bytes. A pure function: it opens nothing. Bytes that make no sense
 * are no error: what can be decoded is, the rest is named in `problems`, and all ones, as a
 * device that is gone reads, are data.
 *
 * @param space - its bytes: at least 64 of the 256, or 4,096, that there are
 * @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE` for fewer than 64 bytes
 */
export function decodePciConfig(space: Uint8Array): PciConfig {
  requireBytes('space', space);
  if (space.length < headerSize) {
    throw outOfRange('space.length', `${headerSize} at least`, space.length);
  }
  // The capabilities get bytes of their own: a part of a Buffer would change with it.
  const bytes = Uint8Array.from(space);
  const standard = standardChain(bytes);
  const extended = extendedChain(bytes);
  return {
    ...decodeHeader(bytes),
    capabilities: standard.capabilities.map((placed) => decodeCapability(bytes, placed)),
    extendedCapabilities: extended.capabilities.map((placed) => decodeExtended(bytes, placed)),
    problems: [standard.problem, extended.problem].filter((problem) => problem !== undefined),
  };
}
