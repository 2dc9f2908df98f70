import { VfioError } from '../core/errors.ts';
import type { HostNeed } from '../core/reasons.ts';
import { linesOf } from '../diagnose/mounts.ts';
import { processStatus } from '../locate/process_status.ts';
import { listNames, readAttribute, readLinkName } from '../locate/sysfs.ts';
import type { HostRoots } from './host_roots.ts';

/** What a device is needed for, and what could not be looked at. */
export interface Found {
  needs: HostNeed[];
  unseen: string[];
}

/**
 * What the host needs a device's network interfaces for: the default route, this terminal's SSH
 * connection, and bridges and bonds of which they are a part.
 *
 * @param interfaces - their names, those of this network namespace
 */
export function networkNeeds(interfaces: readonly string[], roots: HostRoots): Found {
  if (interfaces.length === 0) return { needs: [], unseen: [] };
  const routes = routeNeeds(interfaces, roots);
  const session = sessionNeeds(interfaces, roots);
  const parts = interfaces.flatMap((name) => partNeeds(name, roots));
  return {
    needs: [...routes.needs, ...session.needs, ...parts],
    unseen: [...routes.unseen, ...session.unseen],
  };
}

const need = (name: string, text: string): HostNeed => ({ kind: 'network', name, text });

/** Of these interfaces those that carry `upper`: it itself, or what bridges and VLANs stand on. */
function carriersOf(upper: string, among: readonly string[], roots: HostRoots): string[] {
  const seen = new Set([upper]);
  // A set is gone through with what is added meanwhile.
  for (const name of seen) {
    for (const entry of listNames(`${roots.sysfsRoot}/class/net/${name}`) ?? []) {
      if (entry.startsWith('lower_')) seen.add(entry.slice('lower_'.length));
    }
  }
  return among.filter((name) => seen.has(name));
}

const over = (name: string, upper: string): string =>
  name === upper ? name : `${name} (${upper})`;

function routeNeeds(interfaces: readonly string[], roots: HostRoots): Found {
  const found: Found = { needs: [], unseen: [] };
  for (const [file, isDefault] of [
    ['route', isDefault4],
    ['ipv6_route', isDefault6],
  ] as const) {
    const path = `${roots.procRoot}/net/${file}`;
    const lines = readLines(path);
    if (typeof lines === 'string') {
      // A kernel without IPv6 has no such file; without procfs there is none at all.
      if (file === 'route' || lines !== 'ENOENT')
        found.unseen.push(`whether it has the default route: ${path} answers ${lines}`);
      continue;
    }
    const uppers = new Set(lines.map((line) => line.trim().split(/\s+/)).flatMap(isDefault));
    for (const upper of uppers) {
      for (const name of carriersOf(upper, interfaces, roots))
        found.needs.push(need(name, `${over(name, upper)} has the default route`));
    }
  }
  const texts = new Set<string>();
  found.needs = found.needs.filter(({ text }) => !texts.has(text) && texts.add(text));
  return found;
}

/** /proc/net/route: Iface Destination Gateway Flags RefCnt Use Metric Mask …; numbers in hex. */
function isDefault4([name = '', destination, , , , , , mask]: string[]): string[] {
  return destination === '00000000' && mask === '00000000' ? [name] : [];
}

const RTF_REJECT = 0x0200;

/** /proc/net/ipv6_route: destination, its prefix, source, its prefix, next hop, … flags, device. */
function isDefault6(parts: string[]): string[] {
  const [destination, prefix] = parts;
  const [flags = '', name = ''] = parts.slice(-2);
  const isReal = name !== 'lo' && (parseInt(flags, 16) & RTF_REJECT) === 0;
  return destination === '0'.repeat(32) && prefix === '00' && isReal ? [name] : [];
}

/** The lines, or the code of the error. */
function readLines(path: string): string[] | string {
  try {
    const lines = linesOf(path);
    return lines.length === 0 && readAttribute(path) === undefined ? 'ENOENT' : lines;
  } catch (error) {
    if (error instanceof VfioError) return error.code;
    throw error;
  }
}

/** An interface that is up and a port of a bridge, or a part of a bond or a team. */
function partNeeds(name: string, { sysfsRoot }: HostRoots): HostNeed[] {
  const folder = `${sysfsRoot}/class/net/${name}`;
  const master = readLinkName(`${folder}/master`);
  const isOn = (Number(readAttribute(`${folder}/flags`) ?? 0) & IFF_UP) !== 0;
  return master !== undefined && isOn ? [need(name, `${name} is up, and a part of ${master}`)] : [];
}

const IFF_UP = 1;

/** Where this terminal's SSH connection ends: addresses of this machine. */
function sessionNeeds(interfaces: readonly string[], roots: HostRoots): Found {
  const { addresses, unseen } = sessionAddresses(roots);
  const needs: HostNeed[] = [];
  for (const address of addresses) {
    const uppers = interfacesWith(address);
    const way = uppers.find((name) => name !== 'lo');
    if (way === undefined)
      unseen.push(`the way of this SSH connection: no network interface has ${address}`);
    for (const upper of uppers) {
      for (const name of carriersOf(upper, interfaces, roots))
        needs.push(need(name, `${over(name, upper)} carries this SSH connection (to ${address})`));
    }
  }
  return { needs, unseen };
}

function interfacesWith(address: string): string[] {
  const all = process.getBuiltinModule('node:os').networkInterfaces();
  const plain = address.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/, '');
  return Object.entries(all).flatMap(([name, addresses = []]) =>
    addresses.some((each) => each.address === plain) ? [name] : [],
  );
}

/** So many parents are looked at: a terminal has a few. */
const mostParents = 64;

/**
 * The addresses of this machine to which SSH connections came that this process descends from, by
 * SSH_CONNECTION in the environment. sudo takes it out of that, so the parents' are read, too.
 */
function sessionAddresses({ procRoot }: HostRoots): { addresses: string[]; unseen: string[] } {
  const addresses = new Set(serverOf(process.env['SSH_CONNECTION']));
  const unseen: string[] = [];
  let pid = process.ppid;
  let server: number | undefined;
  for (let count = 0; count < mostParents && pid > 0; count++) {
    const status = processStatus(`${procRoot}/${pid}/status`);
    if (status === undefined) break;
    const environment = readEnvironment(`${procRoot}/${pid}/environ`);
    if (environment.code !== undefined)
      unseen.push(`the environment of the parent process ${pid}: ${environment.code}`);
    for (const address of serverOf(environment.connection)) addresses.add(address);
    if (status.get('Name')?.startsWith('sshd') === true) server ??= pid;
    pid = Number(status.get('PPid') ?? 0);
  }
  if (addresses.size > 0) return { addresses: [...addresses], unseen: [] };
  if (server === undefined) return { addresses: [], unseen };
  const why = `this terminal comes from sshd (process ${server}), by which network interface is not to be seen`;
  return { addresses: [], unseen: [why] };
}

/** SSH_CONNECTION: client's address, its port, this machine's address, its port. */
function serverOf(connection: string | undefined): string[] {
  const [, , address] = connection?.split(' ') ?? [];
  return address === undefined || address === '' ? [] : [address];
}

/** The environment may be longer than what the addon reads at once. */
function readEnvironment(path: string): { connection?: string | undefined; code?: string } {
  try {
    const variables = linesOf(path).join('\n').split('\0');
    const name = 'SSH_CONNECTION=';
    return { connection: variables.find((each) => each.startsWith(name))?.slice(name.length) };
  } catch (error) {
    if (error instanceof VfioError) return { code: error.code };
    throw error;
  }
}
