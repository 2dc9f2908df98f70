import { readFileSync } from 'node:fs';

/** Where distributions keep the list of PCI ids: Debian's place, and Fedora's. */
const places = ['/usr/share/misc/pci.ids', '/usr/share/hwdata/pci.ids'];

/** The names that a device's ids stand for, as far as the list knows them. */
export interface PciNames {
  vendor: string | undefined;
  device: string | undefined;
}

/**
 * A list of PCI ids: a line `vvvv  name` for each vendor, and below it one `<tab>dddd  name` for
 * each of its devices. Of the whole text only what is asked for is looked at.
 */
export class PciIds {
  readonly #text: string;
  readonly #blocks = new Map<string, string | undefined>();

  constructor(text: string) {
    this.#text = `\n${text}`;
  }

  /** The names of `vvvv` and `dddd`, in hexadecimal without `0x`. */
  names(vendor: string, device: string): PciNames {
    const block = this.#vendorBlock(vendor);
    if (block === undefined) return { vendor: undefined, device: undefined };
    return { vendor: firstLine(block), device: entry(block, `\n\t${device}  `) };
  }

  /** From a vendor's name to the next line that is neither a comment nor one of its devices. */
  #vendorBlock(vendor: string): string | undefined {
    if (!this.#blocks.has(vendor)) this.#blocks.set(vendor, this.#findVendor(`\n${vendor}  `));
    return this.#blocks.get(vendor);
  }

  #findVendor(start: string): string | undefined {
    const at = this.#text.indexOf(start);
    if (at < 0) return undefined;
    const end = /\n[^\t#\n]/g;
    end.lastIndex = at + start.length;
    return this.#text.slice(at + start.length, end.exec(this.#text)?.index);
  }
}

/** The system's list, an empty one where there is none. */
export function systemPciIds(files: readonly string[] = places): PciIds {
  for (const file of files) {
    try {
      return new PciIds(readFileSync(file, 'utf8'));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return new PciIds('');
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function entry(block: string, start: string): string | undefined {
  const at = block.indexOf(start);
  return at < 0 ? undefined : firstLine(block.slice(at + start.length));
}

function firstLine(text: string): string {
  const end = text.indexOf('\n');
  return (end < 0 ? text : text.slice(0, end)).trim();
}
