import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'mocha';
import { VfioDevice } from '../../lib/index.ts';
import { describeLab, type TestDevice } from '../support/devices.ts';

/** As the host reads the device's own registers. */
const hostConfig = ({ address }: TestDevice): Buffer =>
  readFileSync(`/sys/bus/pci/devices/${address}/config`);

const offsetOf = (device: VfioDevice, kind: string): number => {
  const found = device.pci.readConfig().capabilities.find((each) => each.kind === kind);
  assert.ok(found, kind);
  return found.offset;
};

// What docs/vmm.md says of the kernel's part in a passed device's configuration space.
describeLab('the configuration space that a VMM shows its guest', ['edu', 'nvme0'], (lab) => {
  const { edu, nvme0 } = lab;

  it('has BARs that answer their size and keep what is written, away from the device', async () => {
    await using device = await VfioDevice.open(edu);
    const config = device.region('config');
    const own = hostConfig(edu).readUInt32LE(0x10);
    config.write32(0x10, 0xffff_ffff);
    assert.equal((~config.read32(0x10) & 0xffff_fff0) >>> 0, (0xf_ffff & ~0xf) >>> 0);
    config.write32(0x10, 0x1230_0000);
    assert.equal(config.read32(0x10), 0x1230_0000);
    assert.equal(hostConfig(edu).readUInt32LE(0x10), own);
  });

  it('keeps the interrupt line, away from the device', async () => {
    await using device = await VfioDevice.open(edu);
    const config = device.region('config');
    const own = hostConfig(edu).readUInt8(0x3c);
    config.write8(0x3c, own ^ 0x0f);
    assert.equal(config.read8(0x3c), own ^ 0x0f);
    assert.equal(hostConfig(edu).readUInt8(0x3c), own);
    assert.equal(config.read8(0x3d), 1);
  });

  it('keeps address and data of MSI to itself, and drops what enables it', async () => {
    await using device = await VfioDevice.open(edu);
    const config = device.region('config');
    const msi = offsetOf(device, 'msi');
    const own = hostConfig(edu).readUInt32LE(msi + 4);
    config.write32(msi + 4, 0xfee0_1000);
    config.write16(msi + 2, config.read16(msi + 2) | 1);
    assert.equal(config.read32(msi + 4), 0xfee0_1000);
    assert.equal(config.read16(msi + 2) & 1, 0);
    assert.equal(hostConfig(edu).readUInt32LE(msi + 4), own);
    await device.interrupt('msi').enable();
    assert.equal(hostConfig(edu).readUInt16LE(msi + 2) & 1, 1);
    await device.interrupt('msi').disable();
  });

  it('shows MSI-X and drops every write, and keeps a payload size from the device', async () => {
    await using device = await VfioDevice.open(nvme0);
    const config = device.region('config');
    const msix = offsetOf(device, 'msix');
    const control = config.read16(msix + 2);
    assert.equal(control, hostConfig(nvme0).readUInt16LE(msix + 2));
    config.write16(msix + 2, control | 0xc000);
    assert.equal(config.read16(msix + 2), control);
    const devctl = offsetOf(device, 'pcie') + 8;
    const own = hostConfig(nvme0).readUInt16LE(devctl);
    config.write16(devctl, config.read16(devctl) ^ 0x20);
    assert.equal((config.read16(devctl) ^ own) & 0xe0, 0x20);
    assert.equal(hostConfig(nvme0).readUInt16LE(devctl) & 0xe0, own & 0xe0);
  });

  it('resets by the bit for it, which takes as long as a reset', async () => {
    await using device = await VfioDevice.open(nvme0);
    const config = device.region('config');
    const devctl = offsetOf(device, 'pcie') + 8;
    const begin = performance.now();
    config.write16(devctl, config.read16(devctl) | 0x8000);
    assert.ok(performance.now() - begin >= 100);
  });
});
