import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, readSync, writeSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import { it } from 'mocha';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import { type DeviceInfo, VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { makeMdev } from '../support/mdev.ts';

const names = async (device: VfioDevice): Promise<string[]> =>
  (await device.feature.list()).map(({ name }) => name);

function offsetOf({ regions }: DeviceInfo, name: string): number {
  const region = regions.find((one) => one.name === name);
  assert.ok(region);
  return Number(region.offset);
}

describeLab('features', ['edu', 'mtty', 'nvme0'], (lab) => {
  it('are listed, and probed with their operations', async () => {
    await using edu = await VfioDevice.open(lab.edu);
    const found = await names(edu);
    for (const name of ['low-power-entry', 'low-power-entry-with-wakeup', 'low-power-exit']) {
      assert.ok(found.includes(name), `edu has ${name}`);
    }
    assert.ok(!found.includes('migration'));
    assert.equal(await edu.feature.probe(3), true);
    assert.equal(edu.feature.probeSync(3, 'set'), true);
    assert.equal(await edu.feature.probe(3, 'get'), false);
    assert.equal(await edu.feature.probe(9999), false);
    await using mtty = await VfioDevice.open(lab.mtty);
    const migration = (await mtty.feature.list()).find(({ name }) => name === 'migration');
    assert.deepEqual(migration, {
      index: 1,
      name: 'migration',
      since: '5.18',
      operations: ['get'],
    });
    assert.equal((await mtty.feature.get(1, 8)).length, 8);
    assert.deepEqual(mtty.feature.getSync(1, 8), await mtty.feature.get(1, 8));
  });

  it('that are lacking say since when the kernel has them', async () => {
    await using edu = await VfioDevice.open(lab.edu);
    const error = await failure(() => edu.feature.migration.support(), 'ERR_VFIO_UNSUPPORTED');
    assert.match(error.message, /has no migration: .* older than 5\.18/);
    const { feature } = edu;
    const range = { iova: 0n, length: 4096n };
    for (const attempt of [
      () => feature.migration.state(),
      () => feature.migration.setState('stop'),
      () => feature.migration.dataSize(),
      () => feature.migration.enablePrecopyInfoV2(),
      () => feature.dmaLogging.start({ pageSize: 4096, ranges: [range] }),
      () => feature.dmaLogging.report({ ...range, pageSize: 4096 }),
      () => feature.dmaLogging.stop(),
      () => feature.setBusMaster(true),
      () => feature.setVfToken('8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c'),
      () => feature.zpciError(64),
      () => feature.get(9999, 8),
      () => feature.set(10, new Uint8Array(4)),
    ]) {
      await failure(attempt, 'ERR_VFIO_UNSUPPORTED');
    }
  });

  it('log dirty pages', async () => {
    await using mtty = await VfioDevice.open(lab.mtty);
    const { dmaLogging } = mtty.feature;
    const range = { iova: 0x100000n, length: 0x100000n };
    assert.equal(await dmaLogging.start({ pageSize: 4096, ranges: [range] }), 4096);
    const dirty = await dmaLogging.report({ ...range, pageSize: 4096 });
    assert.equal(dirty.bitmap.length, 4);
    assert.deepEqual([...dirty], [], 'it does no DMA');
    await dmaLogging.stop();
  });
});

describeLab('low power', ['edu', 'nvme0', 'e1000e-port'], (lab) => {
  /** Waits until the kernel has suspended the device. */
  async function sleeping({ device }: VfioDevice): Promise<void> {
    const status = `${device.sysfsPath}/power/runtime_status`;
    while (readFileSync(status, 'utf8') !== 'suspended\n') await delay(10);
  }

  for (const name of ['edu', 'nvme0', 'e1000e-port'] as const) {
    it(`makes mapped memory fault until it is left, and nothing else: ${name}`, async () => {
      await using device = await VfioDevice.open(lab[name]);
      const { lowPower } = device.feature;
      const region = device.region('bar0');
      using bar = region.map();
      const value = bar.read32(0);
      await lowPower.enter();
      await failure(() => lowPower.enter(), 'EINVAL');
      await failure(() => bar.read32(0), 'EIO');
      await sleeping(device);
      await failure(() => bar.read32(0), 'EIO');
      await failure(() => {
        bar.write32(0, value);
      }, 'EIO');
      assert.equal(region.read32(0), value, 'a read through the kernel wakes it');
      assert.equal(device.pci.command().memory, true);
      assert.ok((await device.feature.list()).length > 0, 'an ioctl wakes it');
      await failure(() => bar.read32(0), 'EIO');
      await sleeping(device);
      await lowPower.exit();
      assert.equal(bar.read32(0), value);
      await lowPower.exit();
    });

    it(`tells of the access that wakes it, once: ${name}`, async () => {
      await using device = await VfioDevice.open(lab[name]);
      const { lowPower } = device.feature;
      const region = device.region('bar0');
      using bar = region.map();
      const value = bar.read32(0);
      let told = 0;
      lowPower.on('wakeup', () => told++);
      await lowPower.enter({ wakeup: true });
      await sleeping(device);
      await failure(() => bar.read32(0), 'EIO');
      assert.equal(told, 0, 'what faults does not wake it');
      const woken = once(lowPower, 'wakeup');
      assert.equal(region.read32(0), value);
      await woken;
      assert.equal(bar.read32(0), value, 'it has left low power by itself');
      lowPower.enterSync();
      await sleeping(device);
      lowPower.exitSync();
      assert.equal(told, 1, 'not asked for');
    });
  }

  it('is left by exit, which may be what wakes it, and by closing', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const { lowPower } = device.feature;
    lowPower.enterSync({ wakeup: true });
    await sleeping(device);
    const woken = once(lowPower, 'wakeup');
    lowPower.exitSync();
    await woken;
    await failure(() => lowPower.enter({ wakeup: 1 as never }), 'ERR_INVALID_ARG_TYPE');
    await failure(() => lowPower.enter(1 as never), 'ERR_INVALID_ARG_TYPE');
    await lowPower.enter({ wakeup: true });
    await device.close();
    await failure(() => lowPower.enter(), 'ERR_VFIO_CLOSED');
    await (await VfioDevice.open(lab.edu)).close();
  });
});

