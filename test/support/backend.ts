import {
  Container,
  Iommufd,
  VfioDevice,
  type AddressSpace,
  type BackendKind,
  type Ioas,
  type OpenDeviceOptions,
} from '../../lib/index.ts';

// The tests of devices run over every backend: VFIO_TEST_BACKEND names the one, by default cdevs.

export const backend: BackendKind = (process.env['VFIO_TEST_BACKEND'] ?? 'cdev') as BackendKind;

/** What devices are opened in together, and their address space. */
export interface TestHost extends AsyncDisposable {
  options: Pick<OpenDeviceOptions, 'backend' | 'iommufd' | 'container'>;
  /** Once the first device is open. */
  createIoas: (device: VfioDevice) => AddressSpace;
}

export function openHost(): TestHost {
  if (backend === 'cdev' || backend === 'compat') {
    const iommufd = Iommufd.open();
    return {
      options: { backend, iommufd },
      createIoas: (device) => device.createIoas(),
      [Symbol.asyncDispose]: () => iommufd.close(),
    };
  }
  const container = Container.open();
  return {
    options: { backend, container },
    createIoas: () => container.createIoas(),
    [Symbol.asyncDispose]: () => container.close(),
  };
}

/**
 * Has a device with few address lines reached: a container takes the lowest addresses by itself.
 */
export function confine(space: AddressSpace, last: bigint): void {
  if ('allowIovas' in space) (space as Ioas).allowIovas([{ start: 0n, last }]);
}

/** A device that is opened by its group is attached as long as it is open. */
export async function detach(device: VfioDevice): Promise<void> {
  if (backend === 'cdev') await device.detach();
}

/** Opens by the backend what a test opens without saying how. */
export function openByBackend(): void {
  if (backend === 'cdev') return;
  const open = VfioDevice.open.bind(VfioDevice);
  const openSync = VfioDevice.openSync.bind(VfioDevice);
  const withBackend = <Options extends OpenDeviceOptions>(options?: Options): Options => {
    const given = { ...options } as Options;
    return given.iommufd || given.container ? given : { backend, ...given };
  };
  VfioDevice.open = (spec, options?) => open(spec, withBackend(options));
  VfioDevice.openSync = (spec, options?) => openSync(spec, withBackend(options));
}
