import assert from 'node:assert/strict';
import type { Roots } from '../../lib/core/location.ts';
import * as api from '../../lib/index.ts';
import { withBinding } from './fake_binding.ts';
import { fakeIoctls } from './fake_kernel.ts';
import { fakeAddress } from './fake_vfio.ts';

/** One of every public class. */
export interface Handles {
  Container: api.Container;
  ContainerSpace: api.ContainerSpace;
  DirtyPages: api.DirtyPages;
  Display: api.Display;
  DmaBlock: api.DmaBlock;
  DmaBuffer: api.DmaBuffer;
  DmaLogging: api.DmaLogging;
  DmaMapping: api.DmaMapping;
  DmaPoll: api.DmaPoll;
  DmaPool: api.DmaPool;
  Dmabuf: api.Dmabuf;
  FaultQueue: api.FaultQueue;
  FdChannel: api.FdChannel;
  FdListener: api.FdListener;
  FdMessage: api.FdMessage;
  FileDescriptor: api.FileDescriptor;
  Features: api.Features;
  HwQueue: api.HwQueue;
  Hwpt: api.Hwpt;
  Interrupt: api.Interrupt;
  InterruptVector: api.InterruptVector;
  Ioas: api.Ioas;
  Iommufd: api.Iommufd;
  IovaAllocator: api.IovaAllocator;
  KvmVfio: api.KvmVfio;
  LowPower: api.LowPower;
  MappedRegion: api.MappedRegion;
  Migration: api.Migration;
  MigrationSink: api.MigrationSink;
  MigrationSource: api.MigrationSource;
  NestedHwpt: api.NestedHwpt;
  PciFunction: api.PciFunction;
  PeerMapping: api.PeerMapping;
  PreparedAccesses: api.PreparedAccesses;
  Region: api.Region;
  SharedVector: api.SharedVector;
  Vdevice: api.Vdevice;
  VeventQueue: api.VeventQueue;
  VfioCdev: api.VfioCdev;
  VfioDevice: api.VfioDevice;
  VfioError: api.VfioError;
  Viommu: api.Viommu;
}

/** Opens all of them, on a device that is /dev/zero with a fake kernel's ioctls. */
export function openHandles(roots: Roots): Promise<Handles> {
  return withBinding(fakeIoctls, async () => {
    const iommufd = api.Iommufd.open(roots);
    const container = api.Container.open(roots);
    const device = await api.VfioDevice.open(fakeAddress, { ...roots, iommufd });
    const { feature } = device;
    const { migration } = feature;
    const region = device.region('bar0');
    const mapped = region.map();
    const interrupt = device.interrupt(0);
    const [vector] = await interrupt.enable();
    assert.ok(vector);
    const ioas = iommufd.createIoas();
    const buffer = api.DmaBuffer.allocateSync(4096);
    const mapping = await ioas.map(buffer);
    const pool = new api.DmaPool(iommufd.createIoas());
    const hwpt = await ioas.createHwpt(device, { dirtyTracking: true });
    const parent = await ioas.createHwpt(device, { nestParent: true });
    const viommu = await parent.createViommu(device, { type: 'arm-smmuv3' });
    const queue = { type: 1, index: 0, nestingParentIova: mapping.iova, length: 4096n };
    const [channel, other] = api.FdChannel.pair();
    await other.send(Uint8Array.of(1), [0]);
    other.closeSync();
    const message = await channel.receive();
    assert.ok(message);
    return {
      Container: container,
      ContainerSpace: container.createIoas(),
      DirtyPages: await hwpt.readDirty({ iova: mapping.iova, length: 4096n }),
      Display: feature.display,
      DmaBlock: pool.allocateSync(64),
      DmaBuffer: buffer,
      DmaLogging: feature.dmaLogging,
      DmaMapping: mapping,
      DmaPoll: buffer.pollCounter({ offset: 0 }),
      DmaPool: pool,
      Dmabuf: await feature.exportDmabuf(0, [{ offset: 0, length: 4096 }]),
      FaultQueue: iommufd.createFaultQueue(),
      FdChannel: channel,
      FdListener: api.FdListener.listen(`${roots.devRoot}/socket`),
      FdMessage: message,
      FileDescriptor: iommufd.dup(),
      Features: feature,
      HwQueue: await viommu.createHwQueue(queue),
      Hwpt: hwpt,
      Interrupt: interrupt,
      InterruptVector: vector,
      Ioas: ioas,
      Iommufd: iommufd,
      IovaAllocator: new api.IovaAllocator([{ start: 0n, last: 0xffff_ffffn }]),
      KvmVfio: await api.KvmVfio.create(0),
      LowPower: feature.lowPower,
      MappedRegion: mapped,
      Migration: migration,
      MigrationSink: await migration.setState('resuming'),
      MigrationSource: await migration.setState('stop-copy'),
      NestedHwpt: await viommu.createNested(device, { type: 'arm-smmuv3', ste: [1n, 2n] }),
      PciFunction: device.pci,
      PeerMapping: await ioas.mapRegion(region),
      PreparedAccesses: mapped.prepare([{ op: 'read', offset: 0 }]),
      Region: region,
      SharedVector: api.fromShared(vector.share()),
      Vdevice: await viommu.createVdevice(device, 1n),
      VeventQueue: viommu.createVeventQueue({ type: 'arm-smmuv3' }),
      VfioCdev: await api.openCdev(fakeAddress, roots),
      VfioDevice: device,
      VfioError: new api.VfioError({ code: 'EIO', message: 'an error' }),
      Viommu: viommu,
    };
  });
}

export function closeHandles(handles: Handles): void {
  handles.FdChannel.closeSync();
  handles.FdListener.closeSync();
  handles.FdMessage.closeSync();
  handles.FileDescriptor.closeSync();
  handles.KvmVfio.closeSync();
  handles.Dmabuf.closeSync();
  handles.SharedVector.close();
  handles.MigrationSink.destroy();
  handles.MigrationSource.destroy();
  handles.VfioCdev.closeSync();
  // First, since with it goes what is mapped, of which no kernel knows.
  handles.Iommufd.closeSync();
  handles.FaultQueue.closeSync();
  handles.VeventQueue.closeSync();
  handles.VfioDevice.closeSync();
  handles.Container.closeSync();
  // Their mappings went with the iommufd.
  handles.DmaPool.closeSync();
  handles.DmaBuffer.disposeSync();
}
