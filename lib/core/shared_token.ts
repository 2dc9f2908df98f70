import { addonFile, requirePlatform } from '../addon.ts';
import { invalidType, invalidValue } from './arguments.ts';
import type { Answer } from './binding.ts';
import { fs } from './builtins.ts';
import { check } from './call.ts';
import { ENOENT } from './errno.ts';
import { VfioError } from './errors.ts';
import type { Backend, CdevLocation, GroupLocation } from './location.ts';

/** What the tokens of each kind say. Numbers are those of offers to the threads of one process. */
export interface SharedTokens {
  /** An open iommufd. */
  iommufd: { fd: number; path: string; identity: string };
  /** An address space of an iommufd. */
  ioas: { iommufd: SharedToken<'iommufd'>; id: number; sharedCount: number };
  /** An address space of a container: where it is. */
  'container-space': { fd: number; path: string };
  /** Memory for DMA. */
  'dma-buffer': { memory: number; size: number };
  /** Memory for DMA where it is mapped. */
  'dma-mapping': {
    space: SharedToken<'ioas' | 'container-space'>;
    buffer: SharedToken<'dma-buffer'>;
    owners: number;
    iova: bigint;
    size: number;
    bufferOffset: number;
  };
  /** The address space of a pool, and how its chunks are made. */
  'dma-pool': {
    space: SharedToken<'ioas' | 'container-space'>;
    chunkSize: number;
    hugePages: false | '2M' | '1G' | 'auto';
    populate: boolean;
  };
  /**
   * `interrupt` and `index` say which of the device's vectors, `what` its name in errors; `line`
   * tells when it is over.
   */
  vector: {
    fd: number;
    line: number;
    what: string;
    interrupt: { name: string; index: number };
    index: number;
  };
  /** A part of a device's region that is mapped. */
  region: {
    fd: number;
    location: CdevLocation;
    name: string;
    offset: number;
    size: number;
    high: number;
    low: number;
    readOnlyStart: number;
    readOnlyEnd: number;
  };
  /** A device that was opened by its cdev. */
  device: {
    fd: number;
    devId: number;
    location: CdevLocation;
    sysfsRoot: string;
    devRoot: string;
    iommufd: SharedToken<'iommufd'>;
  };
  /** One that was opened by its group; `container` or `iommufd` is where the group is. */
  'group-device': {
    fd: number;
    location: CdevLocation;
    sysfsRoot: string;
    devRoot: string;
    backend: Backend;
    group: { fd: number; location: GroupLocation };
    groupContainer:
      { container: { fd: number; path: string } } | { iommufd: SharedToken<'iommufd'> };
  };
}

/**
 * Names an open object to another thread of this process: plain data, for `postMessage` or
 * `workerData`. It keeps nothing open. Only `kind` is for reading: the rest says in which process
 * it was offered, and by which copy of the package, whose addon's file is `addon`.
 */
export type SharedToken<Kind extends keyof SharedTokens = keyof SharedTokens> = {
  [Each in Kind]: SharedTokens[Each] & { kind: Each; pid: number; addon: string };
}[Kind];

/** A token of what was offered. */
export function tokenOf<Kind extends keyof SharedTokens>(
  kind: Kind,
  content: SharedTokens[Kind],
): SharedTokens[Kind] & { kind: Kind; pid: number; addon: string } {
  return { kind, pid: process.pid, addon: ownAddon(), ...content };
}

let ownFile: string | undefined;

/**
 * Where it was loaded from; it is not looked for again, since what is there may change. Elsewhere
 * there is none.
 */
function ownAddon(): string {
  requirePlatform();
  ownFile ??= fs.realpathSync(addonFile());
  return ownFile;
}

/**
 * The token's offer that the addon looked up; `what` is 'the iommufd', say. Throws where nobody has
 * the object any more.
 */
export function taken(answer: Answer, what: string): number {
  if (answer !== ENOENT) return check(answer, { syscall: 'fcntl' });
  const message = `${what} that was shared is closed`;
  throw new VfioError({ code: 'ERR_VFIO_CLOSED', message });
}

/**
 * The names of what a token of each kind has, and their types. All numbers are whole and not
 * negative: offers and ids, which have 32 bits, and sizes and places, which may be larger.
 */
