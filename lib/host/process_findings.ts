import { fs } from '../core/builtins.ts';
import { processStatus } from '../locate/process_status.ts';
import { hiddenFolder, listNames, readAttribute, readLinkText } from '../locate/sysfs.ts';
import { type Finding, host, look, noProc, type Place, readProc, type Seen } from './finding.ts';

/** What this process may do here, and what it sees. */
export function processFindings(place: Place): Finding[] {
  return [
    ...look('memlock', host, () => memlock(place)),
    ...look('huge-pages', host, () => hugePages(place)),
    ...look('lockdown', host, () => lockdown(place)),
    ...look('namespaces', host, () => namespaces(place)),
    ...look('device-cgroup', host, () => deviceCgroup(place)),
  ];
}

/** Below this little more than rings of descriptors can be mapped. */
const enough = 64 * 2 ** 20;

const CAP_IPC_LOCK = 14n;

function memlock(place: Place): Seen {
  const limits = readProc(place, 'self/limits');
  const text = /^Max locked memory\s+(\d+|unlimited)/m.exec(limits ?? '')?.[1];
  if (text === undefined) return noProc(place, 'self/limits');
  if (text === 'unlimited') return ['ok', 'RLIMIT_MEMLOCK is unlimited'];
  const limit = Number(text);
  const shown = `RLIMIT_MEMLOCK is ${limit} bytes`;
  if (hasCapability(place, CAP_IPC_LOCK)) return ['ok', `${shown}; CAP_IPC_LOCK lifts it`];
  if (limit >= enough) return ['ok', `${shown}: so much can be mapped for DMA at a time`];
  return [
    'warning',
    `${shown}: no more can be mapped for DMA at a time`,
    'raise it (LimitMEMLOCK= of a systemd unit, ulimit -l), or give the program CAP_IPC_LOCK',
  ];
}

function hasCapability(place: Place, bit: bigint): boolean {
  const mask = processStatus(`${place.procRoot}/self/status`)?.get('CapEff');
  return mask !== undefined && ((BigInt(`0x${mask}`) >> bit) & 1n) === 1n;
}

function hugePages({ roots: { sysfsRoot } }: Place): Seen {
  const folder = `${sysfsRoot}/kernel/mm/hugepages`;
  const sizes = listNames(folder);
  if (sizes === undefined || sizes.length === 0) {
    return [
      'unknown',
      `${folder} is not there, or is empty: the kernel has none, or they are hidden`,
    ];
  }
  const pools = sizes.sort().map((name) => poolIn(`${folder}/${name}`, name));
  const shown = pools
    .map(({ size, total, free }) =>
      total === '0' ? `none of ${size} set aside` : `${free} of ${total} of ${size} free`,
    )
    .join(', ');
  const unread = pools.some(({ total }) => total === undefined);
  if (unread) return ['unknown', shown];
  const used = pools.filter(({ total, free }) => total !== '0' && free === '0');
  if (used.length === 0) return ['ok', shown];
  return [
    'warning',
    shown,
    `who wants more of them sets more aside: ${used.map(({ path }) => `${path}/nr_hugepages`).join(', ')}`,
  ];
}

function poolIn(
  path: string,
  name: string,
): { path: string; size: string; total: string | undefined; free: string | undefined } {
  return {
    path,
    size: name.replace(/^hugepages-/, ''),
    total: readAttribute(`${path}/nr_hugepages`),
    free: readAttribute(`${path}/free_hugepages`),
  };
}

function lockdown({ roots: { sysfsRoot } }: Place): Seen {
  const folder = `${sysfsRoot}/kernel/security`;
  const text = readAttribute(`${folder}/lockdown`);
  if (text === undefined) {
    const hidden = hiddenFolder(folder);
    return hidden
      ? ['unknown', `${folder}/lockdown is not to be seen: securityfs is not mounted here`]
      : ['ok', 'the kernel has no lockdown'];
  }
  const mode = /\[(\w+)\]/.exec(text)?.[1];
  if (mode === undefined) return ['unknown', `${folder}/lockdown says ${text}`];
  if (mode === 'none') return ['ok', 'the kernel is not locked down'];
  return [
    'warning',
    `the kernel is locked down (${mode}): VFIO works, but not the writing of PCI configuration by sysfs, nor modules that are not signed`,
  ];
}

/** Whether processes of all pid namespaces are seen from here. */
export function seesAllProcesses({ procRoot }: Place): boolean {
  return readLinkText(`${procRoot}/self/ns/pid`) === first.pid;
}

