import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { it } from 'mocha';
import { DmaBuffer, Iommufd, VfioDevice, VfioError, type Ioas } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { Edu, KernelLog } from '../support/edu.ts';
import { failure } from '../support/errors.ts';
import { isLinux } from '../support/linux.ts';

/** The network card's packet memory in its BAR 0, which keeps what is written to it. */
const memory = 0x10000;
const size = 0x4000;
const page = 4096;

/** What edu says of itself in its first register. */
const identification = 0x010000ed;

/** The kernel exports device memory, and maps it, since 6.19. */
const hasPeers = isLinux(6, 19);

/** Two devices in one address space: one has an engine for DMA, the other has memory. */
interface Pair {
  ioas: Ioas;
  edu: VfioDevice;
  peer: VfioDevice;
  /** Has the engine take bytes from memory to `iova`. */
  put: (iova: bigint, bytes: Buffer) => Promise<void>;
  /** Has the engine take bytes from `iova` to memory. */
  get: (iova: bigint, length: number) => Promise<Buffer>;
}

describeLab('a region for other devices', ['edu', 'e1000e-port', 'edu-port', 'nvme0'], (lab) => {
  async function open(body: (pair: Pair) => Promise<void>): Promise<void> {
    await using iommufd = Iommufd.open();
    await using ioas = iommufd.createIoas();
    await using edu = await VfioDevice.open(lab.edu, { iommufd });
    await using peer = await VfioDevice.open(lab['e1000e-port'], { iommufd });
    ioas.allowIovas([{ start: 0n, last: Edu.lastIova }]);
    await edu.attach(ioas);
    await using buffer = await DmaBuffer.allocate(2 * page);
    await using mapping = await ioas.map(buffer);
    const engine = new Edu(edu);
    const shown = Buffer.from(buffer.buffer);
    const put = async (iova: bigint, bytes: Buffer): Promise<void> => {
      bytes.copy(shown);
      await engine.load(mapping.iova, bytes.length);
      await engine.store(iova, bytes.length);
    };
    const get = async (iova: bigint, length: number): Promise<Buffer> => {
      shown.fill(0xee, page);
      await engine.load(iova, length);
      await engine.store(mapping.iova + BigInt(page), length);
      return Buffer.from(shown.subarray(page, page + length));
    };
    await body({ ioas, edu, peer, put, get });
    await edu.detach();
  }

  /** So many bytes, which begin with `first`. */
  const pattern = (first: number, length: number): Buffer =>
    Buffer.from(Uint8Array.from({ length }, (_, at) => (first + at * 7) % 251));

  if (!hasPeers) {
    it('is what this kernel does not have', () =>
      open(async ({ ioas, peer }) => {
        const region = peer.region('bar0');
        for (const attempt of [() => ioas.mapRegion(region), () => ioas.mapRegionSync(region)]) {
          const error = await failure(attempt, 'ERR_VFIO_UNSUPPORTED');
          assert.match(error.message, /the memory of 0000:[\da-f:.]+: Linux 6\.19 and later do/);
        }
        assert.equal(ioas.mappings.length, 1);
      }));
    return;
  }

  it('is written and read by another device’s DMA', () =>
    open(async ({ ioas, peer, put, get }) => {
      const region = peer.region('bar0');
      await using mapping = await ioas.mapRegion(region);
      assert.deepEqual([mapping.size, mapping.mapped], [region.size, true]);
      const at = mapping.iova + BigInt(memory);
      const sent = pattern(1, 4000);
      await put(at, sent);
      assert.deepEqual(Buffer.from(region.read(memory, sent.length)), sent);
      const other = pattern(9, 4000);
      region.write(memory, other);
      assert.deepEqual(await get(at, other.length), other);
      const { iova } = mapping;
      assert.deepEqual(
        ioas.mappings.map((each) => each.iova).filter((each) => each === iova),
        [iova],
      );
      await mapping.unmap();
      await mapping.unmap();
      mapping.unmapSync();
      assert.deepEqual([mapping.mapped, ioas.mappings.length], [false, 1]);
    }));

  it('is reached where it was mapped, and nowhere else', () =>
    open(async ({ ioas, peer, put }) => {
      const log = new KernelLog();
      const region = peer.region('bar0');
      const part = { offset: memory, length: page, iova: 0x400000n } as const;
      using mapping = ioas.mapRegionSync(region, part);
      assert.deepEqual([mapping.iova, mapping.size], [part.iova, page]);
      region.write(memory, new Uint8Array(2 * page));
      await put(part.iova + BigInt(page), pattern(1, 64));
      assert.deepEqual(region.read(memory, 2 * page), new Uint8Array(2 * page));
      const faults = await log.wait((line) => line.includes('addr 0x401000'));
      assert.equal(faults.length, 1);
      await put(part.iova + BigInt(page - 64), pattern(1, 64));
      assert.deepEqual(Buffer.from(region.read(memory + page - 64, 64)), pattern(1, 64));
      const readOnly = await ioas.mapRegion(region, { ...part, iova: 0x500000n, write: false });
      await put(0x500000n, pattern(1, 64));
      assert.deepEqual(region.read(memory, 64), new Uint8Array(64));
      await readOnly.unmap();
      log.close();
    }));

  /** What takes the memory away and brings it back. Each ends where the memory answers. */
  const undoings: Record<
    string,
    (peer: VfioDevice, whileOff: () => Promise<void>) => Promise<void>
  > = {
    reset: (peer) => peer.reset(),
    'a blocking reset': (peer) => {
      peer.resetSync();
      return Promise.resolve();
    },
    'a hot reset that fails, having reset it': async (peer) => {
      // QEMU 7.2's ports say of their link that it does not come back.
      await failure(() => peer.hotReset(), 'ENOTTY');
    },
    'memory decoding that is off': async (peer, whileOff) => {
      peer.pci.setMemory(false);
      await whileOff();
      peer.pci.setMemory(true);
    },
    D3hot: async (peer, whileOff) => {
      await peer.pci.setPowerState('D3hot');
      await whileOff();
      await peer.pci.setPowerState('D0');
    },
    'a blocking D3hot': async (peer, whileOff) => {
      peer.pci.setPowerStateSync('D3hot');
      await whileOff();
      peer.pci.setPowerStateSync('D0');
    },
    'low power': async (peer, whileOff) => {
      await peer.feature.lowPower.enter();
      await whileOff();
      await peer.feature.lowPower.exit();
    },
    'low power that something ends': async (peer, whileOff) => {
      const { lowPower } = peer.feature;
      await lowPower.enter({ wakeup: true });
      await whileOff();
      const status = `${peer.device.sysfsPath}/power/runtime_status`;
      while (readFileSync(status, 'utf8') !== 'suspended\n') await delay(10);
      const woken = once(lowPower, 'wakeup');
      peer.region('bar0').read32(0);
      await woken;
    },
    'several at once': async (peer, whileOff) => {
      await peer.feature.lowPower.enter();
      peer.pci.setMemory(false);
      await peer.reset();
      await whileOff();
      peer.pci.setMemory(true);
      await whileOff();
      await peer.feature.lowPower.exit();
    },
  };

  for (const [what, undo] of Object.entries(undoings)) {
    it(`is back at the same address after ${what}`, () =>
      open(async ({ ioas, peer, put, get }) => {
        const region = peer.region('bar0');
        const whole = await ioas.mapRegion(region);
        const part = await ioas.mapRegion(region, {
          offset: memory,
          length: size,
          iova: 0x400000n,
        });
        const events: string[] = [];
        part.on('revoked', () => events.push('revoked'));
        part.on('remapped', () => events.push('remapped'));
        const back = once(part, 'remapped');
        const { iova } = whole;
        let asked = false;
        await undo(peer, async () => {
          asked = true;
          assert.deepEqual([part.mapped, part.revoked], [true, true]);
          assert.notDeepEqual(await get(part.iova, 64), pattern(3, 64));
          assert.deepEqual(events, ['revoked']);
        });
        await back;
        assert.deepEqual(events, ['revoked', 'remapped']);
        assert.equal(asked, !what.includes('reset'));
        assert.deepEqual([whole.iova, whole.revoked, part.revoked], [iova, false, false]);
        await put(part.iova, pattern(3, 64));
        assert.deepEqual(Buffer.from(region.read(memory, 64)), pattern(3, 64));
        assert.deepEqual(await get(whole.iova + BigInt(memory), 64), pattern(3, 64));
      }));
  }

  it('is back after a hot reset that succeeds', () =>
    open(async ({ ioas, edu, get }) => {
      await using other = await VfioDevice.open(lab['edu-port'], { iommufd: edu.iommufd });
      await using mapping = await ioas.mapRegion(other.region('bar0'));
      assert.equal((await get(mapping.iova, 4)).readUInt32LE(), identification);
      const back = once(mapping, 'remapped');
      await other.hotReset();
      await back;
      assert.equal((await get(mapping.iova, 4)).readUInt32LE(), identification);
    }));

  it('is refused while its device does not answer, and left alone where nothing was reset', () =>
    open(async ({ ioas, edu, peer, get }) => {
      const region = peer.region('bar0');
      peer.pci.setMemory(false);
      const error = await failure(() => ioas.mapRegion(region), 'ENODEV');
      assert.ok(error instanceof VfioError);
      assert.deepEqual(error.facts, { device: peer.device.address, region: 'bar0' });
      assert.equal(error.reason, 'region-unreachable');
      peer.pci.setMemory(true);
      await using mapping = await ioas.mapRegion(edu.region('bar0'));
      mapping.on('revoked', () => assert.fail('it has no reset'));
      await failure(() => edu.reset(), 'EINVAL');
      assert.equal((await get(mapping.iova, 4)).readUInt32LE(), identification);
    }));

  it('is mapped again when asked, after what nobody told', () =>
    open(async ({ ioas, peer, put, get }) => {
      const region = peer.region('bar0');
      const mapping = await ioas.mapRegion(region, { offset: memory, length: size });
      const config = peer.region('config');
      const command = config.read16(4);
      config.write16(4, command & ~2);
      const error = await failure(() => mapping.remap(), 'ENODEV');
      assert.match(error.message, /bar0 of .* does not answer: memory decoding is off/);
      assert.deepEqual([mapping.mapped, mapping.revoked], [true, true]);
      await peer.reset();
      assert.equal(mapping.revoked, true, 'the reset leaves it off');
      config.write16(4, command);
      await mapping.remap();
      await put(mapping.iova, pattern(5, 64));
      config.write16(4, command & ~2);
      config.write16(4, command);
      assert.equal(mapping.revoked, false, 'which nobody told');
      assert.notDeepEqual(await get(mapping.iova, 64), pattern(5, 64));
      mapping.remapSync();
      assert.deepEqual(await get(mapping.iova, 64), pattern(5, 64));
    }));

  it('is gone with what it is of and what it is in', () =>
    open(async ({ ioas, edu, peer }) => {
      const region = peer.region('bar0');
      const undone = await ioas.mapRegion(region);
      assert.equal(await ioas.unmap(undone.iova, BigInt(undone.size)), BigInt(undone.size));
      await peer.reset();
      assert.deepEqual([undone.mapped, undone.revoked], [false, false]);
      await failure(() => undone.remap(), 'ERR_VFIO_CLOSED');
      await undone.unmap();
      const other = edu.iommufd.createIoas();
      const elsewhere = await other.mapRegion(region);
      await other.close();
      assert.equal(elsewhere.mapped, false);
      await peer.reset();
      const left = await ioas.mapRegion(region);
      const blocked = await ioas.mapRegion(region);
      peer.pci.setMemory(false);
      await peer.close();
      assert.deepEqual([left.mapped, blocked.mapped, ioas.mappings.length], [false, false, 1]);
      await failure(() => ioas.mapRegion(region), 'ERR_VFIO_CLOSED');
    }));

  it('is mapped before a device is attached as well, for devices of other iommufds too', () =>
    open(async ({ peer }) => {
      await using iommufd = Iommufd.open();
      await using ioas = iommufd.createIoas();
      await using mapping = await ioas.mapRegion(peer.region('bar0'), { iova: 0x400000n });
      await using nvme = await VfioDevice.open(lab.nvme0, { iommufd });
      await nvme.attach(ioas);
      await peer.reset();
      assert.equal(mapping.revoked, false);
      await nvme.detach();
    }));

  it('is memory, and whole pages of it', () =>
    open(async ({ ioas, peer }) => {
      const attempt = (region: string, part: object) => (): unknown =>
        ioas.mapRegion(peer.region(region), part);
      await failure(attempt('config', {}), 'ERR_VFIO_NOT_MAPPABLE');
      await failure(attempt('bar2', {}), 'ERR_VFIO_NOT_MAPPABLE');
      await failure(attempt('bar0', { offset: 1 }), 'ERR_OUT_OF_RANGE');
      await failure(attempt('bar0', { length: 100 }), 'ERR_OUT_OF_RANGE');
      await failure(attempt('bar0', { offset: page, length: 0x20000 }), 'ERR_OUT_OF_RANGE');
      await failure(attempt('bar0', { read: false, write: false }), 'ERR_INVALID_ARG_VALUE');
      assert.equal(ioas.mappings.length, 1);
    }));
});