const contents: Record<string, Record<string, string>> = {
  iommufd: { fd: 'id', path: 'string', identity: 'string' },
  ioas: { iommufd: 'object', id: 'id', sharedCount: 'id' },
  'container-space': { fd: 'id', path: 'string' },
  'dma-buffer': { memory: 'id', size: 'number' },
  'dma-mapping': {
    space: 'object',
    buffer: 'object',
    owners: 'id',
    iova: 'bigint',
    size: 'number',
    bufferOffset: 'number',
  },
  'dma-pool': { space: 'object', chunkSize: 'number', populate: 'boolean' },
  vector: {
    fd: 'id',
    line: 'id',
    what: 'string',
    interrupt: 'object',
    index: 'id',
  },
  region: {
    fd: 'id',
    location: 'object',
    name: 'string',
    offset: 'number',
    size: 'number',
    high: 'id',
    low: 'id',
    readOnlyStart: 'number',
    readOnlyEnd: 'number',
  },
  device: {
    fd: 'id',
    devId: 'id',
    location: 'object',
    sysfsRoot: 'string',
    devRoot: 'string',
    iommufd: 'object',
  },
  'group-device': {
    fd: 'id',
    location: 'object',
    sysfsRoot: 'string',
    devRoot: 'string',
    backend: 'object',
    group: 'object',
    groupContainer: 'object',
  },
};

/** @throws TypeError for what is no token of this process, or one of another copy of the package */
export function checkToken(token: unknown): asserts token is SharedToken {
  if (!isToken(token)) throw invalidType('token', 'what share() answered in this process', token);
  const { pid, addon } = token as { pid: number; addon?: unknown };
  const own = 'what share() answered in this process';
  const wrong = wrongNumber(token);
  if (wrong !== undefined) throw wrongToken(token, wrong);
  if (pid !== process.pid) throw invalidType('token', `${own}: it is of process ${pid}`, token);
  if (addon === ownAddon()) return;
  const other = typeof addon === 'string' ? `that has the addon ${addon}` : 'of another version';
  throw invalidType('token', `${own} by this copy of the package: it is of one ${other}`, token);
}

/** Which kinds of token those are that stand in others. */
const nested: Record<string, readonly string[]> = {
  iommufd: ['iommufd'],
  space: ['ioas', 'container-space'],
  buffer: ['dma-buffer'],
};

function isToken(token: unknown, of?: readonly string[]): token is SharedToken {
  if (typeof token !== 'object' || token === null) return false;
  const { kind, pid, ...rest } = token as Record<string, unknown>;
  const content = typeof kind === 'string' ? Object.entries(contents[kind] ?? {}) : [];
  if (content.length === 0 || typeof pid !== 'number' || of?.includes(kind as string) === false) {
    return false;
  }
  const right = content.every(([name, type]) => {
    const isRight = typeof rest[name] === (type === 'id' ? 'number' : type);
    return isRight && rest[name] !== null;
  });
  return (
    right &&
    Object.entries(nested).every(([name, of]) => !(name in rest) || isToken(rest[name], of))
  );
}

/** The error of a token that share() did not answer so: somebody changed what `name` says. */
export function wrongToken(token: unknown, name: string): TypeError {
  const expected = `what share() answered, unchanged: its "${name}" cannot be right`;
  return invalidValue('token', expected, token);
}

const mostId = 2 ** 32 - 1;

/** What else stands in a token and has numbers. */
const parts = new Set([...Object.keys(nested), 'group', 'groupContainer', 'container']);

/** The name of a number that no token has, in this one or in what stands in it. */
function wrongNumber(token: object): string | undefined {
  const { kind } = token as { kind?: unknown };
  const types = typeof kind === 'string' ? contents[kind] : undefined;
  for (const [name, value] of Object.entries(token)) {
    const most = types?.[name] === 'id' || name === 'fd' ? mostId : Number.MAX_SAFE_INTEGER;
    if (typeof value === 'number' && !isWhole(value, most)) return name;
    if (typeof value === 'bigint' && BigInt.asUintN(64, value) !== value) return name;
    if (!parts.has(name) || typeof value !== 'object' || value === null) continue;
    const inner = wrongNumber(value as object);
    if (inner !== undefined) return `${name}.${inner}`;
  }
  return undefined;
}

function isWhole(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= most;
}
