import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hexDump } from '../../lib/cli/config.ts';
import { tree } from './tree.ts';

/** Whether Debian's pciutils are there. */
export const hasLspci: boolean = spawnSync('lspci', ['--version']).status === 0;

/** A capability as lspci says it: sections by their heading, `''` for what follows the title. */
export interface LspciCapability {
  offset: number;
  title: string;
  sections: Map<string, string>;
}

/** What lspci says of a device. */
export interface LspciReport {
  /** Lines such as `Control:`, by their heading. */
  header: Map<string, string>;
  capabilities: LspciCapability[];
}

/** What lspci makes of these bytes, which need not be a device's of this machine. */
export function lspci(bytes: Uint8Array): LspciReport {
  const file = join(tree({}), 'dump');
  writeFileSync(file, `${hexDump('00:00.0', bytes)}\n\n`);
  const text = execFileSync('lspci', ['-F', file, '-vv'], {
    encoding: 'utf8',
    // It has no modules of this kernel to look at, and says so.
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return parse(text);
}

function parse(text: string): LspciReport {
  const [header = '', ...rest] = text.split(/^\tCapabilities: /m);
  const capabilities = rest.map((block) => {
    const [, offset = '', title = '', body = ''] =
      /^\[(\w+)[^\]]*\] ([^\n]*)\n?([^]*)$/.exec(block) ?? [];
    return { offset: parseInt(offset, 16), title, sections: sections(`${title}\n${body}`) };
  });
  return { header: sections(header), capabilities };
}

/** Text by its headings at the start of a line; a line without one belongs to the last. */
function sections(text: string): Map<string, string> {
  const found = new Map<string, string>();
  let last = '';
  for (const line of text.split('\n')) {
    const [, heading, said = ''] = /^\s+([A-Z][A-Za-z0-9 ]{1,20}):(?: |\t)(.*)$/.exec(line) ?? [];
    last = heading ?? last;
    found.set(last, `${found.get(last) ?? ''} ${heading === undefined ? line.trim() : said}`);
  }
  return found;
}
