import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, it } from 'mocha';
import { run } from '../../lib/core/steps.ts';
import { hostRootsOf } from '../../lib/host/host_roots.ts';
import { hostNeeds } from '../../lib/host/refusals.ts';
import { bindDriver } from '../../lib/index.ts';
import { inSysfs } from '../../lib/locate/find_cdev.ts';
import { vfioFailure } from '../support/errors.ts';
import { fakeHost, type FakeHost } from '../support/fake_drivers.ts';
import { skip } from '../support/skip.ts';
import { put, type Entry } from '../support/tree.ts';

const a = '0000:3b:00.0';

describe('what the host needs a device for', () => {
  let host: FakeHost;
  const make = (files: Record<string, Entry> = {}): void => {
    host = fakeHost({ [a]: { driver: 'nvme', files } });
  };
  const needs = async (): Promise<{ needs: string[]; unseen: string[] }> => {
    const roots = hostRootsOf({ ...host, devRoot: host.sysfs('dev') });
    const found = await run(hostNeeds(inSysfs({ bus: 'pci', address: a }, roots), roots));
    return { needs: found.needs.map(({ text }) => text), unseen: found.unseen };
  };
  const disk = (name: string, more: Record<string, Entry> = {}): void => {
    const folder = `devices/${a}/nvme/nvme0/${name}`;
    put(host.sysfsRoot, {
      [`class/block/${name}`]: { pointsTo: `../../${folder}` },
      [`${folder}/dev`]: '259:1\n',
      ...Object.fromEntries(Object.entries(more).map(([key, at]) => [`${folder}/${key}`, at])),
    });
  };
  const card = (name: string, more: Record<string, Entry> = {}): void => {
    const folder = `devices/${a}/net/${name}`;
    put(host.sysfsRoot, {
      [`class/net/${name}`]: { pointsTo: `../../${folder}` },
      [`${folder}/flags`]: '0x1003\n',
      [`${folder}/operstate`]: 'up\n',
      ...Object.fromEntries(Object.entries(more).map(([key, at]) => [`${folder}/${key}`, at])),
    });
  };
  const proc = (path: string, text: string): void => {
    put(host.procRoot, { [path]: text });
  };

  afterEach(() => {
    host.restore();
  });

  it('is nothing of a device that nobody uses', async () => {
    make();
    assert.deepEqual(await needs(), { needs: [], unseen: [] });
  });

  it('is a disk that is mounted, swapped to, or part of another', async () => {
    make();
    disk('nvme0n1');
    proc('self/mountinfo', '9 1 259:1 / /srv/data rw - ext4 /dev/nvme0n1 rw\n');
    assert.deepEqual((await needs()).needs, ['nvme0n1 is mounted at /srv/data']);
    proc('self/mountinfo', '1 0 0:1 / / rw - overlay overlay rw\n');
    proc('swaps', 'Filename Type\n/dev/nvme0n1 partition 1 0 -2\n');
    assert.deepEqual((await needs()).needs, ['nvme0n1 is swapped to']);
    disk('nvme0n1p1', { 'holders/dm-0/dev': '254:0\n' });
    assert.deepEqual((await needs()).needs, ['nvme0n1 is swapped to', 'nvme0n1p1 is used by dm-0']);
    proc('swaps', 'Filename\n');
    put(host.sysfsRoot, {
      'class/block/loop3': { pointsTo: '../../devices/virtual/block/loop3' },
      'devices/virtual/block/loop3/loop/backing_file': '/dev/nvme0n1\n',
    });
    assert.equal((await needs()).needs[0], 'nvme0n1 is used by loop3');
  });

  it('is a file system that the hypervisor shares, mounted or not to be seen', async () => {
    make();
    const virtio = (driver: string, more: Record<string, Entry> = {}): void => {
      const folder = `bus/pci/devices/${a}/virtio3`;
      const link = { pointsTo: `../../../virtio/drivers/${driver}` };
      put(host.sysfsRoot, {
        [`${folder}/driver`]: link,
        ...Object.fromEntries(Object.entries(more).map(([key, at]) => [`${folder}/${key}`, at])),
      });
    };
    virtio('9pnet_virtio', { mount_tag: 'rootfs' });
    const hidden =
      /^the shared file system rootfs \(9p\) is perhaps mounted, where \/proc does not/;
    assert.match((await needs()).needs.join(), hidden);
    proc('1/mountinfo', '20 1 0:20 / / rw - 9p rootfs rw,trans=virtio\n');
    const atRoot = 'the shared file system rootfs (9p) is mounted at /';
    assert.deepEqual((await needs()).needs, [atRoot]);
    const error = await vfioFailure(() => bindDriver(a, host), 'ERR_VFIO_IN_USE');
    assert.match(error.message, /rootfs \(9p\) is mounted at \//);
    host.restore();
    make();
    virtio('virtiofs');
    proc('self/mountinfo', '20 1 0:20 / /srv rw - virtiofs share rw\n');
    const unnamed = 'the shared file system virtio3 (virtiofs) is mounted at /srv';
    assert.deepEqual((await needs()).needs, [unnamed]);
    put(host.sysfsRoot, {
      'fs/virtiofs/7/device': { pointsTo: `../../../bus/pci/devices/${a}/virtio3` },
      'fs/virtiofs/7/tag': 'other\n',
    });
    assert.match((await needs()).needs.join(), /other \(virtiofs\) is perhaps mounted/);
  });

  it("is the kernel's console, and a channel that a program has open", async () => {
    make();
    const folder = `bus/pci/devices/${a}/virtio0`;
    put(host.sysfsRoot, {
      [`${folder}/driver`]: { pointsTo: '../../../virtio/drivers/virtio_console' },
      [`${folder}/virtio-ports/vport0p1/dev`]: '1:8\n',
    });
    assert.deepEqual(await needs(), { needs: [], unseen: [] });
    const fd = openSync('/dev/random', 'r');
    try {
      assert.match((await needs()).needs.join(), /^vport0p1 is open in process \d+ \(/);
    } finally {
      closeSync(fd);
    }
    proc('consoles', 'hvc0                 -W- (EC  p  )  229:0\n');
    assert.deepEqual((await needs()).needs, ['hvc0 is a console of the kernel']);
    host.restore();
    make();
    put(host.sysfsRoot, { 'class/tty/ttyS4': { pointsTo: `../../devices/${a}/tty/ttyS4` } });
    proc('consoles', 'ttyS4                -W- (EC  p a)    4:68\n');
    assert.deepEqual((await needs()).needs, ['ttyS4 is a console of the kernel']);
  });

  it('says of which disk it cannot tell', async () => {
    make();
    disk('nvme0n1');
    const { needs: none, unseen } = await needs();
    assert.deepEqual(none, []);
    assert.match(unseen.join(), /whether nvme0n1 is in use: .*\/nvme0n1 answers ENOENT/);
  });

  it('is the card of the default route, also below a bridge', async () => {
    make();
    card('eth0');
    const header = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n';
    const route = (name: string, to: string, mask: string): string =>
      `${name}\t${to}\t0100000A\t0003\t0\t0\t0\t${mask}\t0\t0\t0\n`;
    proc('net/route', header + route('eth0', '0000000A', '00FFFFFF'));
    assert.deepEqual(await needs(), { needs: [], unseen: [] });
    proc('net/route', header + route('eth0', '00000000', '00000000'));
    assert.deepEqual((await needs()).needs, ['eth0 has the default route']);
    proc('net/route', header + route('br0', '00000000', '00000000'));
    assert.deepEqual((await needs()).needs, []);
    put(host.sysfsRoot, {
      'class/net/br0': { pointsTo: '../../devices/virtual/net/br0' },
      'devices/virtual/net/br0/lower_eth0': { pointsTo: '../eth0' },
    });
    assert.deepEqual((await needs()).needs, ['eth0 (br0) has the default route']);
  });

  it('is the card of the default route of IPv6, but none to nowhere', async () => {
    make();
    card('eth0');
    const zeros = '0'.repeat(32);
    const route = (flags: string, name: string): string =>
      `${zeros} 00 ${zeros} 00 fe80${'0'.repeat(28)} 00000400 00000001 00000000 ${flags} ${name}\n`;
    proc('net/ipv6_route', route('00200200', 'lo') + route('00000200', 'eth0'));
    assert.deepEqual((await needs()).needs, []);
    proc('net/ipv6_route', route('00450003', 'eth0'));
    assert.deepEqual((await needs()).needs, ['eth0 has the default route']);
  });

  it('is a part of a bridge or a bond, if it is up', async () => {
    make();
    card('eth0', { master: { pointsTo: '../../../virtual/net/bond0' } });
    assert.deepEqual((await needs()).needs, ['eth0 is up, and a part of bond0']);
    put(host.sysfsRoot, { [`devices/${a}/net/eth0/flags`]: '0x1002\n' });
    assert.deepEqual((await needs()).needs, []);
  });

  it('is the card of this SSH connection, through sudo too', async function () {
    const [own] = Object.entries(networkInterfaces()).filter(([name]) => name !== 'lo');
    const [name = '', [address] = []] = own ?? [];
    if (address === undefined) skip(this, 'a network interface besides lo');
    make();
    card(name);
    // A process may call itself what it likes.
    const status = `Name:\tsudo\rPPid: 7\nPPid:\t${process.ppid + 1}\n`;
    proc(`${process.ppid}/status`, status);
    proc(`${process.ppid}/environ`, 'HOME=/root\0');
    proc(`${process.ppid + 1}/status`, 'Name:\tbash\nPPid:\t0\n');
    proc(
      `${process.ppid + 1}/environ`,
      `A=1\0SSH_CONNECTION=10.9.9.9 5 ${address.address} 22\0B=2\0`,
    );
    assert.deepEqual((await needs()).needs, [
      `${name} carries this SSH connection (to ${address.address})`,
    ]);
    proc(`${process.ppid + 1}/environ`, 'SSH_CONNECTION=10.9.9.9 5 192.0.2.77 22\0');
    const far = await needs();
    assert.deepEqual(far.needs, []);
    assert.match(far.unseen.join(), /no network interface has 192\.0\.2\.77/);
    proc(`${process.ppid + 1}/environ`, '');
    proc(`${process.ppid + 1}/status`, 'Name:\tsshd-session\nPPid:\t0\n');
    assert.match((await needs()).unseen.join(), /this terminal comes from sshd \(process \d+\)/);
  });

  it('is the display of the start, virtual functions, and a bridge', async () => {
    make({ boot_vga: '1\n', class: '0x030000\n' });
    assert.deepEqual((await needs()).needs, ['it is the display that the machine started with']);
    host.restore();
    make({ virtfn0: { pointsTo: '../x' }, virtfn1: { pointsTo: '../y' } });
    assert.match((await needs()).needs.join(), /^2 virtual functions of it are switched on/);
    host.restore();
    make({ class: '0x060400\n', '0000:3c:00.0/class': '0x020000\n' });
    assert.deepEqual((await needs()).needs, [
      'it is a bridge (PCI class 0604), with 0000:3c:00.0 behind it',
    ]);
  });

  it('is refused in one error, and taken by force, but no bridge', async () => {
    make({ boot_vga: '1\n' });
    const error = await vfioFailure(() => bindDriver(a, host), 'ERR_VFIO_IN_USE');
    assert.equal(error.reason, 'needed-by-host');
    assert.match(error.message, /nothing was changed.*the display that the machine started with/);
    assert.equal(host.driverOf(a), 'nvme');
    const { notes } = await bindDriver(a, { ...host, force: true });
    assert.match(notes.join(), /taken by force, .*display/);
    assert.equal(host.driverOf(a), 'vfio-pci');
    host.restore();
    make({ class: '0x060400\n' });
    const bridge = await vfioFailure(
      () => bindDriver(a, { ...host, force: true }),
      'ERR_VFIO_IN_USE',
    );
    assert.match(bridge.message, /it is a bridge/);
    assert.equal(host.driverOf(a), 'nvme');
  });

  it('is who has it open', async () => {
    make({ 'vfio-dev/vfio7/dev': '1:8\n' });
    const holder = spawn('sleep', ['600'], { stdio: [0, 'ignore', 'ignore', 'pipe'] });
    const full = spawn('sh', ['-c', 'exec 3</dev/random; echo open; exec sleep 600']);
    try {
      await once(full.stdout, 'data');
      const all = (await needs()).needs;
      assert.ok(all.includes(`process ${full.pid ?? 0} (sleep) has it open`), all.join());
      assert.ok(!all.join().includes(`process ${holder.pid ?? 0} `));
    } finally {
      for (const child of [holder, full]) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
    }
  });
});
