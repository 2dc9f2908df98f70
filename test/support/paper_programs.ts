import * as api from '../../lib/index.ts';
import type { Block } from './papers.ts';

/** The device of every program. */
export const paperDevice = '0000:3b:00.0';

/**
 * What a part of a program is given when it names it and does not make it itself, in this order.
 * What has no value is for its types alone.
 */
const given: Record<string, { code: string; needs?: readonly string[] }> = {
  host: {
    code: `using host = FakeHost.install({ dirtyTracking: true });
host.addDevice({ address: '${paperDevice}', msix: 4, bars: { bar0: { size: 0x20000 } } });`,
  },
  address: { code: `const address = '${paperDevice}';` },
  // What waits for events ends with its reason, as it should.
  signal: {
    code: `const signal = AbortSignal.timeout(3_000);
process.once('uncaughtException', (error) => {
  if (error !== signal.reason) throw error;
});`,
  },
  iommufd: { code: 'await using iommufd = Iommufd.open();' },
  ioas: { code: 'const ioas = iommufd.createIoas();', needs: ['iommufd'] },
  space: { code: 'const space = iommufd.createIoas();', needs: ['iommufd'] },
  second: { code: 'const second = iommufd.createIoas();', needs: ['iommufd'] },
  device: {
    code: `await using device = await VfioDevice.open('${paperDevice}', { iommufd });`,
    needs: ['iommufd'],
  },
  cdev: { code: `await using cdev = await openCdev('${paperDevice}');` },
  bar: { code: `const bar = device.region('bar0').map();`, needs: ['device'] },
  bytes: { code: 'const bytes = 65536;' },
  entries: { code: 'const entries = 64;' },
  memory: { code: 'await using memory = await DmaBuffer.allocate(65536);' },
  buffer: { code: 'await using buffer = await DmaBuffer.allocate(65536);' },
  mapping: { code: 'await using mapping = await ioas.map(memory);', needs: ['ioas', 'memory'] },
  // Of an e1000e, the tails of its two rings, which are off.
  tailDoorbell: { code: 'const tailDoorbell = 0x3818;' },
  headDoorbell: { code: 'const headDoorbell = 0x2818;' },
  tail: { code: 'const tail = 0;' },
  head: { code: 'let head = 0;' },
  mask: { code: 'const mask = 0x1;' },
  offset: { code: 'const offset = 0;' },
  take: { code: 'const take = (_entry: number): void => undefined;' },
  promise: { code: 'const promise = Promise.resolve();' },
  tellSomebody: { code: 'const tellSomebody = (_fd: number): void => undefined;' },
  copy: { code: 'const copy = (_page: unknown): void => undefined;' },
  iova: { code: 'const iova = mapping.iova;', needs: ['mapping'] },
  length: { code: 'const length = BigInt(memory.size);', needs: ['memory'] },
  parent: { code: `declare const parent: import('vfio').Hwpt;` },
  inject: { code: 'declare const inject: (event: Uint8Array) => void;' },
  pgtblAddr: { code: 'declare const pgtblAddr: bigint;' },
  addr: { code: 'declare const addr: bigint;' },
  npages: { code: 'declare const npages: bigint;' },
  ste: { code: 'declare const ste: [bigint, bigint];' },
  channel: { code: `declare const channel: import('vfio').FdChannel;` },
  devId: { code: 'declare const devId: number;' },
  machine: { code: 'declare const machine: string[];' },
  vm: { code: 'declare const vm: number;' },
};

const importedFrom: Record<string, string> = {
  spawn: 'node:child_process',
  once: 'node:events',
  FakeHost: 'vfio/testing',
};

/**
 * The whole program of a block: with the imports and the objects that it takes for granted. One that
 * imports the package is whole as it is.
 */
export function programOf({ code, note }: Block): string {
  if (/^import .* from 'vfio'/m.test(code)) return code;
  const declared = declaredIn(code);
  const wanted = new Set(note?.kind === 'fake' ? ['host'] : []);
  const want = (name: string): void => {
    if (wanted.has(name) || declared.has(name) || !Object.hasOwn(given, name)) return;
    wanted.add(name);
    for (const other of given[name]?.needs ?? []) want(other);
  };
  for (const name of namesIn(code)) want(name);
  const before = Object.entries(given)
    .filter(([name]) => wanted.has(name))
    .map(([, { code: line }]) => line);
  const all = [...before, code].join('\n');
  const names = [...namesIn(all)].filter((name) => !declared.has(name));
  const ours = names.filter((name) => Object.hasOwn(api, name));
  const imports = ours.length > 0 ? [`import { ${ours.join(', ')} } from 'vfio';`] : [];
  for (const name of names) {
    const from = Object.hasOwn(importedFrom, name) ? importedFrom[name] : undefined;
    if (from !== undefined) imports.push(`import { ${name} } from '${from}';`);
  }
  return [...imports, all].join('\n');
}

/** Whether it needs no lab: it makes its own machine, or is given one. */
export function runsOverFake(program: string): boolean {
  return program.includes(`from 'vfio/testing'`);
}

/** What is left out when a program runs, as types are: such a program can only be compiled. */
export function isForTypesOnly(program: string): boolean {
  return /^declare const /m.test(program);
}

const commentOrString = /\/\/.*$|\/\*[^]*?\*\/|'(?:[^'\\\n]|\\.)*'/gm;

/** The names in an expression's place: neither members, nor keys, nor words in text. */
function namesIn(code: string): Set<string> {
  const bare = code.replaceAll(commentOrString, `''`);
  const keyless = bare.replaceAll(/([{,]\s*)[\w$]+(\s*:)/g, '$1$2');
  return new Set(
    [...keyless.matchAll(/(?<!(?<!\.\.)\.|[\w$])[A-Za-z_$][\w$]*/g)].map(([name]) => name),
  );
}

function declaredIn(code: string): Set<string> {
  const patterns = [
    ...code.matchAll(/\b(?:const|let|var|using)\s+([^=;]+?)\s*(?:=|\bof\b)/g),
    ...code.matchAll(/\b(?:function|class)\s+(\w+)/g),
    ...code.matchAll(/\bimport\s+([^;]+?)\s+from\b/g),
  ];
  return new Set(patterns.flatMap(([, pattern = '']) => pattern.match(/[\w$]+/g) ?? []));
}
