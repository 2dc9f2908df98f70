// Which functions of the C library the addon calls, and how each can fail.
import { execFileSync } from 'node:child_process';
import type { constants } from 'node:os';

type Errno = keyof typeof constants.errno;

/** How a call of the C library can fail. */
export interface FailingCall {
  /** As the addon's undefined symbols call it. */
  symbol: string;
  /** As in nth_call.c. */
  kind: 'kMinusOne' | 'kNull' | 'kNumber' | 'kClose' | 'kThrow';
  caller: 'kAddon' | 'kLibuv';
  errnos: readonly Errno[];
  /** How an error may name it. */
  named: readonly string[];
}

type Row = readonly [errnos: readonly Errno[], named?: readonly string[]];

const few = ['EMFILE', 'ENOMEM'] as const;
const opening = ['EINTR', 'EMFILE', 'EACCES', 'EBUSY', 'EIO', 'ENOMEM'] as const;
/** What a look into sysfs or /proc is told as, where it is not told as a system call. */
const looking = [
  'access',
  'open',
  'openat',
  'read',
  'readlink',
  'readFolders',
  'findEntries',
  'readSmallFile',
];

/**
 * ENODEV of sysfs is not among them: it is how the kernel says that a device has gone, as ENOENT
 * is.
 */
const ofSysfs = ['EINTR', 'EMFILE', 'EACCES', 'EIO', 'ENOMEM'] as const;

/** These answer -1 and set errno. The plausible errnos are those of their manual pages. */
const minusOne: Record<string, Row> = {
  open64: [opening, looking],
  __open64_2: [opening, looking],
  openat64: [ofSysfs, looking],
  read: [['EINTR', 'EAGAIN', 'EIO', 'ENOMEM'], looking],
  write: [['EINTR', 'EAGAIN', 'EIO', 'ENOSPC']],
  pread64: [['EINTR', 'EIO', 'EINVAL', 'ENOMEM'], ['pread']],
  pwrite64: [['EINTR', 'EIO', 'EINVAL', 'ENOMEM'], ['pwrite']],
  ioctl: [['EINTR', 'EAGAIN', 'ENOMEM', 'EACCES', 'EIO', 'ENODEV', 'EBUSY', 'EINVAL', 'ENOTTY']],
  mmap64: [['ENOMEM', 'EAGAIN', 'EACCES', 'EINVAL', 'ENODEV'], ['mmap']],
  munmap: [['ENOMEM', 'EINVAL']],
  madvise: [['EINTR', 'EAGAIN', 'ENOMEM', 'EFAULT', 'EINVAL', 'EHWPOISON' as Errno]],
  fcntl64: [
    ['EINTR', 'EMFILE'],
    ['fcntl', 'dup'],
  ],
  flock: [['EINTR', 'EAGAIN', 'ENOLCK']],
  statx: [
    ['EINTR', 'ENOMEM', 'EACCES', 'EIO'],
    ['fstat', 'statx'],
  ],
  fstatfs64: [['EINTR', 'EIO', 'ENOMEM', 'ENOSYS'], ['fstatfs']],
  ftruncate64: [['EINTR', 'ENOMEM', 'EINVAL', 'EIO'], ['ftruncate']],
  memfd_create: [['EMFILE', 'ENFILE', 'ENOMEM', 'EINVAL']],
  eventfd: [['EMFILE', 'ENFILE', 'ENODEV', 'ENOMEM']],
  eventfd_read: [
    ['EINTR', 'EAGAIN', 'EIO'],
    ['read', 'eventfd'],
  ],
  eventfd_write: [['EINTR', 'EAGAIN', 'EINVAL'], ['write']],
  socket: [['EMFILE', 'ENFILE', 'EACCES', 'ENOMEM']],
  socketpair: [['EMFILE', 'ENFILE', 'ENOMEM']],
  bind: [['EADDRINUSE', 'EACCES', 'ENOMEM', 'EROFS']],
  listen: [['EADDRINUSE', 'EINVAL']],
  connect: [['EAGAIN', 'ECONNREFUSED', 'EACCES', 'ENOENT']],
  accept4: [['EINTR', 'EAGAIN', 'ECONNABORTED', 'EMFILE', 'ENOMEM'], ['accept']],
  getsockopt: [['ENOMEM', 'EINVAL']],
  setsockopt: [['ENOMEM', 'EPERM']],
  sendmsg: [['EINTR', 'EAGAIN', 'ENOBUFS', 'ENOMEM', 'EPIPE', 'EMSGSIZE', 'ECONNRESET']],
  recvmsg: [['EINTR', 'EAGAIN', 'ENOMEM', 'ECONNRESET']],
  fchmod: [['EINTR', 'EPERM', 'EIO']],
  fchmodat: [
    ['EPERM', 'EIO', 'ENOENT'],
    ['chmod', 'fchmodat'],
  ],
  unlink: [['EACCES', 'EBUSY', 'EIO']],
  inotify_init1: [
    ['EMFILE', 'ENFILE', 'ENOMEM'],
    ['inotify_init1', 'inotify_init'],
  ],
  inotify_add_watch: [['ENOSPC', 'ENOMEM', 'EACCES']],
  poll: [['EINTR', 'ENOMEM', 'EINVAL']],
  faccessat: [
    ['EACCES', 'EIO', 'ENOMEM'],
    ['access', ...looking],
  ],
  readlinkat: [['EACCES', 'EIO', 'ENOMEM'], looking],
  nanosleep: [['EINTR']],
  // getdents64 of a folder in sysfs, and kcmp.
  syscall: [
    ['EINTR', 'EACCES', 'EPERM', 'EIO', 'ENOSYS'],
    ['getdents64', 'readdir', ...looking],
  ],
};