/** The kernel's numbers of the first namespaces (include/uapi/linux/nsfs.h, fs/proc). */
const first = { pid: 'pid:[4026531836]', user: 'user:[4026531837]' } as const;

const hides = {
  pid: 'processes outside are not seen, so that who holds a device may not be told',
  user: 'user numbers are mapped, and root here may not be root of the host',
} as const;

/** Files that managers of containers put into each. */
const marks = ['/.dockerenv', '/run/.containerenv', '/run/systemd/container'];

function namespaces({ procRoot }: Place): Seen {
  const kinds = ['pid', 'user'] as const;
  const links = kinds.map((kind) => ({ kind, link: readLinkText(`${procRoot}/self/ns/${kind}`) }));
  const unseen = links.filter(({ link }) => link === undefined).map(({ kind }) => kind);
  const others = links
    .filter(({ kind, link }) => link !== undefined && link !== first[kind])
    .map(({ kind }) => `another ${kind} namespace (${hides[kind]})`);
  const mount = isOther('mnt', procRoot);
  const net = isOther('net', procRoot);
  if (net === true) others.push('another net namespace (interfaces outside are not seen)');
  if (mount === true) others.push('another mount namespace (its /dev and /sys may be its own)');
  const mark = marks.find((path) => fs.existsSync(path));
  if (mark !== undefined) others.push(`a container, by ${mark} (its /dev has what it was given)`);
  if (others.length > 0) {
    const mend =
      'what is said of the host is how it looks from here; for the whole, run this on the host';
    return ['warning', `this process is in ${others.join('; ')}`, mend];
  }
  if (unseen.length > 0)
    return ['unknown', `the ${unseen.join(' and ')} namespace is not to be seen`];
  return mount === undefined || net === undefined
    ? [
        'unknown',
        'in the first pid and user namespaces; this user cannot see whether in the mount and net namespaces of process 1',
        'run this as root to know',
      ]
    : ['ok', 'in the first pid and user namespaces, and in those of process 1 for mounts and net'];
}

/** Whether process 1 is in another namespace; undefined where this user may not look. */
function isOther(kind: 'mnt' | 'net', procRoot: string): boolean | undefined {
  const text = (pid: string): string | undefined => {
    try {
      return fs.readlinkSync(`${procRoot}/${pid}/ns/${kind}`);
    } catch {
      // Only those who may trace a process see its namespaces.
      return undefined;
    }
  };
  const [own, ofFirst] = [text('self'), text('1')];
  return own === undefined || ofFirst === undefined ? undefined : own !== ofFirst;
}

/** Version 1 can be read. Version 2 has programs in place of lists, which nobody sees by reading. */
function deviceCgroup(place: Place): Seen {
  const text = readProc(place, 'self/cgroup');
  if (text === undefined) {
    return readProc(place, 'self/limits') === undefined
      ? noProc(place, 'self/cgroup')
      : ['ok', 'the kernel has no cgroups'];
  }
  const lines = text.split('\n').map((line) => line.split(':'));
  const old = lines.find(([, names = '']) => names.split(',').includes('devices'))?.[2];
  if (old !== undefined && old !== '/') return oldCgroup(place, old);
  const path = lines.find(([number]) => number === '0')?.[2] ?? '/';
  const isFirst = readLinkText(`${place.procRoot}/self/ns/cgroup`) === 'cgroup:[4026531835]';
  if (path === '/' && isFirst) return ['ok', 'in the root cgroup, which refuses no device'];
  return [
    'unknown',
    `in the cgroup ${path}, whose rules for devices cannot be read (cgroup version 2 keeps them as programs)`,
    'where a node that this user may open answers EPERM: DeviceAllow= of the systemd unit, --device of the container',
  ];
}

function oldCgroup({ roots: { sysfsRoot } }: Place, path: string): Seen {
  const list = readAttribute(`${sysfsRoot}/fs/cgroup/devices${path}/devices.list`);
  if (list === undefined)
    return ['unknown', `the rules of the device cgroup ${path} are not to be seen`];
  if (/^a \*:\* rwm$/m.test(list)) return ['ok', `the device cgroup ${path} refuses no device`];
  return [
    'warning',
    `the device cgroup ${path} allows only: ${list.split('\n').join(', ')}`,
    'the nodes that are wanted must be among these: DeviceAllow= of the systemd unit, --device of the container',
  ];
}
