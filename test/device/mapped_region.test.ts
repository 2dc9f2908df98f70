import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { it } from 'mocha';
import { VfioDevice, type MappedRegion } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { assertNoMore, vfioMaps } from '../support/proc.ts';

/** Of the PCI command register. */
const COMMAND = 4;
const MEMORY = 2;

/** Registers of edu. */
const edu = { id: 0, liveness: 4, factorial: 8, status: 0x20 };
const COMPUTING = 1;

describeLab('mapped regions', ['edu', 'testdev', 'e1000e-port', 'nvme0', 'mdpy'], (lab) => {
  it('are registers: edu', async () => {
    await using device = await VfioDevice.open(lab.edu);
    using bar = device.region('bar0').map();
    assert.equal(bar.read32(edu.id), 0x0100_00ed);
    for (const value of [0, 0x1234_5678, 0xffff_ffff]) {
      bar.write32(edu.liveness, value);
      assert.equal(bar.read32(edu.liveness), ~value >>> 0);
      assert.equal(device.region('bar0').read32(edu.liveness), ~value >>> 0);
    }
  });

  it('are waited for: the factorial of edu', async () => {
    await using device = await VfioDevice.open(lab.edu);
    using bar = device.region('bar0').map({ size: 0x1000 });
    bar.write32(edu.factorial, 10);
    await bar.poll32(edu.status, COMPUTING, 0, { timeout: 30_000 });
    assert.equal(bar.read32(edu.factorial), 3_628_800);
    bar.write32(edu.factorial, 5);
    bar.poll32Sync(edu.status, COMPUTING, 0, { timeout: 30_000 });
    assert.equal(bar.read32(edu.factorial), 120);
    await failure(() => bar.poll32(edu.id, 1, 0, { timeout: 20 }), 'ERR_VFIO_TIMEOUT');
  });

  it('are accessed in batches, in their order', async () => {
    await using device = await VfioDevice.open(lab.edu);
    using bar = device.region('bar0').map();
    const { id, liveness } = edu;
    bar.writeBatch32(Uint32Array.of(liveness, liveness), Uint32Array.of(1, 2));
    const values = bar.readBatch32(Uint32Array.of(id, liveness, id), new Uint32Array(3));
    assert.deepEqual([...values], [0x0100_00ed, 0xffff_fffd, 0x0100_00ed]);
    assert.deepEqual([...bar.readBlock(id, new Uint32Array(2))], [0x0100_00ed, 0xffff_fffd]);
    bar.writeBlock(liveness, Uint32Array.of(0xff));
    assert.equal(bar.read32(liveness), 0xffff_ff00);
  });

  it('have exactly the width that was asked for: an edu takes 4 bytes below 0x80', async () => {
    await using device = await VfioDevice.open(lab.edu);
    using bar = device.region('bar0').map();
    // Zeroes to widths that QEMU refuses for it, ones to the one that it refuses by itself.
    assert.deepEqual([bar.read8(0), bar.read16(0)], [0, 0]);
    assert.equal(bar.read64(0), 0xffff_ffff_ffff_ffffn);
    assert.equal(bar.read64LoHi(0) & 0xffff_ffffn, 0x0100_00edn);
    // The DMA registers take 8 as well.
    bar.write64(0x80, 0x1234_5678_9abc_def0n);
    assert.equal(bar.read64(0x80), 0x1234_5678_9abc_def0n);
  });

  it('are read and written by prepared accesses, in their order: edu', async () => {
    await using device = await VfioDevice.open(lab.edu);
    using bar = device.region('bar0').map();
    const liveness = bar.prepare([
      { op: 'read', offset: edu.id },
      { op: 'write', offset: edu.liveness },
      { op: 'read', offset: edu.liveness },
      { op: 'write', offset: 0x80, width: 64 },
      { op: 'read', offset: 0x80, width: 64 },
    ]);
    const { values, values64 } = liveness;
    for (const value of [0, 0x1234_5678, 0xffff_ffff]) {
      values[1] = value;
      values64[3] = BigInt(value) << 20n;
      liveness.run();
      assert.deepEqual([...values.subarray(0, 3)], [0x0100_00ed, value, ~value >>> 0]);
      assert.equal(values64[4], values64[3]);
      assert.equal(bar.read32(edu.liveness), ~value >>> 0);
    }
    await device.close();
    await failure(() => {
      liveness.run();
    }, 'ERR_VFIO_CLOSED');
  });

  const accesses: Record<string, (bar: MappedRegion) => unknown> = {
    read32: (bar) => bar.read32(0),
    write32: (bar) => {
      bar.write32(4, 1);
    },
    readBlock: (bar) => bar.readBlock(0, new Uint32Array(4)),
    writeBatch32: (bar) => {
      bar.writeBatch32(Uint32Array.of(4), Uint32Array.of(1));
    },
    run: (bar) => {
      bar.prepare([{ op: 'read', offset: 0 }]).run();
    },
    poll32: (bar) => bar.poll32(0, 1, 0),
    poll32Sync: (bar) => bar.poll32Sync(0, 1, 0),
  };
  for (const [name, access] of Object.entries(accesses)) {
    it(`fault as EIO while memory decoding is off, and work again: ${name}`, async () => {
      await using device = await VfioDevice.open(lab.edu);
      const config = device.region('config');
      using bar = device.region('bar0').map();
      const command = config.read16(COMMAND);
      for (let round = 0; round < 2; round++) {
        config.write16(COMMAND, command & ~MEMORY);
        await failure(() => access(bar), 'EIO');
        config.write16(COMMAND, command);
        assert.equal(bar.read32(0), 0x0100_00ed);
      }
    });
  }

  it('fault as EIO in low power: edu', async () => {
    await using device = await VfioDevice.open(lab.edu);
    using bar = device.region('bar0').map();
    assert.equal(bar.read32(0), 0x0100_00ed);
    lowPower(device, 'enter');
    await failure(() => bar.read32(0), 'EIO');
    await failure(() => bar.poll32(0, 1, 0), 'EIO');
    lowPower(device, 'exit');
    assert.equal(bar.read32(0), 0x0100_00ed);
  });

  it('are not where there are I/O ports, or nothing to map', async () => {
    const refusal = async (name: 'testdev' | 'e1000e-port', region: string): Promise<string> => {
      await using device = await VfioDevice.open(lab[name]);
      const map = (): unknown => device.region(region).map();
      return (await failure(map, 'ERR_VFIO_NOT_MAPPABLE')).message;
    };
    assert.match(
      await refusal('testdev', 'bar1'),
      /bar1 of .* cannot be mapped: it holds I\/O ports/,
    );
    assert.match(await refusal('e1000e-port', 'bar2'), /it holds I\/O ports/);
    assert.match(await refusal('e1000e-port', 'config'), /the kernel lets nothing of it be mapped/);
    assert.match(await refusal('e1000e-port', 'rom'), /the kernel lets nothing of it be mapped/);
  });

  it('never let the MSI-X table be written: nvme', async () => {
    await using device = await VfioDevice.open(lab.nvme0);
    using bar = device.region('bar0').map();
    const before = bar.read32(TABLE_OF_NVME);
    const error = await failure(() => {
      bar.write32(TABLE_OF_NVME, 1);
    }, 'ERR_OUT_OF_RANGE');
    assert.match(error.message, /outside of the MSI-X table \(0x2000 to 0x2410\)/);
    await failure(() => {
      bar.writeBlock(TABLE_OF_NVME - 4, new Uint32Array(2));
    }, 'ERR_OUT_OF_RANGE');
    await failure(() => {
      bar.writeBatch32(Uint32Array.of(TABLE_OF_NVME + 0x40c), new Uint32Array(1));
    }, 'ERR_OUT_OF_RANGE');
    await failure(() => bar.unsafeArrayBuffer(), 'ERR_VFIO_NOT_MAPPABLE');
    assert.equal(bar.read32(TABLE_OF_NVME), before);
    using registers = device.region('bar0').map({ size: 0x1000 });
    assert.equal(registers.read64(0), registers.read64LoHi(0));
    const bytes = new DataView(registers.unsafeArrayBuffer());
    assert.equal(bytes.getUint32(8, true), registers.read32(8));
  });

  it('are memory of an mdev, too: mdpy', async () => {
    await using device = await VfioDevice.open(lab.mdpy);
    const region = device.info.regions.find(({ flags }) => flags.includes('mmap'));
    assert.ok(region);
    using picture = device.region(region.index).map();
    picture.write32(0x100, 0xc0ff_ee00);
    assert.equal(picture.read32(0x100), 0xc0ff_ee00);
  });

  it('go with the device, which is free then', async () => {
    for (const close of ['close', 'closeSync'] as const) {
      const before = vfioMaps();
      const device = await VfioDevice.open(lab.edu);
      const bars = Array.from({ length: 3 }, () => device.region('bar0').map());
      const waiting = failure(
        () => bars[0]?.poll32(0, 1, 0, { timeout: 60_000 }),
        'ERR_VFIO_CLOSED',
      );
      await device[close]();
      await waiting;
      assertNoMore(vfioMaps(), before);
      for (const bar of bars) await failure(() => bar.read32(0), 'ERR_VFIO_CLOSED');
    }
  });
});

/** Where QEMU's nvme has it in its BAR; 65 vectors. */
const TABLE_OF_NVME = 0x2000;

/** VFIO_DEVICE_FEATURE, LOW_POWER_ENTRY or _EXIT, by a child that has the device's descriptor. */
function lowPower(device: VfioDevice, what: 'enter' | 'exit'): void {
  const feature = (1 << 17) | (what === 'enter' ? 3 : 5);
  const script = `
    open(my $device, '<&=', 3) or die $!;
    my $feature = pack('LL', 8, ${feature});
    ioctl($device, 0x3b75, $feature) or die $!;`;
  const stdio = ['ignore', 'ignore', 'inherit', device.fd] as const;
  const { status } = spawnSync('perl', ['-e', script], { stdio: [...stdio] });
  assert.equal(status, 0);
}
