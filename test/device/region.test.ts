import assert from 'node:assert/strict';
import { it } from 'mocha';
import { readFileSync } from 'node:fs';
import { VfioDevice } from '../../lib/index.ts';
import { describeLab, itEach } from '../support/devices.ts';
import { failure } from '../support/errors.ts';

/** Of the PCI command register. */
const COMMAND = 4;
const IO_AND_MEMORY = 3;

describeLab('regions', ['edu', 'e1000e-port', 'mbochs'], (lab) => {
  it('are read and written in registers: edu', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const bar = device.region('bar0');
    assert.equal(bar.size, 1 << 20);
    assert.equal(bar.read32(0), 0x0100_00ed);
    for (const value of [0, 1, 0x1234_5678, 0xffff_ffff]) {
      bar.write32(4, value);
      assert.equal(bar.read32(4), ~value >>> 0);
    }
    assert.deepEqual(bar.read(0, 4), Uint8Array.of(0xed, 0, 0, 1));
  });

  it('are the same by name and by index', async () => {
    await using device = await VfioDevice.open(lab.edu);
    assert.equal(device.region(7).read32(0), 0x11e8_1234);
    assert.equal(device.region('config').read16(0), 0x1234);
    assert.equal(device.region('config').read8(1), 0x12);
    await failure(() => device.region('bar1'), 'ERR_VFIO_NO_REGION');
    await failure(() => device.region('rom'), 'ERR_VFIO_NO_REGION');
    await failure(() => device.region('vga'), 'ERR_VFIO_NO_REGION');
  });

  it('are EIO while memory decoding is off', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const [bar, config] = [device.region('bar0'), device.region('config')];
    const command = config.read16(COMMAND);
    config.write16(COMMAND, command & ~IO_AND_MEMORY);
    const error = await failure(() => bar.read32(0), 'EIO');
    assert.match(error.message, /memory decoding is off/);
    await failure(() => {
      bar.write32(4, 0);
    }, 'EIO');
    config.write16(COMMAND, command);
    assert.equal(bar.read32(0), 0x0100_00ed);
  });

  it('are I/O ports and a ROM, too: e1000e', async () => {
    await using device = await VfioDevice.open(lab['e1000e-port']);
    const [mmio, ports] = [device.region('bar0'), device.region('bar2')];
    // IOADDR and IODATA reach the registers that the memory BAR has; STATUS is at 8.
    ports.write32(0, 8);
    assert.equal(ports.read32(4), mmio.read32(8));
    const rom = device.region('rom').read(0, 2);
    assert.deepEqual(rom, Uint8Array.of(0x55, 0xaa));
  });

  it('are found by type: the EDID of mbochs', async () => {
    await using device = await VfioDevice.open(lab.mbochs);
    const edid = device.region({ type: 1, subtype: 1 });
    // struct vfio_region_gfx_edid: edid_offset is half of the page, edid_max_size follows.
    assert.deepEqual([edid.read32(0), edid.read32(4) > 0], [0x800, true]);
    assert.equal(device.region(edid.index).name, edid.name);
  });
});

describeLab('the configuration space', ['edu'], () => {
  itEach('has the ids that sysfs says', async (spec) => {
    await using device = await VfioDevice.open(spec);
    const config = device.region('config');
    const { sysfsPath, bus } = device.device;
    if (bus !== 'pci') return;
    const said = (name: string): number => Number(readFileSync(`${sysfsPath}/${name}`, 'utf8'));
    assert.deepEqual([config.read16(0), config.read16(2)], [said('vendor'), said('device')]);
  });
});
