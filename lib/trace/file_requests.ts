import type { NativeFd } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { counted } from '../core/counted.ts';
import type { Request, Requests, Section } from './request.ts';
import { bitWords, closeWords, hex, list, quoted, stepWords, type TraceWords } from './words.ts';

// What is asked of descriptors, memory and sockets; and what is read in sysfs and /proc.

const { O_RDWR, O_NONBLOCK } = fs.constants;

function openFlags(flags: number): string {
  return bitWords(flags, { o_rdwr: O_RDWR, o_nonblock: O_NONBLOCK });
}

function newFd(words: TraceWords, value: number): string {
  return words.fd(value as NativeFd);
}

function memory(_words: TraceWords, value: number): string {
  return `memory ${value}`;
}

/** The text that was read, as far as it fits a line. */
function textOf(text: string): string {
  return quoted(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

/** Folders are many, and much alike. */
const mostFolders = 2;

function folderWords(folders: readonly string[], entries: readonly string[]): string[] {
  return [list(folders.map(quoted), mostFolders), list(entries.map(quoted))];
}

const sysfs: Section = 'vfio-sysfs';

function ofSocket(name: string): Request<'socketAccept'> {
  return { name, args: (words, socket) => [words.fd(socket)], answer: newFd };
}

export const fileRequests: Requests = {
  open: {
    name: 'open',
    args: (_words, path, flags) => [quoted(path), openFlags(flags)],
    answer: newFd,
  },
  fstat: {
    name: 'fstat',
    args: (words, fd) => [words.fd(fd)],
    answer: (_words, _value, _fd, out) => `device ${out[1] ?? 0}:${out[2] ?? 0}`,
  },
  dup: {
    name: 'fcntl',
    args: (_words, number) => [`fd ${number}`, 'F_DUPFD_CLOEXEC'],
    answer: newFd,
  },
  take: {
    name: 'fcntl',
    args: (_words, number) => [`fd ${number}`, 'F_DUPFD_CLOEXEC'],
    answer: newFd,
  },
  flock: { name: 'flock', args: (_words, number) => [`fd ${number}`, 'LOCK_EX|LOCK_NB'] },
  close: {
    name: 'close',
    args: (words, fd, next) => {
      const both = next === undefined ? [fd] : [fd, next];
      const [first = '', ...then] = both.map((each) => words.fd(each));
      // The addon forgets them whatever comes of it.
      for (const each of both) words.forget(each);
      return [first, ...then.map((each) => `then ${each}`)];
    },
    failed: closeWords,
  },
  eventfdOpen: { name: 'eventfd', args: () => ['EFD_NONBLOCK|EFD_CLOEXEC'], answer: newFd },
  eventfdRead: { section: 'vfio-access', name: 'read', args: (words, fd) => [words.fd(fd)] },
  eventfdWrite: {
    section: 'vfio-access',
    name: 'write',
    args: (words, fd, count) => [words.fd(fd), String(count)],
  },
  memoryAllocate: {
    name: 'memfd_create+mmap',
    args: (_words, size, flags) => [`${hex(size)} bytes`, `flags ${hex(flags)}`],
    answer: memory,
    failed: stepWords('memoryAllocate'),
  },
  // The kernel's munmap comes when no ArrayBuffer and no map needs the pages any more.
  memoryRelease: { name: 'release', args: (_words, handle) => [`memory ${handle}`] },
  memoryFromFile: {
    name: 'mmap',
    args: (_words, fd, offset, size) => [`fd ${fd}+${hex(offset)}`, `${hex(size)} bytes`],
    answer: memory,
    failed: stepWords('memoryFromFile'),
  },
  readData: {
    name: 'read',
    args: (words, data, length) => [words.fd(data), counted(length, 'byte')],
    answer: (_words, value) => String(typeof value === 'number' ? value : value.length),
  },
  writeData: {
    name: 'write',
    args: (words, data, bytes) => [words.fd(data), counted(bytes.length, 'byte')],
  },
  socketPair: { name: 'socketpair', args: () => ['AF_UNIX', 'SOCK_SEQPACKET'] },
  socketListen: {
    name: 'socket+bind+listen',
    args: (_words, path, mode) => [quoted(path), `mode 0${mode.toString(8)}`],
    answer: newFd,
    failed: stepWords('socketListen'),
  },
  socketConnect: {
    name: 'socket+connect',
    args: (_words, path) => [quoted(path)],
    answer: newFd,
    failed: stepWords('socketConnect'),
  },
  socketAccept: ofSocket('accept'),
  socketSend: {
    name: 'sendmsg',
    args: (words, socket, bytes, numbers) => [
      words.fd(socket),
      counted(bytes.length, 'byte'),
      `with ${list(Array.from(numbers, (number) => `fd ${number}`))}`,
    ],
  },
  socketReceive: {
    name: 'recvmsg',
    args: (words, socket) => [words.fd(socket)],
    answer: (words, value, _socket, _room, _most, handles, out) =>
      `${counted(value, 'byte')} with ${words.fds(handles.subarray(0, out[1] ?? 0))}`,
  },
  kvmCreateVfio: {
    name: 'KVM_CREATE_DEVICE',
    args: (words, vm) => [words.fd(vm), 'KVM_DEV_TYPE_VFIO'],
    answer: newFd,
  },
  kvmVfioAdd: {
    name: 'KVM_SET_DEVICE_ATTR',
    args: (words, kvm, file) => [words.fd(kvm), 'KVM_DEV_VFIO_FILE_ADD', words.fd(file)],
  },
  kvmVfioRemove: {
    name: 'KVM_SET_DEVICE_ATTR',
    args: (words, kvm, file) => [words.fd(kvm), 'KVM_DEV_VFIO_FILE_DEL', words.fd(file)],
  },
  kvmVfioHasAdd: {
    name: 'KVM_HAS_DEVICE_ATTR',
    args: (words, kvm) => [words.fd(kvm), 'KVM_DEV_VFIO_FILE_ADD'],
  },
  ueventOpen: {
    name: 'socket',
    args: () => ['AF_NETLINK', 'NETLINK_KOBJECT_UEVENT'],
    answer: newFd,
    failed: stepWords('ueventOpen'),
  },
  ueventReceive: {
    name: 'recvmsg',
    args: (words, socket) => [words.fd(socket)],
    answer: (_words, value) => counted(value, 'byte'),
  },
  watchOpen: { name: 'inotify_init', args: () => ['IN_CLOEXEC|IN_NONBLOCK'], answer: newFd },
  watchFolder: {
    name: 'inotify_add_watch',
    args: (words, watch, path) => [words.fd(watch), quoted(path)],
  },
  waitForChangeSync: {
    name: 'poll',
    args: (words, watch, milliseconds) => [words.fd(watch), `${milliseconds} ms`],
    failed: stepWords('waitForChangeSync'),
  },
  readSmallFile: {
    section: sysfs,
    name: 'read file',
    args: (_words, path) => [quoted(path)],
    answer: (_words, value) => (typeof value === 'string' ? textOf(value) : String(value)),
  },
  listFolder: {
    section: sysfs,
    name: 'read folder',
    args: (_words, path) => [quoted(path)],
    answer: (_words, value) =>
      typeof value === 'number' ? String(value) : list(value.map(quoted)),
  },
  readFolders: {
    section: sysfs,
    name: 'read entries',
    args: (_words, folders, entries) => folderWords(folders, entries),
    answer: (_words, value) =>
      typeof value === 'number' ? String(value) : `values: ${value.length}`,
  },
  findEntries: {
    section: sysfs,
    name: 'find entries',
    args: (_words, folders, numbers, targets) => [
      list(folders.map(quoted), mostFolders),
      list(deviceNumbers(numbers)),
      list(targets.map(quoted)),
    ],
    answer: (_words, value) => {
      if (typeof value === 'number') return String(value);
      const found = value.filter((each) => typeof each === 'object' && each.length > 0);
      return `folders that have some: ${found.length}`;
    },
  },
};

/** `511:0`, of the flat list of majors and minors. */
function deviceNumbers(numbers: Uint32Array): string[] {
  return Array.from({ length: numbers.length / 2 }, (_, at) => {
    return `${numbers[2 * at] ?? 0}:${numbers[2 * at + 1] ?? 0}`;
  });
}
