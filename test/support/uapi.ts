import { readFileSync } from 'node:fs';
import { root } from './root.ts';

/** A field, or a number. */
interface Field {
  name: string;
  /** The kernel that brought it, such as 6.17; undefined where every kernel has it. */
  since: string | undefined;
}

/** What a header of native/uapi/ declares. */
export interface Header {
  structs: { name: string; fields: Field[] }[];
  constants: Field[];
}

export function parseHeader(file: string): Header {
  const text = readFileSync(new URL(`native/uapi/${file}`, root), 'utf8');
  const structs = [...text.matchAll(/^struct (\w+) \{\n([^}]*)\};/gm)].map(
    ([, name = '', body = '']) => ({ name, fields: body.split('\n').flatMap(parseField) }),
  );
  const constants = [
    ...text.matchAll(/constexpr [\w ]+ k(\w+) = .*?;(?: +\/\/ since ([\d.]+))?/g),
  ].map(([, name = '', since]) => ({ name, since }));
  return { structs, constants };
}

function parseField(line: string): Field[] {
  const [, name, since] = /^ {2}\w+ (\w+)(?:\[\w+\])?;(?: +\/\/ since ([\d.]+))?/.exec(line) ?? [];
  return name === undefined ? [] : [{ name, since }];
}

/** `vfio_device_info` of VfioDeviceInfo: our names are the kernel's in our spelling. */
const snake = (name: string): string => name.replace(/(?!^)([A-Z])/g, '_$1').toLowerCase();

/**
 * A C++ file that compiles where our definitions are those of `<linux/${file}>` of this kernel.
 * Fields and sizes that the kernel does not have yet are left out.
 */
export function comparison(file: string, kernel: string, kernelHeader: string = file): string {
  const { structs, constants } = parseHeader(file);
  const hasField = ({ since }: Field): boolean => since === undefined || !isOlder(kernel, since);
  const lines = structs.flatMap(({ name, fields }) => {
    const theirs = `::${snake(name)}`;
    const ours = `uapi::${name}`;
    return [
      ...(fields.every(hasField) ? [`static_assert(sizeof(${ours}) == sizeof(${theirs}));`] : []),
      ...fields
        .filter(hasField)
        .flatMap((field) => [
          `static_assert(offsetof(${ours}, ${field.name}) == offsetof(${theirs}, ${field.name}));`,
          `static_assert(sizeof(${ours}::${field.name}) == sizeof(${theirs}::${field.name}));`,
        ]),
    ];
  });
  const numbers = constants
    .filter(hasField)
    .map(({ name }) => `static_assert(uapi::k${name} == ${snake(name).toUpperCase()});`);
  return [
    '#include <cstddef>',
    `#include <linux/${kernelHeader}>`,
    `#include "${file}"`,
    ...lines,
    ...numbers,
    '',
  ].join('\n');
}

function isOlder(kernel: string, than: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map(Number);
  const [thanMajor = 0, thanMinor = 0] = than.split('.').map(Number);
  return major < thanMajor || (major === thanMajor && minor < thanMinor);
}
