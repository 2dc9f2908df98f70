import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The addons of a package that can be published, and the machine that each is for: `e_machine` in
 * its ELF header.
 */
export const binaries = [
  { path: 'prebuilds/linux-x64/vfio.glibc.node', machine: 62, name: 'x86-64' },
  { path: 'prebuilds/linux-arm64/vfio.glibc.node', machine: 183, name: 'AArch64' },
];

/**
 * What the file of our addon has in it: the symbol that Node calls, and the name of a function of
 * no other addon.
 */
const texts = [
  { text: 'napi_register_module_v1', of: 'an addon' },
  { text: 'iommufdProbe', of: 'this addon' },
];

/** What is wrong with the binaries of an unpacked package; nothing, if it can be published. */
export function problemsOfBinaries(folder) {
  return binaries.flatMap(({ path, machine, name }) => {
    const file = join(folder, path);
    const stats = lstatSync(file, { throwIfNoEntry: false });
    if (stats === undefined) return [`${path} is missing`];
    if (!stats.isFile()) return [`${path} is no regular file`];
    const bytes = readFileSync(file);
    if (!isSharedObjectFor(machine, bytes)) {
      return [`${path} is no 64-bit ELF shared object for ${name}`];
    }
    return problemsOfSharedObject(bytes).map((problem) => `${path} ${problem}`);
  });
}

function isSharedObjectFor(machine, bytes) {
  if (bytes.length < 64 || bytes.toString('latin1', 0, 4) !== '\x7fELF') return false;
  const [is64bit, isLittleEndian] = [bytes[4] === 2, bytes[5] === 1];
  const isShared = bytes.readUInt16LE(16) === 3;
  return is64bit && isLittleEndian && isShared && bytes.readUInt16LE(18) === machine;
}

function problemsOfSharedObject(bytes) {
  const end = endOfSectionHeaders(bytes);
  if (bytes.length !== end) {
    return [
      `is ${bytes.length} bytes long, and its table of sections, the last part, ends at ${end}`,
    ];
  }
  return texts
    .filter(({ text }) => !bytes.includes(text))
    .map(({ text, of }) => `lacks ${text}, which the file of ${of} has`);
}

/**
 * Linkers and strip put this table last: e_shoff + e_shentsize * e_shnum is the length of a whole
 * file.
 */
function endOfSectionHeaders(bytes) {
  const [offset, size, count] = [
    Number(bytes.readBigUInt64LE(40)),
    bytes.readUInt16LE(58),
    bytes.readUInt16LE(60),
  ];
  return offset + size * count;
}
