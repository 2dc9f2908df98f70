import { readFileSync } from 'node:fs';

/** What a header of the kernel's defines for programs to use. */
export interface UapiName {
  name: string;
  kind: 'ioctl' | 'value';
}

/** What says nothing to the kernel: guards, types and bases of numbers, helpers for C. */
const isScaffolding = (name: string): boolean =>
  /^_|_H$|^(?:VFIO|IOMMUFD)_(?:TYPE|BASE)$|_STRING$|^IOMMUFD_CMD_/.test(name);

/**
 * Every ioctl, flag, feature, capability, option and index that a header defines: its macros with a
 * value, and the members of its enums.
 */
export function uapiNames(file: string): UapiName[] {
  const text = withoutComments(readFileSync(file, 'utf8')).replaceAll(/\\\n\s*/g, ' ');
  const macros = [...text.matchAll(/^#define[ \t]+(\w+)[ \t]+(\S.*)$/gm)].map(
    ([, name = '', value = '']): UapiName => ({
      name,
      kind: /^_IO[RW]*\(/.test(value) ? 'ioctl' : 'value',
    }),
  );
  const members = [...text.matchAll(/^enum(?: \w+)? \{([^}]*)\}/gm)].flatMap(([, body = '']) =>
    [...body.matchAll(/^\s*(\w+)\s*(?:=[^,]*)?,?\s*$/gm)].map(([, name = '']): UapiName => ({
      name,
      kind: 'value',
    })),
  );
  const all = [...macros, ...members].filter(({ name }) => !isScaffolding(name));
  return [...new Map(all.map((each) => [each.name, each])).values()];
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[^]*?\*\//g, '');
}