const others: readonly FailingCall[] = [
  call('close', 'kClose', ['EINTR', 'EIO']),
  call('closedir', 'kClose', ['EIO']),
  call('opendir', 'kNull', ['EMFILE', 'EACCES', 'ENOMEM'], looking),
  call('readdir64', 'kNull', ['EIO', 'ENOENT'], looking),
  call('calloc', 'kNull', ['ENOMEM'], []),
  call('_Znwm', 'kThrow', ['ENOMEM']),
  call('_Znam', 'kThrow', ['ENOMEM']),
  // These libuv calls for the addon: when it makes a thread, and when it looks whether a descriptor
  // can be polled.
  { ...call('pthread_create', 'kNumber', ['EAGAIN', 'ENOMEM']), caller: 'kLibuv' },
  { ...call('epoll_ctl', 'kMinusOne', [...few, 'ENOSPC', 'EPERM']), caller: 'kLibuv' },
];

function call(
  symbol: string,
  kind: FailingCall['kind'],
  errnos: readonly Errno[],
  named: readonly string[] = [symbol],
): FailingCall {
  return { symbol, kind, caller: 'kAddon', errnos, named };
}

/** All that can be made to fail. */
export const failingCalls: readonly FailingCall[] = [
  ...Object.entries(minusOne).map(([symbol, [errnos, named = [symbol]]]) =>
    call(symbol, 'kMinusOne', errnos, named),
  ),
  ...others,
];

/**
 * What the addon calls besides, by why it is not made to fail. An entry is a whole name or, with a
 * star behind it, how names begin.
 */
const cannotFail: Record<string, readonly string[]> = {
  'works on memory alone': [
    ...['memchr', 'memcmp', 'memcpy', 'memmove', 'memset', 'strcmp', 'strlen', 'strnlen', 'free'],
    ...['trunc', '__cmsg_nxthdr'],
    ...['_ZdlPvm', '_ZdaPv', '_ZNKSt8*', '_ZSt11_Hash_bytes*', '_ZSt18_Rb_tree_*', '_ZSt29_Rb_*'],
    ...['_ZSt28_Rb_*', '_ZTVN10__cxxabiv1*', '__cxa_guard_*', '__errno_location', '__tls_get_addr'],
    ...['dirfd', 'sigemptyset', '_ITM_*', '__gmon_start__', '__cxa_finalize'],
  ],
  'ends the process': ['_ZSt1*__throw_*', '_ZSt2*__throw_*', '__stack_chk_fail', 'abort', 'raise'],
  'fails for wrong arguments alone': ['clock_gettime', 'getpid', 'sysconf', 'sigaction'],
  'fails for wrong use alone': ['pthread_mutex_lock', 'pthread_mutex_unlock'],
  "is libuv's, whose own calls are made to fail": ['uv_*'],
  'is made to fail by test/support/napi_failures.c': ['napi_*'],
};

/** What the addon needs of others: the names of its undefined symbols. */
export function undefinedSymbols(addon: string): string[] {
  const listed = execFileSync('nm', ['-D', '--undefined-only', addon], { encoding: 'utf8' });
  const lines = listed.split('\n').filter((line) => line !== '');
  return lines.map((line) => (line.trim().split(/\s+/).at(-1) ?? '').replace(/@.*/, ''));
}

/** The symbols of which nothing says how they fail, or why they cannot. */
export function unknownSymbols(symbols: readonly string[]): string[] {
  const known = new Set(failingCalls.map(({ symbol }) => symbol));
  const patterns = Object.values(cannotFail).flat().map(patternOf);
  return symbols.filter((name) => !known.has(name) && !patterns.some((each) => each.test(name)));
}

function patternOf(entry: string): RegExp {
  return new RegExp(`^${entry.replaceAll('*', '.*')}$`);
}
