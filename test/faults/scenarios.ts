// What is done while calls fail: each does a part of what the library can do, and closes all of it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  closeDevices,
  Container,
  describeDevice,
  DmaBuffer,
  DmaPool,
  FdChannel,
  FdListener,
  fromShared,
  identify,
  Iommufd,
  listDevices,
  listDevicesSync,
  listGroups,
  openCdev,
  openDevices,
  packDevice,
  unpackDevice,
  VfioDevice,
  watchDevices,
  type AddressSpace,
  type BackendKind,
} from '../../lib/index.ts';
import type { RootOptions } from '../../lib/index.ts';
import { tsWorker } from '../support/ts_worker.ts';

/** Where it is done. */
export interface Host {
  /** The device's address. */
  device: string;
  roots: RootOptions;
  /** Whether fake_vfio.cc stands in for the kernel. */
  fake: boolean;
  /** An empty folder. */
  folder: string;
}

const opening = ({ roots }: Host): RootOptions & { timeout: number } => ({ ...roots, timeout: 0 });

/** A wait that is not for ever. */
const soon = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(5_000) });

/** What failed to be closed is closed again, as programs do; the error is told nevertheless. */
function twice<T extends object>(one: T, close: (one: T) => Promise<void>): T & AsyncDisposable {
  const dispose = async (): Promise<void> => {
    await close(one).catch(async (error: unknown) => {
      await close(one);
      throw error;
    });
  };
  Object.defineProperty(one, Symbol.asyncDispose, { value: dispose });
  return one as T & AsyncDisposable;
}

const disposing = (memory: DmaBuffer): DmaBuffer & AsyncDisposable =>
  twice(memory, (one) => one.dispose());

async function openAndClose(host: Host, backend: BackendKind): Promise<void> {
  const device = await VfioDevice.open(host.device, { ...opening(host), backend });
  assert.ok(device.info.regions.length > 0);
  await device.close();
}

function openAndCloseSync(host: Host, backend: BackendKind): Promise<void> {
  const device = VfioDevice.openSync(host.device, { ...host.roots, backend });
  assert.ok(device.info.regions.length > 0);
  device.closeSync();
  return Promise.resolve();
}

/** Maps memory, by both forms, and what a pool has. */
async function mapInto(space: AddressSpace): Promise<void> {
  await using memory = disposing(await DmaBuffer.allocate(8192));
  const mapping = await space.map(memory);
  assert.equal(mapping.size, 8192);
  await mapping.unmap();
  await space.map(memory, { iova: 0x20_0000n });
  await using second = disposing(DmaBuffer.allocateSync(4096));
  const blocking = space.mapSync(second, { iova: 0x40_0000n });
  blocking.unmapSync();
  await using pool = new DmaPool(space);
  pool.release(await pool.allocate(64));
}

async function mapByCdev(host: Host): Promise<void> {
  await using iommufd = Iommufd.open(host.roots);
  await using ioas = iommufd.createIoas();
  await using device = await VfioDevice.open(host.device, { ...opening(host), iommufd });
  await device.attach(ioas);
  await mapInto(ioas);
  await device.detach();
}

async function mapByGroup(host: Host): Promise<void> {
  await using container = Container.open(host.roots);
  const options = { ...opening(host), backend: 'group', container } as const;
  await using device = await VfioDevice.open(host.device, options);
  assert.equal(device.backend.kind, 'group');
  await using space = container.createIoas();
  await mapInto(space);
}

async function registers(host: Host): Promise<void> {
  await using device = await VfioDevice.open(host.device, opening(host));
  const bar = device.region('bar0');
  const regs = bar.map({ size: 4096 });
  regs.read32(0);
  regs.write32(4, 1);
  regs.poll32Sync(0x40, 0, 0, { timeout: 0 });
  await regs.poll32(0x40, 0, 0, { timeout: 1 });
  await regs.close();
  const config = device.region('config');
  config.read16(4);
  config.write16(4, config.read16(4));
  config.write(4, config.read(4, 2));
}

async function interrupts(host: Host): Promise<void> {
  await using device = await VfioDevice.open(host.device, opening(host));
  const msi = device.interrupt('msi');
  const [vector] = await msi.enable();
  assert.ok(vector);
  msi.trigger();
  assert.equal(await vector.wait({ timeout: 2_000 }), 1);
  await msi.disable();
  const [again] = msi.enableSync();
  msi.trigger();
  const counts = again?.counts();
  assert.deepEqual(await counts?.next(), { done: false, value: 1 });
  await counts?.return?.();
  msi.disableSync();
}

/** What a device says of itself, by features and in its configuration space. */
async function questions(host: Host): Promise<void> {
  await using device = await VfioDevice.open(host.device, opening(host));
  await device.feature.list();
  if (host.fake) return;
  assert.ok(device.pci.readConfig().capabilities.length > 0);
  device.pci.setBusMaster(true);
  assert.ok(device.pci.command().busMaster);
}

