import { outOfRange, requireBytes } from '../core/arguments.ts';
import { decodeCapability, type PciCapability } from './capabilities.ts';
import { decodeExtended, type PciExtendedCapability } from './extended.ts';
import { decodeHeader, headerSize, type PciHeader } from './header.ts';
import { conventionalSize, extendedChain, standardChain } from './walk.ts';

/** A function's configuration space, decoded. */
export interface PciConfig extends PciHeader {
  /** In the order of the chain. */
  capabilities: PciCapability[];
  /** Those of PCI Express, from 0x100 on, in the order of their chain. */
  extendedCapabilities: PciExtendedCapability[];
  /**
   * What is wrong with the bytes, in words: a device that does not answer, bytes that were not
   * read, chains that leave them or meet themselves. Where it is not empty, capabilities may be
   * missing above.
   */
  problems: string[];
}

/**
 * Decodes a configuration space: that of an open device, or a `config` file of sysfs, of which only
 * root reads more than the first 64 bytes. A pure function: it opens nothing. Bytes that make no
 * sense are no error: what can be decoded is, the rest is named in `problems`, and so is what was
 * not read. Of all ones, as a device that is gone or asleep reads, `responds` is false.
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
  const header = decodeHeader(bytes);
  if (!header.responds) {
    return { ...header, capabilities: [], extendedCapabilities: [], problems: [noAnswer] };
  }
  const standard = standardChain(bytes);
  const extended = extendedChain(bytes);
  const capabilities = standard.capabilities.map((placed) => decodeCapability(bytes, placed));
  const problems = [standard.problem, extended.problem ?? unreadExtended(bytes, capabilities)];
  return {
    ...header,
    capabilities,
    extendedCapabilities: extended.capabilities.map((placed) => decodeExtended(bytes, placed)),
    problems: problems.filter((problem) => problem !== undefined),
  };
}

const noAnswer = 'the device does not answer, all reads as ones: it is gone, or asleep';

/** PCI Express has the extended space, though not every kernel and reader reaches it. */
function unreadExtended(bytes: Uint8Array, capabilities: PciCapability[]): string | undefined {
  const isExpress = capabilities.some(({ id }) => id === EXPRESS);
  if (!isExpress || bytes.length >= conventionalSize + 4) return undefined;
  return `extended capabilities are not known: the first ${bytes.length} bytes were read, of 4096`;
}

const EXPRESS = 0x10;
