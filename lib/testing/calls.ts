import type { Binding } from '../core/binding.ts';
import type { FakeCall } from './injections.ts';
import type { Machine } from './machine.ts';

type Value<Result> = Result extends Promise<infer Answer> ? Answer : Result;

/** What the fake kernel does in a function's place. */
type Fake<Name extends keyof Binding> = (
  ...args: Parameters<Binding[Name]>
) => Value<ReturnType<Binding[Name]>>;

/** Some of the addon's functions: of those that can block the blocking forms, and no others. */
export type Fakes = { [Name in keyof Binding as Name]?: Fake<Name> };

type Anything = (...args: unknown[]) => unknown;

/** The requests that functions make, by the names that errors have. */
const requests: Partial<Record<string, FakeCall>> = {
  bind: 'VFIO_DEVICE_BIND_IOMMUFD',
  attach: 'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
  detach: 'VFIO_DEVICE_DETACH_IOMMUFD_PT',
  getDeviceInfo: 'VFIO_DEVICE_GET_INFO',
  getRegionInfo: 'VFIO_DEVICE_GET_REGION_INFO',
  getRegionInfos: 'VFIO_DEVICE_GET_REGION_INFO',
  getIrqInfos: 'VFIO_DEVICE_GET_IRQ_INFO',
  setIrqs: 'VFIO_DEVICE_SET_IRQS',
  setIrqsBool: 'VFIO_DEVICE_SET_IRQS',
  setIrqsEventfd: 'VFIO_DEVICE_SET_IRQS',
  irqsRelease: 'VFIO_DEVICE_SET_IRQS',
  reset: 'VFIO_DEVICE_RESET',
  hotResetInfo: 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO',
  hotReset: 'VFIO_DEVICE_PCI_HOT_RESET',
  feature: 'VFIO_DEVICE_FEATURE',
  map: 'mmap',
  pread: 'pread',
  pwrite: 'pwrite',
  ioasAlloc: 'IOMMU_IOAS_ALLOC',
  ioasAllowIovas: 'IOMMU_IOAS_ALLOW_IOVAS',
  ioasIovaRanges: 'IOMMU_IOAS_IOVA_RANGES',
  ioasMap: 'IOMMU_IOAS_MAP',
  ioasMapMemory: 'IOMMU_IOAS_MAP',
  ioasMapFile: 'IOMMU_IOAS_MAP_FILE',
  ioasMapMemoryFile: 'IOMMU_IOAS_MAP_FILE',
  ioasUnmap: 'IOMMU_IOAS_UNMAP',
  ioasCopy: 'IOMMU_IOAS_COPY',
  destroy: 'IOMMU_DESTROY',
  hwptAlloc: 'IOMMU_HWPT_ALLOC',
  iommuOption: 'IOMMU_OPTION',
};

/** The event loop turns once, as it does while a call is on a thread. */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/**
 * The addon's functions with these before them, for what is the fake kernel's by its first
 * argument, a handle. All else goes to the addon. Of a blocking function the promise is made here:
 * it does its work when it is called, and answers when the event loop has turned.
 */
export function faked(machine: Machine, fakes: Fakes): Partial<Binding> {
  const all: [string, Anything][] = [];
  for (const [name, fake] of Object.entries(fakes) as [string, Anything][]) {
    const base = name.replace(/Sync$/, '');
    const native = machine.native as unknown as Record<string, Anything>;
    const isOurs = ([handle]: unknown[]): boolean => machine.files.get(handle) !== undefined;
    const answer = (args: unknown[]): unknown => {
      const request = requests[base];
      const injection = request && machine.injected(request, args[0]);
      return injection?.answer ?? fake(...args);
    };
    all.push([name, (...args) => (isOurs(args) ? answer(args) : native[name]?.(...args))]);
    if (base === name) continue;
    const later = async (args: unknown[]): Promise<unknown> => {
      const request = requests[base];
      const injection = request && machine.injected(request, args[0]);
      if (injection?.until) await injection.until;
      const answered = injection?.answer ?? fake(...args);
      await turn();
      return answered;
    };
    all.push([base, (...args) => (isOurs(args) ? later(args) : native[base]?.(...args))]);
  }
  return Object.fromEntries(all);
}