/** As threads do, in one: the calls are the same. */
async function sharing(host: Host): Promise<void> {
  await using iommufd = Iommufd.open(host.roots);
  await using ioas = iommufd.createIoas();
  await using device = await VfioDevice.open(host.device, { ...opening(host), iommufd });
  await using other = fromShared(iommufd.share());
  assert.ok(other.fd > 0);
  await using second = fromShared<'device' | 'group-device'>(device.share());
  assert.equal(second.device.address, device.device.address);
  await using space = fromShared(ioas.share());
  await using memory = disposing(await DmaBuffer.allocate(4096));
  await using taken = disposing(fromShared(memory.share()));
  const mapping = await ioas.map(taken);
  await using shared = fromShared(mapping.share());
  assert.equal(shared.iova, mapping.iova);
  assert.ok(space.id > 0);
  const msi = device.interrupt('msi');
  const [vector] = await msi.enable();
  assert.ok(vector);
  const copy = fromShared(vector.share());
  msi.trigger();
  assert.equal(await copy.wait({ timeout: 2_000 }), 1);
  copy.close();
  using regs = device.region('bar0').map({ size: 4096 });
  await using sharedRegs = twice(fromShared(regs.share()), (one) => one.close());
  sharedRegs.read32(0);
  await msi.disable();
}

/** Another thread uses what this one has, closes it and ends. */
async function workers(host: Host): Promise<void> {
  await using iommufd = Iommufd.open(host.roots);
  await using ioas = iommufd.createIoas();
  await using device = await VfioDevice.open(host.device, { ...opening(host), iommufd });
  await device.attach(ioas);
  await using memory = disposing(await DmaBuffer.allocate(4096));
  const workerData = [device.share(), ioas.share(), memory.share()];
  const isSource = import.meta.url.endsWith('.ts');
  const file = new URL(isSource ? 'worker.ts' : 'worker.js', import.meta.url);
  const worker = isSource ? tsWorker(file, { workerData }) : new Worker(file, { workerData });
  const ended = once(worker, 'exit');
  const [regions] = (await Promise.all([once(worker, 'message'), ended]))[0] as [number];
  assert.ok(regions > 0); // EINVAL is how the kernel says that there is none of a number
  assert.equal(new Uint8Array(memory.buffer)[0], 42);
  await device.detach();
}

/** Several devices at once; here it is one. */
async function fleets(host: Host): Promise<void> {
  const devices = await openDevices([host.device], opening(host));
  assert.equal(devices.length, 1);
  await closeDevices(devices);
}

async function handOver(host: Host): Promise<void> {
  const path = join(host.folder, 'socket');
  await using listener = FdListener.listen(path);
  await using sender = FdChannel.connect(path);
  await using receiver = await listener.accept(soon());
  assert.equal(receiver.peer.pid, process.pid);
  await using iommufd = Iommufd.open(host.roots);
  await using ioas = iommufd.createIoas();
  await using device = await VfioDevice.open(host.device, { ...opening(host), iommufd });
  const { description, fds } = packDevice(device, [ioas]);
  await sender.send(Buffer.from(JSON.stringify(description)), fds);
  await using message = await receiver.receive(soon());
  assert.ok(message);
  const text = Buffer.from(message.data).toString();
  const unpacked = unpackDevice(JSON.parse(text) as typeof description, message.fds, host.roots);
  await using received = unpacked.device;
  assert.equal(received.device.address, device.device.address);
  await using copy = iommufd.dup();
  await using own = Iommufd.fromFd(copy, host.roots);
  assert.ok(own.fd > 0);
}

async function pairs(): Promise<void> {
  const [one, other] = FdChannel.pair();
  await using first = one;
  await using second = other;
  const file = openSync('/dev/null', 'r');
  try {
    const received = second.receive(soon());
    received.catch(() => undefined); // where nothing is sent
    await first.send(Uint8Array.of(1, 2, 3), [file]);
    await using message = await received;
    assert.equal(message?.fds.length, 1);
    assert.ok((message.fds[0]?.fd ?? -1) > 0);
  } finally {
    closeSync(file);
  }
}

async function cdevs(host: Host): Promise<void> {
  await using cdev = await openCdev(host.device, opening(host));
  assert.equal(identify(cdev.fd, host.roots).kind, 'cdev');
  await using iommufd = Iommufd.open(host.roots);
  await using device = await cdev.bind(iommufd);
  await using copy = device.dup();
  const options = { ...host.roots, iommufd, devId: device.devId, device: host.device };
  await using taken = VfioDevice.fromFd(copy, options);
  assert.equal(taken.name, device.name);
}

async function lists(host: Host): Promise<void> {
  const found = await listDevices(host.roots);
  assert.ok(found.some(({ address }) => address === host.device));
  // What could not be read of one is told with it.
  assert.equal(listDevicesSync(host.roots).length, found.length);
  assert.ok((await listGroups(host.roots)).length > 0);
  assert.equal(describeDevice(host.device, host.roots).address, host.device);
}

async function watching(host: Host): Promise<void> {
  const watch = watchDevices(host.roots);
  await watch[Symbol.asyncDispose]();
  // A node that does not come, for which a change of its folder is waited.
  const devRoot = join(host.folder, 'dev');
  const waiting = openCdev(host.device, { ...host.roots, devRoot, timeout: 20 });
  const error = await waiting.then(
    () => assert.fail('there is no node'),
    (reason: unknown) => reason,
  );
  if ((error as { code?: string }).code !== 'ENOENT') throw error;
}

export const scenarios: Record<string, (host: Host) => Promise<void>> = {
  'open-cdev': (host) => openAndClose(host, 'cdev'),
  'open-cdev-sync': (host) => openAndCloseSync(host, 'cdev'),
  'open-group': (host) => openAndClose(host, 'group'),
  'open-group-sync': (host) => openAndCloseSync(host, 'group'),
  'open-compat': (host) => openAndClose(host, 'compat'),
  cdev: cdevs,
  'map-cdev': mapByCdev,
  'map-group': mapByGroup,
  mmio: registers,
  interrupts,
  questions,
  sharing,
  workers,
  fleets,
  'hand-over': handOver,
  channels: pairs,
  lists,
  watching,
};
