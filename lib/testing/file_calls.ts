import type { Binding, NativeFd } from '../core/binding.ts';
import { VfioError } from '../core/errors.ts';
import type { IrqCalls } from './irq_calls.ts';
import type { Machine } from './machine.ts';

const S_IFCHR = 0o020_000;

/** The numbers of /dev/iommu in the fake machine. */
export const iommuNumbers = { major: 10, minor: 125 } as const;

/** Opening, closing and duplicating. */
export function fileCalls(machine: Machine, irqs: IrqCalls): Partial<Binding> {
  const { native, files } = machine;
  const adopted = (answer: number | undefined): number | undefined => {
    if (answer !== undefined && answer >= 0) files.adopt(answer as NativeFd);
    return answer;
  };
  /** What a model throws that is told of the close: its device is closed all the same. */
  const forgetting = (...handles: (NativeFd | undefined)[]): { error: unknown } | undefined => {
    let failure: { error: unknown } | undefined;
    for (const handle of handles) {
      if (handle === undefined || files.get(handle) === undefined) continue;
      irqs.forget(handle);
      try {
        files.forget(handle);
      } catch (error) {
        failure ??= { error };
      }
    }
    return failure;
  };
  return {
    open: (path, flags) => open(machine, path, flags),
    fstat: (handle, out) => {
      const file = files.get(handle);
      if (file === undefined) return native.fstat(handle, out);
      const { what } = file;
      const { major, minor } = what.kind === 'device' ? what.device.cdev : iommuNumbers;
      out.set([S_IFCHR | 0o600, major, minor]);
      return 0;
    },
    findEntries: (folders, numbers, targets) => {
      const own = entriesOf(machine, folders, numbers);
      return own ? Promise.resolve(own) : native.findEntries(folders, numbers, targets);
    },
    findEntriesSync: (folders, numbers, targets) =>
      entriesOf(machine, folders, numbers) ?? native.findEntriesSync(folders, numbers, targets),
    dup: (number) => adopted(native.dup(number)),
    take: (number) => adopted(native.take(number)),
    fdTake: (offer) => adopted(native.fdTake(offer)),
    fdOffer: (handle) => {
      if (files.get(handle) !== undefined) throw ofOneThread();
      return native.fdOffer(handle);
    },
    close: async (handle, next) => {
      const injection = machine.injected('close', handle);
      if (injection?.until) await injection.until;
      const failure = forgetting(handle, next);
      const answer = await native.close(handle, next);
      if (failure) throw failure.error;
      return injection?.answer ?? answer ?? 0;
    },
    closeSync: (handle, next) => {
      const injected = machine.injected('close', handle)?.answer;
      const failure = forgetting(handle, next);
      const answer = native.closeSync(handle, next);
      if (failure) throw failure.error;
      return injected ?? answer;
    },
  };
}

function open(machine: Machine, path: string, flags: number): number | undefined {
  const node = machine.nodeAt(path);
  if (node === undefined) return machine.native.open(path, flags);
  const device = node === 'iommu' ? undefined : node;
  const injected = machine.injections.take('open', device?.address)?.answer;
  if (injected !== undefined) return injected;
  // The node is a file in a folder: it may not be there, or not be allowed.
  const real = machine.native.open(path, flags);
  if (real === undefined || real < 0) return real;
  machine.native.closeSync(real as NativeFd);
  if (device !== undefined)
    return machine.files.open({ kind: 'device', device, iommufd: undefined });
  return machine.files.open({ kind: 'iommufd', iommufd: machine.newIommufd() });
}

/**
 * Who has devices of the fake machine open, which nobody but this process can have; undefined where
 * others are searched for.
 */
function entriesOf(
  machine: Machine,
  folders: readonly string[],
  numbers: Uint32Array,
): string[][] | undefined {
  const devices = [...machine.devices.values()].filter(({ cdev }) =>
    numbers.some(
      (major, at) => at % 2 === 0 && major === cdev.major && numbers[at + 1] === cdev.minor,
    ),
  );
  if (devices.length === 0 || devices.length < numbers.length / 2) return undefined;
  const own = machine.files
    .byNumber()
    .filter(([, what]) => what.kind === 'device' && devices.includes(what.device))
    .map(([number]) => String(number));
  return folders.map((folder) => (folder === `/proc/${process.pid}/fd` ? own : []));
}

function ofOneThread(): VfioError {
  return new VfioError({
    code: 'ENOTSUP',
    message:
      'vfio/testing: a fake device, what is mapped of it and its address spaces are of the thread that made them, and cannot be shared; eventfds and DmaBuffers can',
  });
}
