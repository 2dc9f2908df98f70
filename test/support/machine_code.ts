import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

export type Kind = 'load' | 'store';

/** What one access of device memory compiles to, by its width in bits: each exactly one line. */
export type Wanted = Record<number, Record<Kind, RegExp>>;

export const wantedOfX64: Wanted = {
  8: {
    load: /^movb? +.*\),%(?:[a-d]l|[sd]il|bpl|r\d+b)$/,
    store: /^movb? +%(?:[a-d]l|[sd]il|bpl|r\d+b),/,
  },
  16: {
    load: /^movw? +.*\),%(?:[a-d]x|[sd]i|bp|r\d+w)$/,
    store: /^movw? +%(?:[a-d]x|[sd]i|bp|r\d+w),/,
  },
  32: { load: /^movl? +.*\),%(?:e\w\w|r\d+d)$/, store: /^movl? +%(?:e\w\w|r\d+d),/ },
  64: { load: /^movq? +.*\),%r(?:\w\w|\d+)$/, store: /^movq? +%r(?:\w\w|\d+),/ },
};

/** Neither write-back, nor a pair, nor a vector's register. */
export const wantedOfArm64: Wanted = {
  8: { load: /^ldrb w\d+, \[x\d+\]$/, store: /^strb (?:w\d+|wzr), \[x\d+\]$/ },
  16: { load: /^ldrh w\d+, \[x\d+\]$/, store: /^strh (?:w\d+|wzr), \[x\d+\]$/ },
  32: { load: /^ldr w\d+, \[x\d+\]$/, store: /^str (?:w\d+|wzr), \[x\d+\]$/ },
  64: { load: /^ldr x\d+, \[x\d+\]$/, store: /^str (?:x\d+|xzr), \[x\d+\]$/ },
};

export interface Compiled {
  name: string;
  /** Its instructions, without addresses and objdump's remarks. */
  code: string[];
  /** The address of each, as branches name it. */
  addresses: string[];
}

/** The functions of an object file or a library, disassembled. */
export function disassemble(objdump: string, file: string): Compiled[] {
  const options = ['--disassemble', '--demangle', '--no-show-raw-insn', '--section=.text'];
  const { status, stdout, stderr } = spawnSync(objdump, [...options, file], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  assert.equal(status, 0, stderr);
  return stdout.split(/\n\n+/).flatMap((text) => {
    const [head = '', ...lines] = text.split('\n');
    const name = /^[0-9a-f]+ <(.*)>:$/.exec(head)?.[1];
    if (name === undefined) return [];
    const addresses = lines.map((line) => /^ *([0-9a-f]+):/.exec(line)?.[1] ?? '');
    return [{ name, code: lines.map(plain), addresses }];
  });
}

function plain(line: string): string {
  return line
    .replace(/^ *[0-9a-f]+:\t/, '')
    .replace(/ *(?:<.*|\/\/.*|# [0-9a-f]+ .*)$/, '')
    .replaceAll('\t', ' ')
    .trim();
}
