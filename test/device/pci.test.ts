import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { decodePciConfig, VfioDevice } from '../../lib/index.ts';
import { commands } from '../../lib/cli/commands.ts';
import { run } from '../../lib/cli/run.ts';
import { describeLab, itEach } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { hasLspci } from '../support/lspci.ts';
import { compareWithLspci } from '../support/lspci_compare.ts';

async function config(...args: string[]): Promise<string> {
  let text = '';
  const out = { print: (said: string) => void (text += said), colour: false };
  const note = (said: string): never => assert.fail(said);
  assert.equal(await run(['config', ...args], commands, { ...out, note }), 0);
  return text;
}

describe('the configuration space of each device', () => {
  const title = hasLspci ? '' : ' (lspci: apt-get install -y pciutils)';
  if (!hasLspci) it.skip(`is what lspci says of it${title}`, () => undefined);
  else {
    itEach('is what lspci says of it, as VFIO shows it', async (spec) => {
      await using device = await VfioDevice.open(spec);
      const bytes = device.pci.readBytes();
      assert.ok(compareWithLspci(bytes, decodePciConfig(bytes)).size > 20);
    });

    itEach('is what lspci says of it, as sysfs shows it', async ({ bus, address }) => {
      if (bus !== 'pci') return;
      const bytes = readFileSync(`/sys/bus/pci/devices/${address}/config`);
      assert.ok(compareWithLspci(bytes, decodePciConfig(bytes)).size > 20);
      await Promise.resolve();
    });
  }

  itEach('is printed by vfio config', async ({ address, bus }) => {
    const { vendor } = JSON.parse(await config(address, '--json')) as { vendor: number };
    const id = vendor.toString(16).padStart(4, '0');
    assert.ok((await config(address)).startsWith(`${address}  [${id}:`));
    const little = `${id.slice(2)} ${id.slice(0, 2)}`;
    assert.match(await config(address, '--hex'), new RegExp(`^${address} \n00: ${little} `));
    if (bus !== 'pci') return;
    const text = await config(address, '--no-open', '--json', '--hex');
    const { bytes } = JSON.parse(text) as { bytes: string };
    const wanted = readFileSync(`/sys/bus/pci/devices/${address}/config`).toString('hex');
    assert.equal(bytes, wanted);
  });
});

describeLab('device.pci', ['edu', 'nvme0', 'e1000e-port', 'mtty'], (lab) => {
  it('has the capabilities that QEMU’s models have', async () => {
    const kinds = async (name: keyof typeof lab): Promise<string[]> => {
      await using device = await VfioDevice.open(lab[name]);
      const { capabilities, extendedCapabilities, problems } = device.pci.readConfig();
      assert.deepEqual(problems, []);
      return [...capabilities, ...extendedCapabilities].map(({ kind }) => kind);
    };
    assert.deepEqual(await kinds('edu'), ['msi']);
    assert.deepEqual(await kinds('nvme0'), ['msix', 'pcie', 'pm']);
    assert.deepEqual(await kinds('e1000e-port'), ['pm', 'msi', 'pcie', 'msix', 'aer', 'dsn']);
  });

  it('switches bus mastering, which is off after open', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const isMaster = (): boolean[] => [
      device.pci.command().busMaster,
      decodePciConfig(readFileSync(`${device.device.sysfsPath}/config`)).command.busMaster,
    ];
    assert.deepEqual(isMaster(), [false, false]);
    device.pci.setBusMaster(true);
    assert.deepEqual(isMaster(), [true, true]);
    device.pci.setBusMaster(false);
    assert.deepEqual(isMaster(), [false, false]);
  });

  it('is bus master from the start where open is told so', async () => {
    await using device = await VfioDevice.open(lab.edu, { busMaster: true });
    assert.equal(device.pci.command().busMaster, true);
    await device.close();
    using again = VfioDevice.openSync(lab.edu, { busMaster: true });
    assert.equal(again.pci.command().busMaster, true);
    again.closeSync();
    using off = VfioDevice.openSync(lab.edu, { busMaster: false });
    assert.equal(off.pci.command().busMaster, false);
  });

  it('says where a device ignores what is written, and open leaves nothing open', async () => {
    await failure(() => VfioDevice.open(lab.mtty, { busMaster: true }), 'ERR_VFIO_NOT_TAKEN');
    await failure(() => VfioDevice.openSync(lab.mtty, { busMaster: true }), 'ERR_VFIO_NOT_TAKEN');
    await using device = await VfioDevice.open(lab.mtty);
    await failure(() => {
      device.pci.setBusMaster(true);
    }, 'ERR_VFIO_NOT_TAKEN');
    await failure(() => device.pci.powerState(), 'ERR_VFIO_NO_CAPABILITY');
  });

  it('switches memory decoding, with mappings that come back', async () => {
    await using device = await VfioDevice.open(lab.edu);
    using bar = device.region('bar0').map();
    device.pci.setMemory(false);
    await failure(() => bar.read32(0), 'EIO');
    await failure(() => device.region('bar0').read32(0), 'EIO');
    device.pci.setMemory(true);
    assert.equal(bar.read32(0), 0x0100_00ed);
  });

  it('puts a device into D3hot and back', async () => {
    await using device = await VfioDevice.open(lab.nvme0);
    const { pci } = device;
    using bar = device.region('bar0').map({ size: 0x1000 });
    const version = bar.read32(8);
    assert.equal(pci.powerState(), 'D0');
    await pci.setPowerState('D3hot');
    assert.equal(pci.powerState(), 'D3hot');
    await failure(() => bar.read32(8), 'EIO');
    await failure(() => device.region('bar0').read32(8), 'EIO');
    await pci.setPowerState('D0');
    assert.equal(bar.read32(8), version);
    pci.setPowerStateSync('D3hot');
    await failure(() => bar.read32(8), 'EIO');
    pci.setPowerStateSync('D0');
    assert.equal(bar.read32(8), version);
    await failure(() => pci.setPowerState('D1'), 'ERR_VFIO_NOT_TAKEN');
    assert.equal(pci.powerState(), 'D0');
  });

  it('lacks a power state where the device does, and is refused once it is closed', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const { pci } = device;
    await failure(() => pci.powerState(), 'ERR_VFIO_NO_CAPABILITY');
    await device.close();
    await failure(() => pci.readConfig(), 'ERR_VFIO_CLOSED');
    await failure(() => pci.command(), 'ERR_VFIO_CLOSED');
  });
});