describeLab('migration', ['mtty'], (lab) => {
  const uuid = '6d747479-0000-4000-8000-0000000000ff';
  const scratch = 7;

  /** A register of the serial port that keeps what is written to it. */
  const write = (device: VfioDevice, value: number): void => {
    writeSync(device.fd, Uint8Array.of(value), 0, 1, offsetOf(device.info, 'bar0') + scratch);
  };
  const read = (device: VfioDevice): number => {
    const bytes = new Uint8Array(1);
    readSync(device.fd, bytes, 0, 1, offsetOf(device.info, 'bar0') + scratch);
    return bytes[0] ?? NaN;
  };

  it('moves an mtty’s state to another', async () => {
    using second = makeMdev(uuid, 'mtty-1');
    await using from = await VfioDevice.open(lab.mtty);
    await using to = await VfioDevice.open(second);
    write(from, 0x5a);
    write(to, 0x11);
    assert.equal(read(to), 0x11);
    const { migration } = from.feature;
    assert.equal(await migration.state(), 'running');
    assert.ok((await migration.dataSize()) > 0n);
    assert.equal(typeof (await migration.support()).p2p, 'boolean');
    const source = await migration.setState('stop-copy');
    assert.equal(await migration.state(), 'stop-copy');
    const sink = await to.feature.migration.setState('resuming');
    await pipeline(source, sink);
    await to.feature.migration.setState('running');
    await migration.setState('running');
    assert.equal(read(to), 0x5a);
    assert.equal(await to.feature.migration.state(), 'running');
  });

  it('copies beforehand, with a temporary end', async () => {
    await using from = await VfioDevice.open(lab.mtty);
    const { migration } = from.feature;
    assert.ok((await migration.support()).preCopy);
    const source = await migration.setState('pre-copy');
    const before = await source.precopyInfo();
    assert.ok(before.initialBytes > 0n);
    assert.equal(before.reinit, false);
    const chunks: Uint8Array[] = [];
    source.on('data', (bytes: Uint8Array) => chunks.push(bytes));
    await once(source, 'idle');
    const copied = BigInt(Buffer.concat(chunks).length);
    assert.equal(copied, before.initialBytes);
    assert.equal((await source.precopyInfo()).initialBytes, 0n);
    const ended = once(source, 'end');
    assert.equal(await migration.setState('stop-copy'), source);
    await ended;
    assert.ok(BigInt(Buffer.concat(chunks).length) > copied);
    await failure(() => source.precopyInfo(), 'ERR_VFIO_CLOSED');
    await migration.setState('stop');
    await migration.setState('running');
  });

  it('refuses a state that is none', async () => {
    await using to = await VfioDevice.open(lab.mtty);
    const sink = await to.feature.migration.setState('resuming');
    sink.on('error', () => undefined);
    await new Promise((resolve) => {
      sink.write(Buffer.alloc(4096, 0xff), resolve);
    });
    await assert.rejects(to.feature.migration.setState('running'));
    sink.destroy();
    await to.reset();
    assert.equal(await to.feature.migration.state(), 'running');
  });
});

