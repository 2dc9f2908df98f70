import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The addons of a package that can be published, and the machine that each is for: `e_machine` in its ELF header. */
export const binaries = [
  { path: 'prebuilds/linux-x64/vfio.glibc.node', machine: 62, name: 'x86-64' },
  { path: 'prebuilds/linux-arm64/vfio.glibc.node', machine: 183, name: 'AArch64' },
];

/** What is wrong with the binaries of an unpacked package; nothing, if it can be published. */
export function problemsOfBinaries(folder) {
  return binaries.flatMap(({ path, machine, name }) => {
    const file = join(folder, path);
    if (!existsSync(file)) return [`${path} is missing`];
    if (!isSharedObjectFor(machine, readFileSync(file))) {
      return [`${path} is no 64-bit ELF shared object for ${name}`];
    }
    return [];
  });
}

function isSharedObjectFor(machine, bytes) {
  if (bytes.length < 64 || bytes.toString('latin1', 0, 4) !== '\x7fELF') return false;
  const [is64bit, isLittleEndian] = [bytes[4] === 2, bytes[5] === 1];
  const isShared = bytes.readUInt16LE(16) === 3;
  return is64bit && isLittleEndian && isShared && bytes.readUInt16LE(18) === machine;
}
