import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { it } from 'mocha';
import { binding, type NativeMemory } from '../../lib/core/binding.ts';
import type { VfioFacts } from '../../lib/core/reasons.ts';
import {
  DmaBuffer,
  type Hwpt,
  type Ioas,
  Iommufd,
  VfioDevice,
  VfioError,
} from '../../lib/index.ts';
import { describeDevice } from '../support/devices.ts';
import { explainedFailure, failure, vfioFailure } from '../support/errors.ts';
import { isLinux } from '../support/linux.ts';
import { root } from '../support/root.ts';

const page = 4096;
const size = 16 * page;
const windowStart = 0xfee00000n;

/** The error, which has this reason. */
async function refusal(run: () => unknown, code: string, reason: string): Promise<VfioError> {
  const error = await explainedFailure(run, code);
  assert.deepEqual([error.reason, error.message.split(':')[0]], [reason, code], error.stack);
  return error;
}

describeDevice('an address space', (spec) => {
  it('maps where the caller says, and where the kernel chooses', async () => {
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    await using device = await VfioDevice.open(spec, { iommufd });
    await device.attach(ioas);
    await using buffer = await DmaBuffer.allocate(size);
    await using fixed = await ioas.map(buffer, { iova: 0x100000n });
    assert.deepEqual([fixed.iova, fixed.size, fixed.mapped], [0x100000n, size, true]);
    const chosen = ioas.mapSync(buffer, { write: false, offset: page, length: 2 * page });
    assert.ok(chosen.iova > 0n);
    assert.equal(chosen.size, 2 * page);
    assert.deepEqual(ioas.mappings, [fixed, chosen]);
    assert.deepEqual(buffer.mappings, [fixed, chosen]);
    chosen.unmapSync();
    chosen.unmapSync();
    await chosen.unmap();
    assert.equal(chosen.mapped, false);
    await Promise.all([fixed.unmap(), fixed.unmap()]);
    assert.deepEqual([ioas.mappings, buffer.mappings], [[], []]);
    assert.equal(await ioas.unmapAll(), 0n);
    await device.detach();
  });

  it('says where it can map, and that changes with what is attached', async () => {
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    assert.deepEqual(ioas.iovaRanges(), [{ start: 0n, last: 2n ** 64n - 1n }]);
    await using device = await VfioDevice.open(spec, { iommufd });
    await device.attach(ioas);
    const ranges = ioas.iovaRanges();
    assert.equal(ranges[0]?.last, windowStart - 1n);
    assert.equal(ioas.iovaAlignment, BigInt(page));
    await device.detach();
    assert.equal(ioas.iovaRanges().length, 1);
  });

  it('keeps to the ranges that are allowed', async () => {
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    await using device = await VfioDevice.open(spec, { iommufd });
    await using buffer = await DmaBuffer.allocate(size);
    const allowed = { start: 0x200000n, last: 0x20ffffn };
    ioas.allowIovas([allowed]);
    await device.attach(ioas);
    const mapping = await ioas.map(buffer);
    assert.equal(mapping.iova, allowed.start);
    const error = await refusal(() => ioas.map(buffer), 'ENOSPC', 'iova-exhausted');
    assert.match(error.message, /0x10000 bytes fit nowhere/);
    await mapping.unmap();
    await failure(() => {
      ioas.allowIovas([{ start: windowStart, last: windowStart + 0xfffffn }]);
    }, 'EADDRINUSE');
    await failure(() => {
      ioas.allowIovas([{ start: 0n, last: -1n }]);
    }, 'ERR_OUT_OF_RANGE');
    ioas.allowIovas([]);
    await device.detach();
  });

  it('copies what is mapped, here and to another', async () => {
    await using iommufd = Iommufd.open();
    await using one = iommufd.createIoas();
    await using two = iommufd.createIoas();
    await using device = await VfioDevice.open(spec, { iommufd });
    await device.attach(one);
    await using buffer = await DmaBuffer.allocate(size);
    const source = await one.map(buffer, { iova: 0x100000n, write: false });
    const copy = await two.copy(0x101000n, page, { from: one, write: false, iova: 0x7000n });
    assert.deepEqual([copy.iova, copy.size], [0x7000n, page]);
    await source.unmap();
    const again = two.copySync(0x7000n, page, { write: false });
    assert.notEqual(again.iova, copy.iova);
    await failure(() => two.copy(0x7000n, page), 'EPERM');
    await failure(() => two.copy(0x9000n, page), 'ENOENT');
    await failure(() => two.copy(0x7000n, page, { from: 3 as never }), 'ERR_INVALID_ARG_TYPE');
    assert.equal(buffer.mappings.length, 2, 'a copy is a map of the same buffer');
    await buffer.dispose();
    assert.deepEqual(two.mappings, []);
    await device.detach();
  });

  it('unmaps what lies wholly in a range, and cuts nothing', async () => {
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    await using device = await VfioDevice.open(spec, { iommufd });
    await device.attach(ioas);
    await using buffer = await DmaBuffer.allocate(size);
    const first = await ioas.map(buffer, { iova: 0x100000n });
    const second = await ioas.map(buffer, { iova: 0x200000n });
    const cut = await refusal(() => ioas.unmap(0x100000n, 0x1000n), 'ENOENT', 'not-mapped');
    assert.deepEqual(cut.facts, {
      ...{ iova: 0x100000n, length: 0x1000n },
      cut: [{ iova: 0x100000n, length: BigInt(size) }],
    });
    assert.match(cut.message, /would cut 0x100000-0x10ffff$/);
    const nothing = (): unknown => ioas.unmapSync(0x900000n, 0x1000n);
    assert.match((await refusal(nothing, 'ENOENT', 'not-mapped')).message, /0x900000-0x900fff$/);
    assert.equal(await ioas.unmap(0x100000n, 0x200000n), BigInt(2 * size));
    assert.deepEqual([first.mapped, second.mapped, ioas.mappings.length], [false, false, 0]);
    ioas.mapSync(buffer);
    assert.equal(ioas.unmapAllSync(), BigInt(size));
    await device.detach();
  });

  it('says why it does not map', async () => {
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    await using device = await VfioDevice.open(spec, { iommufd });
    await device.attach(ioas);
    await using buffer = await DmaBuffer.allocate(size);
    await using _mapped = await ioas.map(buffer, { iova: 0x100000n });
    const twice = (): unknown => ioas.map(buffer, { iova: 0x101000n });
    assert.deepEqual((await refusal(twice, 'EEXIST', 'iova-mapped')).facts, {
      ...{ iova: 0x101000n, length: BigInt(size) },
      mapped: [{ iova: 0x100000n, length: BigInt(size) }],
    });
    const crooked = (): unknown => ioas.mapSync(buffer, { iova: 0x300010n });
    await refusal(crooked, 'EINVAL', 'iova-misaligned');
    await refusal(() => ioas.map(buffer, { length: 100 }), 'EINVAL', 'iova-misaligned');
    const reserved = (): unknown => ioas.map(buffer, { iova: windowStart });
    const error = await refusal(reserved, 'EINVAL', 'iova-not-allowed');
    assert.match(error.message, /0xfee00000-0xfee0ffff is not within 0x0-0xfedfffff or /);
    await failure(() => ioas.map({ fd: 0 } as never), 'ERR_INVALID_ARG_TYPE');
    await failure(() => ioas.map(buffer, { read: false, write: false }), 'ERR_INVALID_ARG_VALUE');
    await failure(() => ioas.map(buffer, { iova: 4096 as never }), 'ERR_INVALID_ARG_TYPE');
    await failure(() => ioas.map(buffer, { offset: size }), 'ERR_OUT_OF_RANGE');
    await device.detach();
  });

  it('maps files that the kernel can pin, and says that it cannot pin others', async () => {
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    await using device = await VfioDevice.open(spec, { iommufd });
    await device.attach(ioas);
    const memory = binding().memoryAllocateSync(BigInt(size), 0, 0) as NativeMemory;
    const fd = binding().memoryFile(memory) ?? -1;
    const mapping = await ioas.map({ fd, offset: page, length: 2 * page });
    assert.equal(mapping.size, 2 * page);
    binding().memoryRelease(memory);
    await mapping.unmap();
    // Of no memfd, shmem or hugetlbfs; and an empty one has no page that could be pinned.
    writeFileSync('/tmp/vfio-test', '');
    const empty = openSync('/tmp/vfio-test', 'r+');
    const error = await failure(
      () => ioas.mapSync({ fd: empty, offset: 0, length: size }),
      iommufd.mapsFiles ? 'EINVAL' : 'EFAULT',
    );
    assert.ok(error instanceof VfioError);
    assert.equal(error.reason, 'memory-not-pinnable');
    closeSync(empty);
    await failure(() => ioas.map({ fd: empty, offset: 0, length: size }), 'EBADF');
    await failure(() => ioas.map({ fd: -1, offset: 0, length: size }), 'ERR_OUT_OF_RANGE');
    await device.detach();
  });

  it('maps memory by its address, for who sees to it that it stays', async () => {
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    await using device = await VfioDevice.open(spec, { iommufd });
    await device.attach(ioas);
    const nowhere = (): unknown => ioas.unsafeMapAddress(0x1000n, page);
    const error = await refusal(nowhere, 'EFAULT', 'memory-not-pinnable');
    assert.match(error.message, /cannot pin this address/);
    await failure(() => ioas.unsafeMapAddress(4096 as never, page), 'ERR_INVALID_ARG_TYPE');
    await device.detach();
  });

  it('is one of the device’s own iommufd, whatever number it has', async () => {
    await using device = await VfioDevice.open(spec);
    await using other = Iommufd.open();
    const asked = await refusal(() => other.hardwareInfo(device), 'ENOENT', 'other-iommufd');
    assert.match(
      asked.message,
      new RegExp(`${device.device.address} is bound to another iommufd$`),
    );
    assert.equal(device.iommufd.hardwareInfo(device).type, 'intel-vtd');
    const numbers = Array.from({ length: 4 }, () => device.iommufd.createIoas().id);
    for (let at = 0; at < 6; at++) {
      const foreign = other.createIoas();
      await refusal(() => device.attach(foreign), 'ENOENT', 'other-iommufd');
      await refusal(() => foreign.createHwpt(device), 'ENOENT', 'other-iommufd');
      if (!numbers.includes(foreign.id)) continue;
      const own = device.iommufd.createIoas();
      await failure(() => own.copy(0n, page, { from: foreign }), 'ERR_INVALID_ARG_VALUE');
    }
  });

  it('names the maps for which a device is not attached', async () => {
    await using iommufd = Iommufd.open();
    await using device = await VfioDevice.open(spec, { iommufd });
    await using buffer = await DmaBuffer.allocate(size);
    await using ioas = iommufd.createIoas();
    const early = await ioas.map(buffer, { iova: windowStart });
    const error = await refusal(() => device.attach(ioas), 'EADDRINUSE', 'iova-reserved');
    assert.match(error.message, /0xfee00000-0xfee0ffff meets 0xfee00000-0xfeefffff \(msi\) of /);
    const { overlaps } = error.facts as VfioFacts['iova-reserved'];
    assert.equal(overlaps[0]?.iova, windowStart);
    await early.unmap();
    // Nothing is pinned yet, so nothing is refused.
    const bad = await ioas.unsafeMapAddress(0x1000n, page, { iova: 0x500000n });
    const faulty = await refusal(() => device.attachSync(ioas), 'EFAULT', 'maps-not-pinnable');
    assert.equal(faulty.certainty, 'certain');
    assert.match(faulty.message, /0x500000-0x500fff$/);
    await bad.unmap();
    await device.attach(ioas);
    await device.detach();
  });

  it('has options, a page table of its own, and tells what the hardware can', async () => {
    await using iommufd = Iommufd.open();
    assert.equal(iommufd.rlimitMode, 'user');
    iommufd.rlimitMode = 'process';
    assert.equal(iommufd.rlimitMode, 'process');
    await using ioas = iommufd.createIoas();
    await using device = await VfioDevice.open(spec, { iommufd });
    await failure(() => (iommufd.rlimitMode = 'user'), 'EBUSY');
    await failure(() => (iommufd.rlimitMode = 'x' as never), 'ERR_INVALID_ARG_VALUE');
    assert.equal(ioas.hugePages, true);
    ioas.hugePages = false;
    assert.equal(ioas.hugePages, false);
    const info = iommufd.hardwareInfo(device);
    assert.equal(info.type, 'intel-vtd');
    assert.equal(info.data.length, 24);
    assert.equal(info.dirtyTracking, false);
    await using hwpt = await ioas.createHwpt(device);
    assert.ok((await device.attach(hwpt)) > 0);
    const { address } = device.device;
    const users: [Hwpt | Ioas, unknown][] = [
      [hwpt, { what: `HWPT ${hwpt.id}`, devices: [address], pageTables: [], objects: [] }],
      [ioas, { what: `IOAS ${ioas.id}`, devices: [address], pageTables: [hwpt.id], objects: [] }],
    ];
    for (const [used, facts] of users) {
      const error = await vfioFailure(() => used.close(), 'EBUSY');
      assert.deepEqual([error.reason, error.facts], ['still-attached', facts]);
    }
    await using buffer = await DmaBuffer.allocate(size);
    await using mapping = await ioas.map(buffer);
    await using other = iommufd.createIoas();
    await device.attach(other);
    await device.detach();
    await failure(() => hwpt.setDirtyTracking(true), 'ENOTSUP');
    const range = { iova: mapping.iova, length: BigInt(size) };
    await failure(() => hwpt.readDirty(range), 'ENOTSUP');
    await failure(
      () => hwpt.readDirty({ ...range, length: 2n * range.length }),
      'ERR_OUT_OF_RANGE',
    );
    await failure(() => ioas.createHwpt(device, { dirtyTracking: true }), 'ENOTSUP');
    await using faults = iommufd.createFaultQueue();
    assert.deepEqual(faults.read(), []);
    // The page tables of newer kernels take faults, though no device of the lab asks for a page.
    const withFaults = (): Promise<Hwpt> => ioas.createHwpt(device, { faultQueue: faults });
    if (iommufd.mapsFiles) await (await withFaults()).close();
    else await failure(withFaults, 'ENOTSUP');
    await failure(
      () => ioas.createHwpt(device, { faultQueue: 1 as never }),
      'ERR_INVALID_ARG_TYPE',
    );
  });

  it('has the registers of the IOMMU that is in front of a device', async () => {
    await using iommufd = Iommufd.open();
    await using device = await VfioDevice.open(spec, { iommufd });
    const { vtd, smmuv3, pasidExec, atsNotSupported } = iommufd.hardwareInfo(device);
    assert.ok(vtd);
    const said = (name: string): bigint =>
      BigInt(`0x${readFileSync(`/sys/class/iommu/dmar0/intel-iommu/${name}`, 'utf8').trim()}`);
    assert.deepEqual([vtd.capReg, vtd.ecapReg], [said('cap'), said('ecap')]);
    // What QEMU emulates: tables of 39 bits, nothing nested.
    assert.deepEqual([vtd.sagaw, vtd.mgaw, vtd.nest], [[39], 39, false]);
    assert.deepEqual([smmuv3, pasidExec], [undefined, false]);
    assert.equal(typeof atsNotSupported, 'boolean');
  });

  it('has no PASIDs where the IOMMU has none, and no nested tables', async () => {
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    await using device = await VfioDevice.open(spec, { iommufd });
    await device.attach(ioas);
    // Kernels before 6.15 know no such flag.
    const codes = ['EINVAL', 'ENOTSUP'];
    const refused = async (attempt: () => Promise<unknown>): Promise<void> => {
      await assert.rejects(attempt, ({ code }: VfioError) => codes.includes(code));
    };
    await refused(() => device.attach(ioas, { pasid: 1 }));
    if (iommufd.mapsFiles) await device.detach({ pasid: 1 });
    else await failure(() => device.detach({ pasid: 1 }), 'EINVAL');
    // Newer kernels make a page table that could serve PASIDs, whatever the IOMMU has.
    if (isLinux(7)) await (await ioas.createHwpt(device, { pasid: true })).close();
    else await refused(() => ioas.createHwpt(device, { pasid: true }));
    await refused(() => ioas.createHwpt(device, { nestParent: true }));
    await using hwpt = await ioas.createHwpt(device);
    await refused(() => hwpt.createNested(device, { type: 'arm-smmuv3', ste: [1n, 0n] }));
    await assert.rejects(
      hwpt.createViommu(device, { type: 'arm-smmuv3' }),
      // Kernels before 6.13 have no such request.
      ({ code }: VfioError) => [...codes, 'ENOTTY'].includes(code),
    );
    // The device is where it was.
    await device.detach();
  });

  it('is paid for by this process, once it says so, where all maps are of files', async () => {
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    await using device = await VfioDevice.open(spec, { iommufd });
    await device.attach(ioas);
    await using buffer = await DmaBuffer.allocate(size);
    await using _mapping = await ioas.map(buffer);
    if (iommufd.mapsFiles) await iommufd.changeProcess();
    else await failure(() => iommufd.changeProcess(), 'ENOTTY');
  });

  it('says how much this user may pin', () => {
    const library = new URL('build-test/programs/vfio.js', root).href;
    const program = `
      process.setgroups([]);
      process.setgid(65534);
      const { DmaBuffer, Iommufd, VfioDevice } = await import(${JSON.stringify(library)});
      const iommufd = Iommufd.open();
      const device = await VfioDevice.open(${JSON.stringify(spec)}, { iommufd });
      const ioas = iommufd.createIoas();
      await device.attach(ioas);
      process.setuid(65534);
      const small = await ioas.map(await DmaBuffer.allocate(4096));
      await ioas.map(await DmaBuffer.allocate(1 << 20)).catch((error) => {
        const { code, reason, certainty, facts } = error;
        console.log(code, reason, certainty, facts.needed, facts.limit, facts.pinned);
      });
      await small.unmap();`;
    // As root, who may set it.
    const shell = 'ulimit -l 64; exec "$0" --input-type=module -e "$1"';
    const child = spawnSync('sh', ['-c', shell, process.execPath, program], { encoding: 'utf8' });
    assert.equal(child.stdout, 'ENOMEM memlock-limit likely 1048576n 65536n 4096n\n', child.stderr);
  });

  it('is as before when its iommufd is closed with maps in it', async () => {
    const iommufd = Iommufd.open();
    const ioas = iommufd.createIoas();
    const buffer = await DmaBuffer.allocate(size);
    const mapping = await ioas.map(buffer);
    await iommufd.close();
    await mapping.unmap();
    await failure(() => ioas.map(buffer), 'ERR_VFIO_CLOSED');
    await failure(() => ioas.iovaRanges(), 'ERR_VFIO_CLOSED');
    buffer.disposeSync();
    await failure(() => buffer.buffer, 'ERR_VFIO_CLOSED');
  });
});
