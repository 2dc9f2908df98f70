import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { run } from './command.ts';
import { LabError } from './failure.ts';

/** A folder in which apt keeps its lists and sources apart from the host's, as any user. */
export interface Apt {
  /** The names of the packages that match, the highest number last. */
  search(pattern: RegExp): Promise<string[]>;
  depends(name: string): Promise<string[]>;
  /** The package with all that it depends on, as far as `wanted` says. */
  closure(name: string, wanted: (name: string) => boolean): Promise<string[]>;
  /** Downloads the newest version of each package into `folder`. */
  download(names: readonly string[], folder: string): Promise<void>;
}

export interface Source {
  uri: string;
  suite: string;
}

/**
 * The host's own release, with its security updates. The host's lists are not used: they may be
 * absent (container images) or old, and only root could renew them.
 */
export async function hostRelease(folder: string): Promise<Apt> {
  const codename = await hostCodename();
  const suites = [codename, `${codename}-updates`, `${codename}-security`];
  const sources = (await hostSources(folder)).filter(({ suite }) => suites.includes(suite));
  return privateApt(folder, sources);
}

/** Another suite from the same mirror as the host's own release. */
export async function otherSuite(folder: string, suite: string): Promise<Apt> {
  const codename = await hostCodename();
  const own = (await hostSources(folder)).find((source) => source.suite === codename);
  if (!own) throw new LabError(`apt has no source for ${codename}, so none to find ${suite} by`);
  return privateApt(folder, [{ uri: own.uri, suite }]);
}

async function hostCodename(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8');
  const codename = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1];
  if (!codename) throw new LabError('/etc/os-release names no VERSION_CODENAME');
  return codename;
}

/**
 * What the host's sources name, read with a folder of lists that is empty: what apt tells of its
 * sources otherwise leaves out those whose lists were never fetched.
 */
async function hostSources(folder: string): Promise<Source[]> {
  const empty = join(folder, 'no-lists');
  await mkdir(join(empty, 'partial'), { recursive: true });
  const setting = `Dir::State::Lists=${empty}`;
  return sourcesIn(await run('apt-get', ['-o', setting, '--print-uris', 'update']));
}

/** The sources whose indexes apt would fetch, from its `--print-uris`. */
export function sourcesIn(printed: string): Source[] {
  const indexes = printed.matchAll(/^'(.+)\/dists\/(.+)\/InRelease'/gm);
  return [...indexes].map(([, uri = '', suite = '']) => ({ uri, suite }));
}

async function privateApt(folder: string, sources: readonly Source[]): Promise<Apt> {
  const lists = join(folder, 'lists');
  const list = join(folder, 'sources.list');
  await mkdir(join(lists, 'partial'), { recursive: true });
  const lines = sources.map(({ uri, suite }) => `deb ${signedBy()}${uri} ${suite} main`);
  await writeFile(list, lines.join('\n') + '\n');
  const settings = [
    `Dir::Etc::SourceList=${list}`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${lists}`,
    'Dir::Cache::pkgcache=',
    'Dir::Cache::srcpkgcache=',
    'Acquire::Languages=none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
    'APT::Update::Post-Invoke::=',
    'APT::Update::Post-Invoke-Success::=',
    // As root, apt would download as the user _apt, who may not enter a private cache.
    'APT::Sandbox::User=root',
  ].flatMap((setting) => ['-o', setting]);
  await run('apt-get', [...settings, '--error-on=any', 'update']);
  return {
    search: (pattern) => search(settings, pattern),
    depends: (name) => depends(settings, name),
    closure: (name, wanted) => closure(settings, name, wanted),
    download: (names, target) => download(settings, names, target),
  };
}

/** Debian's own key ring, where it is: since trixie it is no longer trusted by default. */
function signedBy(): string {
  const rings = ['gpg', 'pgp'].map((end) => `/usr/share/keyrings/debian-archive-keyring.${end}`);
  const ring = rings.find((file) => existsSync(file));
  return ring ? `[signed-by=${ring}] ` : '';
}

async function search(settings: readonly string[], pattern: RegExp): Promise<string[]> {
  const names = (await run('apt-cache', [...settings, 'pkgnames'])).split('\n');
  return names.filter((name) => pattern.test(name)).sort(byVersion);
}

const ONLY_DEPENDS = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
  (kind) => `--no-${kind}`,
);

async function depends(settings: readonly string[], name: string): Promise<string[]> {
  return dependsIn(await run('apt-cache', [...settings, ...ONLY_DEPENDS, 'depends', name]));
}

async function closure(
  settings: readonly string[],
  name: string,
  wanted: (name: string) => boolean,
): Promise<string[]> {
  const options = [...settings, ...ONLY_DEPENDS, '--recurse'];
  return reached(await run('apt-cache', [...options, 'depends', name]), name, wanted);
}

/**
 * The wanted packages that the first one leads to, from what `apt-cache depends --recurse` prints.
 */
export function reached(
  printed: string,
  first: string,
  wanted: (name: string) => boolean,
): string[] {
  const blocks = printed
    .split(/^(?=\S)/m)
    .map((block) => [block.split('\n', 1)[0], block] as const);
  const all = new Map(blocks);
  const found = new Set([first]);
  // A set is iterated to what is added on the way, too.
  for (const name of found) {
    for (const other of dependsIn(all.get(name) ?? '')) if (wanted(other)) found.add(other);
  }
  return [...found];
}

function dependsIn(printed: string): string[] {
  const lines = printed.matchAll(/^[ |]+(?:Pre)?Depends: (\S+)$/gm);
  return [...lines].map((match) => match[1] ?? '');
}

async function download(
  settings: readonly string[],
  names: readonly string[],
  folder: string,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await run('apt-get', [...settings, 'download', ...names], { cwd: folder });
}

/** Unpacks every package in `folder` below `target`, installing nothing. */
export async function unpackAll(folder: string, target: string): Promise<void> {
  const packages = (await readdir(folder)).filter((name) => name.endsWith('.deb'));
  await Promise.all(packages.map((name) => run('dpkg', ['-x', join(folder, name), target])));
}

/** 6.12.9 before 6.12.10: digits compare as numbers. */
function byVersion(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