describeLab('displays', ['mdpy', 'mbochs', 'edu'], (lab) => {
  it('show a plane in a region', async () => {
    await using device = await VfioDevice.open(lab.mdpy);
    const { display } = device.feature;
    assert.deepEqual(
      [await display.supports('region'), await display.supports('dmabuf')],
      [true, false],
    );
    const plane = await display.queryPlane('region');
    assert.equal(plane.format, 'XR24');
    assert.ok(plane.width >= 640 && plane.height >= 480 && plane.stride >= plane.width * 4);
    // A region beyond those that the device counts.
    assert.equal(plane.source, 16);
    await failure(() => display.queryPlane('dmabuf'), 'EINVAL');
  });

  it('show a plane in a dma-buf', async () => {
    await using device = await VfioDevice.open(lab.mbochs);
    const { display } = device.feature;
    assert.equal(await display.supports('dmabuf'), true);
    await failure(() => display.getDmabuf(4711), 'ENOENT');
    assert.equal((await display.queryPlane('dmabuf')).format, undefined, 'it is off');
    // Its registers of 16 bits: 64 by 64 points of 32 bits, enabled with a linear buffer.
    const registers = [
      [1, 64],
      [2, 64],
      [3, 32],
      [4, 0x41],
    ] as const;
    for (const [register, value] of registers) {
      const place = offsetOf(device.info, 'bar2') + 0x500 + register * 2;
      writeSync(device.fd, Uint8Array.of(value & 0xff, value >> 8), 0, 2, place);
    }
    // The first question makes mbochs allocate the buffer, which only the second finds.
    await failure(() => display.queryPlane('dmabuf'), 'ENOMEM');
    const plane = await display.queryPlane('dmabuf');
    assert.deepEqual([plane.format, plane.width, plane.height], ['XR24', 64, 64]);
    await using buffer = await display.getDmabuf(plane.source);
    const flags = readFileSync(`/proc/self/fdinfo/${buffer.fd}`, 'utf8');
    assert.match(flags, /exp_name:\s+mbochs/);
    assert.ok(parseInt(/flags:\s+(\d+)/.exec(flags)?.[1] ?? '', 8) & 0o2000000, 'close-on-exec');
    await buffer.close();
    await failure(() => buffer.fd, 'ERR_VFIO_CLOSED');
  });

  it('are none of other devices', async () => {
    await using device = await VfioDevice.open(lab.edu);
    assert.equal(await device.feature.display.supports('region'), false);
    await failure(() => device.feature.display.queryPlane('region'), 'ENOTTY');
  });
});

describeLab('ioeventfds', ['testdev', 'edu'], (lab) => {
  it('write to a region when they are signalled', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const native = binding();
    const event = native.eventfdOpen() as NativeFd;
    const eventfd = native.fdNumber(event) ?? -1;
    // The liveness register answers the complement of what was written to it.
    const liveness = { region: 'bar0', offset: 4, width: 4, value: 0x12345678, eventfd } as const;
    await device.ioeventfd(liveness);
    const bytes = Buffer.alloc(4);
    const read = (): number => {
      readSync(device.fd, bytes, 0, 4, offsetOf(device.info, 'bar0') + 4);
      return bytes.readUInt32LE();
    };
    // The device is not reset: it has what another test wrote.
    device.region('bar0').write32(4, 0);
    assert.equal(read(), 0xffffffff);
    native.eventfdWrite(event, 1);
    while (read() !== ~0x12345678 >>> 0) await setImmediate();
    await failure(() => device.ioeventfd(liveness), 'EEXIST');
    await device.ioeventfd({ ...liveness, eventfd: null });
    await failure(() => device.ioeventfd({ ...liveness, eventfd: null }), 'ENODEV');
    const none = await failure(
      () => device.ioeventfd({ ...liveness, eventfd: device.fd }),
      'EINVAL',
    );
    assert.match(none.message, /is no eventfd/);
    await failure(() => device.ioeventfd({ ...liveness, region: 'bar9' }), 'ERR_VFIO_NO_REGION');
    await failure(
      () => device.ioeventfd({ ...liveness, width: 3 as never }),
      'ERR_INVALID_ARG_VALUE',
    );
    await failure(() => device.ioeventfd({ ...liveness, offset: -1 }), 'ERR_OUT_OF_RANGE');
    native.closeSync(event);
  });
});

describeLab('dma-bufs of regions', ['nvme0'], (lab) => {
  it('are exported where the kernel does that', async () => {
    await using device = await VfioDevice.open(lab.nvme0);
    const ranges = [{ offset: 0, length: 4096 }];
    if (!(await device.feature.probe(11, 'get'))) {
      const error = await failure(
        () => device.feature.exportDmabuf(0, ranges),
        'ERR_VFIO_UNSUPPORTED',
      );
      assert.match(error.message, /older than 6\.19/);
      return;
    }
    assert.ok((await names(device)).includes('dma-buf'));
    await using buffer = await device.feature.exportDmabuf(0, ranges);
    const info = readFileSync(`/proc/self/fdinfo/${buffer.fd}`, 'utf8');
    assert.match(info, /size:\s+4096/);
    assert.match(info, /exp_name:\s+vfio/);
    await failure(() => device.feature.exportDmabuf(0, [{ offset: 1, length: 4096 }]), 'EINVAL');
  });
});
