import assert from 'node:assert/strict';

import { describe, it } from 'mocha';

import { channelFd, channelNames } from '../../lab/channels.ts';
import { deviceLines, MAX_ROOT_NVME, pciDevices } from '../../lab/devices.ts';
import { qemuArguments, type Machine } from '../../lab/qemu.ts';

function machine(changes: Partial<Machine> = {}): Machine {
  return {
    kernel: {
      lane: '6.12',
      release: 'r',
      image: '/k/vmlinux',
      initrd: '/k/initrd',
      modules: '/k/m',
    },
    accelerator: 'tcg,thread=multi',
    memoryMib: 1024,
    cpus: 2,
    append: 'intremap=off',
    rootNvme: 1,
    channels: channelNames(false, true),
    consoleLog: '/log',
    ...changes,
  };
}

/** The values of every `-option value` pair. */
function valuesOf(args: readonly string[], option: string): string[] {
  return args.flatMap((word, index) => (word === option ? [args[index + 1] ?? ''] : []));
}

describe('lab QEMU arguments', () => {
  for (const count of [0, 1, MAX_ROOT_NVME]) {
    it(`has ${count} NVMe on the root bus, each with a slot and a disk of its own`, () => {
      const args = qemuArguments(machine({ rootNvme: count }));
      const nvme = valuesOf(args, '-device').filter((value) => /^nvme,.*id=nvme\d+,/.test(value));
      assert.equal(nvme.length, count);
      const slots = nvme.map((value) => /addr=([^,]+)/.exec(value)?.[1]);
      assert.equal(new Set(slots).size, count);
      // The 1f.x functions are the chip set's.
      assert(slots.every((slot) => slot !== undefined && parseInt(slot, 16) < 0x1f));
      for (const value of nvme) {
        const disk = /drive=([^,]+)/.exec(value)?.[1];
        const drives = valuesOf(args, '-drive').filter((drive) =>
          drive.includes(`id=${disk ?? '?'},`),
        );
        assert.equal(drives.length, 1);
      }
    });
  }

  it('adds the kernel parameters that are asked for to its own', () => {
    const [parameters = ''] = valuesOf(qemuArguments(machine()), '-append');
    assert.match(parameters, /intel_iommu=on .* intremap=off$/);
  });

  it('gives every PCI device its own place', () => {
    const places = pciDevices(MAX_ROOT_NVME).map(({ slot }) => slot);
    assert.equal(new Set(places).size, places.length);
    assert(!places.some((slot) => slot.startsWith('01.')));
  });

  it('puts the IOMMU before every device it translates for', () => {
    const devices = valuesOf(qemuArguments(machine()), '-device');
    assert.match(devices[0] ?? '', /^intel-iommu,/);
  });

  it('doubles commas in paths', () => {
    const args = qemuArguments(machine({ results: '/tmp/a,b', consoleLog: '/l,og' }));
    assert(valuesOf(args, '-fsdev').some((value) => value.includes('path=/tmp/a,,b,')));
    assert(valuesOf(args, '-chardev').some((value) => value.endsWith('path=/l,,og')));
  });

  it('shares the host read-only, and results writable only if wanted', () => {
    const [host, ...others] = valuesOf(qemuArguments(machine()), '-fsdev');
    assert.match(host ?? '', /path=\/,.*readonly=on/);
    assert.deepEqual(others, []);
    const [, results] = valuesOf(qemuArguments(machine({ results: '/r' })), '-fsdev');
    assert.doesNotMatch(results ?? '', /readonly/);
  });

  it('numbers the fds of the channels in their order', () => {
    const channels = channelNames(true, true);
    const chardevs = valuesOf(qemuArguments(machine({ channels })), '-chardev').slice(1);
    const expected = channels.map((name, index) => `socket,id=${name},fd=${channelFd(index)}`);
    assert.deepEqual(chardevs, expected);
  });
});

describe('lab channels', () => {
  it('has a terminal instead of the streams it stands for', () => {
    assert(channelNames(false, true).includes('stdin'));
    const terminal = channelNames(true, false);
    assert(terminal.includes('tty'));
    assert(!terminal.some((name) => name.startsWith('std')));
    assert.deepEqual(
      channelNames(true, true).filter((name) => name.startsWith('std')),
      ['stderr'],
    );
  });
});

describe('lab devices', () => {
  it("has no kernel samples in Debian's own kernel", () => {
    assert.match(deviceLines('6.12', 1), /^mtty mtty mdev /m);
    assert.doesNotMatch(deviceLines('stock', 1), /mdev/);
  });
});
