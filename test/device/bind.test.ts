import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { after, afterEach, before, it } from 'mocha';
import {
  bindDriver,
  bindDriverSync,
  type DriverReport,
  type Finding,
  restoreDriver,
  restoreDriverSync,
  VfioDevice,
  type VfioError,
} from '../../lib/index.ts';
import { type CliRun, vfio as runHere } from '../support/cli.ts';
import { describeLab, devices, type TestDevice } from '../support/devices.ts';
import { vfioFailure } from '../support/errors.ts';
import { firstWords } from '../support/first_words.ts';
import { hasModule } from '../support/hotplug.ts';
import { withoutIommu } from '../support/iommu.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';
import { udevd, withUdevd } from '../support/udevd.ts';

// The real kernel's answers. Every device of the lab begins with vfio-pci, of which nothing is
// remembered, and the first thing that most tests do is to give it back to the host.

const main = new URL('dist/cli/main.js', root).pathname;
const holderProgram = new URL('build-test/programs/holder.js', root).pathname;

/** Runs `vfio` in this process: a new one takes more than a second to start in the lab. */
function vfio(...args: string[]): Promise<CliRun> {
  return runHere(args);
}

/** The same as people do it, where the process is what matters. */
function vfioProcess(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
}

async function json(...args: string[]): Promise<DriverReport> {
  const { status, out, err } = await vfio(...args, '--json');
  assert.equal(status, 0, err);
  return JSON.parse(out) as DriverReport;
}

const folder = (address: string): string => `/sys/bus/pci/devices/${address}`;

function driverOf(address: string): string | null {
  const link = `${folder(address)}/driver`;
  return existsSync(link) ? basename(readlinkSync(link)) : null;
}

function overrideOf(address: string): string {
  return readFileSync(`${folder(address)}/driver_override`, 'utf8').trim();
}

/** Runs a tool of the machine; throws what it said where it fails. */
function tool(program: string, ...args: string[]): string {
  const path = `/usr/sbin:/sbin:${process.env['PATH'] ?? ''}`;
  const { status, error, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, PATH: path },
  });
  if (error) throw error;
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${stderr}${stdout}`);
  return stdout;
}

function hasTool(program: string): boolean {
  return spawnSync('sh', ['-c', `PATH=/usr/sbin:/sbin:$PATH command -v ${program}`]).status === 0;
}

/** Waits until something is so; the test's own timeout bounds it. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await setTimeout(20);
}

/** What is noted of a device that is given to VFIO where no IOMMU confines it. */
function isolationNote(address: string): string {
  const note = `note: ${address} has no IOMMU: by its DMA whoever opens it reaches all memory of the machine\n`;
  return withoutIommu ? note : '';
}

const remembered = (): string[] =>
  existsSync('/run/vfio/bind')
    ? readdirSync('/run/vfio/bind').filter((name) => name.endsWith('.json'))
    : [];

/** Has vfio-pci have it again, as the lab does, whatever a test left. */
async function backToLab({ address }: TestDevice): Promise<void> {
  await bindDriver(address, { driver: 'vfio-pci', force: true });
  assert.equal(driverOf(address), 'vfio-pci');
  for (const name of remembered()) spawnSync('rm', ['-f', `/run/vfio/bind/${name}`]);
}

/** Drivers that stay loaded would take what other tests plug in. */
function unload(module: string): void {
  if (hasModule(module)) tool('modprobe', '-r', module);
}

/** Another process that has a device open. */
async function holding({ bus, address }: TestDevice): Promise<ChildProcess> {
  const child = spawn(process.execPath, [holderProgram, bus, address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await firstWords(child.stdout);
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describeLab('vfio bind and unbind', ['edu', 'testdev', 'edu-port', 'nvme0'], (lab) => {
  const edu = lab.edu.address;
  const testdev = lab.testdev.address;

  afterEach(async () => {
    for (const device of [lab.edu, lab.testdev, lab['edu-port'], lab.nvme0])
      await backToLab(device);
    unload('nvme');
  });

  for (const name of ['edu', 'testdev', 'edu-port'] as const) {
    it(`gives ${name} back to the host and to vfio-pci, in text`, async () => {
      const { address } = lab[name];
      const away = await vfio('unbind', address);
      assert.deepEqual([away.status, away.out], [0, `${address}  vfio-pci  now no driver\n`]);
      assert.match(away.err, /^note: nothing is remembered of .*: the kernel looks for a driver/m);
      assert.deepEqual([driverOf(address), overrideOf(address)], [null, '(null)']);
      const bound = await vfio('bind', address);
      assert.deepEqual(bound, {
        status: 0,
        out: `${address}  no driver  now vfio-pci\n`,
        err: isolationNote(address),
      });
      assert.deepEqual([driverOf(address), overrideOf(address)], ['vfio-pci', 'vfio-pci']);
      assert.deepEqual(remembered(), [`pci-${address}.json`]);
      const again = await vfio('bind', address);
      assert.deepEqual([again.status, again.out], [0, `${address}  vfio-pci  as it was\n`]);
      const back = await vfio('unbind', address);
      assert.deepEqual(back, { status: 0, out: `${address}  vfio-pci  now no driver\n`, err: '' });
      assert.deepEqual([driverOf(address), overrideOf(address)], [null, '(null)']);
      assert.deepEqual(remembered(), []);
    });
  }

  it('says the same as data', async () => {
    await vfio('unbind', edu);
    const report = await json('bind', edu);
    const before = { driver: null, driverOverride: null };
    const after = { driver: 'vfio-pci', driverOverride: 'vfio-pci' };
    assert.deepEqual(report.devices, [{ bus: 'pci', address: edu, before, after, changed: true }]);
    assert.deepEqual(report.steps, [
      { kind: 'write', path: `${folder(edu)}/driver_override`, text: 'vfio-pci\n' },
      { kind: 'write', path: '/sys/bus/pci/drivers/vfio-pci/bind', text: edu },
    ]);
    assert.deepEqual([report.dryRun, report.leftOut], [false, []]);
    assert.deepEqual(report.notes.length, withoutIommu ? 1 : 0);
  });

  it('changes nothing in a dry run, and says what it would', async () => {
    await vfio('unbind', edu, testdev);
    const { status, out, err } = await vfio('bind', edu, testdev, '--dry-run', '--persist');
    assert.deepEqual([status, err], [0, isolationNote(edu) + isolationNote(testdev)]);
    assert.match(out, new RegExp(`^${edu} +no driver +would go to vfio-pci$`, 'm'));
    assert.match(out, new RegExp(`^${testdev} +no driver +would go to vfio-pci$`, 'm'));
    assert.match(out, /^"vfio-pci\\n" would be written to .*driver_override$/m);
    assert.match(out, /^\/etc\/udev\/rules\.d\/70-vfio-bind-pci-.*\.rules would be written:$/m);
    assert.deepEqual([driverOf(edu), driverOf(testdev), remembered()], [null, null, []]);
  });

  it('ends with 1 where it fails, with 2 where the command line makes no sense', async () => {
    const none = await vfio('bind', '0000:7f:1f.7');
    assert.deepEqual([none.status, none.out], [1, '']);
    assert.match(none.err, /there is no device 0000:7f:1f\.7 on the bus pci/);
    for (const args of [['bind'], ['bind', 'x'], ['unbind', edu, '--timeout', 'soon']]) {
      const { status, out, err } = await vfio(...args);
      assert.deepEqual([status, out], [2, ''], err);
    }
    const driver = await vfio('bind', edu, '--driver', 'no_such_driver');
    assert.equal(driver.status, 1);
    assert.match(driver.err, /the driver no_such_driver is not to be had \(.*no_such_driver/);
    assert.equal(driverOf(edu), 'vfio-pci');
  });

  it('works in the terminal', function () {
    if (!hasTool('script')) skip(this, 'script(1)');
    const command = `'${process.execPath}' '${main}' unbind ${edu}; '${process.execPath}' '${main}' bind ${edu}`;
    const { status, stdout } = spawnSync('script', ['-qec', command, '/dev/null'], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stdout);
    assert.match(stdout, new RegExp(`${edu}  vfio-pci  now no driver\r\n`));
    assert.match(stdout, new RegExp(`${edu}  no driver  now vfio-pci\r\n`));
  });

  it('does it from programs, blocking and not', async () => {
    restoreDriverSync(edu);
    assert.equal(driverOf(edu), null);
    const { devices: changed } = bindDriverSync([edu]);
    assert.equal(changed[0]?.after.driver, 'vfio-pci');
    await restoreDriver(edu);
    assert.equal(driverOf(edu), null);
    await bindDriver({ bus: 'pci', address: edu });
    assert.equal(driverOf(edu), 'vfio-pci');
  });

  it('takes both back where the second cannot be had', async function () {
    if (!hasModule('pci-stub') && !existsSync('/sys/bus/pci/drivers/pci-stub'))
      skip(this, 'the driver pci-stub');
    await vfio('unbind', edu);
    // Without an id pci-stub takes none but by driver_override, and nvme takes no edu.
    tool('modprobe', 'nvme');
    const error = await vfioFailure(
      () => bindDriver([lab.nvme0.address, edu], { driver: 'nvme', force: true }),
      'ENODEV',
    ).catch((problem: unknown) => problem as VfioError);
    assert.match(error.message, new RegExp(`${lab.nvme0.address} is with vfio-pci again`));
    assert.equal(driverOf(lab.nvme0.address), 'vfio-pci');
    assert.deepEqual([driverOf(edu), overrideOf(edu)], [null, '(null)']);
    assert.deepEqual(remembered(), []);
  });

  it('refuses a driver that is not made for the device', async function () {
    if (!hasModule('e1000e')) skip(this, 'the module e1000e');
    const nvme = lab.nvme0.address;
    // By force e1000e brings the kernel down.
    for (const more of [[], ['--dry-run']]) {
      const { status, out, err } = await vfio('bind', nvme, '--driver', 'e1000e', ...more);
      assert.deepEqual([status, out], [1, '']);
      assert.match(
        err,
        /the module e1000e lists the devices that it drives, and .* is none of them/,
      );
      assert.match(err, /^hint: .*at the risk that the kernel crashes /m);
    }
    assert.ok(!existsSync('/sys/bus/pci/drivers/e1000e'), 'it was not loaded');
    assert.deepEqual([driverOf(nvme), remembered()], ['vfio-pci', []]);
    const made = await vfio('bind', nvme, '--driver', 'nvme');
    assert.equal(made.status, 0, made.err);
    assert.equal(driverOf(nvme), 'nvme');
  });

  it('refuses what the machine itself runs by: its root by 9p, and channels to the hypervisor', async function () {
    const shared = '0000:00:01.1';
    const channels = '0000:00:01.0';
    if (process.env['VFIO_LAB'] !== '1') skip(this, 'the lab: npm run test:lab');
    for (const [address, why] of [
      [shared, /the shared file system \w+ \(9p\) is (?:perhaps )?mounted/],
      [channels, /vport\d+p\d+ is open in process \d+ \(/],
    ] as const) {
      // A rehearsal refuses as well, and harms nobody where it does not.
      const { status, out, err } = await vfio('bind', address, '--dry-run');
      assert.deepEqual([status, out], [1, ''], out);
      assert.match(err, why);
      const told = (await vfio('doctor', address)).out;
      assert.match(told, /do not unbind anything here: the host uses/);
      assert.doesNotMatch(told, /npx vfio bind/);
    }
  });

  it('says to those who are not root that it takes root', async function () {
    const { status, stderr } = spawnSync(process.execPath, [main, 'bind', edu], {
      encoding: 'utf8',
      ...{ uid: 65_534, gid: 65_534 },
    });
    if (/MODULE_NOT_FOUND|EACCES.*main\.js/.test(stderr))
      skip(this, 'a checkout that all may read');
    assert.equal(status, 1);
    assert.match(stderr, /^vfio bind: EACCES: .*\/run\/vfio/m);
    assert.match(stderr, /^hint: .*takes root: sudo npx vfio bind /m);
    assert.ok(stderr.includes(`sudo npx vfio bind ${edu}\n`), stderr);
    assert.equal(driverOf(edu), 'vfio-pci');
    const dry = spawnSync(process.execPath, [main, 'unbind', edu, '--dry-run'], {
      encoding: 'utf8',
      ...{ uid: 65_534, gid: 65_534 },
    });
    assert.equal(dry.status, 0, dry.stderr);
    assert.match(dry.stderr, /^note: to do it takes root \(sudo\)/m);
    assert.doesNotMatch((await vfio('unbind', edu, '--dry-run')).err, /takes root/);
  });

  it('refuses a bridge, by force too', async () => {
    const port = '0000:00:04.0';
    for (const force of [[], ['--force']]) {
      const { status, out, err } = await vfio('bind', port, ...force);
      assert.deepEqual([status, out], [1, '']);
      assert.match(err, /it is a bridge \(PCI class 0604\), with .* behind it/);
      assert.match(err, /^hint: leave the bridge to the host/m);
    }
    assert.equal(driverOf(port), 'pcieport');
  });

  it('refuses what another program has open; by force it waits, and says for whom', async function () {
    if (withoutIommu) skip(this, 'an IOMMU');
    const holder = await holding(lab.edu);
    try {
      const whom = new RegExp(`process ${holder.pid ?? 0} \\(node\\) has it open`);
      const refused = await vfio('unbind', edu);
      assert.deepEqual([refused.status, refused.out], [1, '']);
      assert.match(refused.err, whom);
      assert.equal(driverOf(edu), 'vfio-pci');
      process.kill(holder.pid ?? 0, 'SIGSTOP');
      // What it asked the kernel for stays behind in its process, which ends only with the holder.
      const forced = vfioProcess('unbind', edu, '--force', '--timeout', '3000');
      assert.deepEqual([forced.status, forced.stdout], [1, '']);
      assert.match(forced.stderr, /did not answer within 3000 ms what was written to .*\/unbind/);
      assert.match(
        forced.stderr,
        new RegExp(`waits until ${edu} is let go, by process ${holder.pid ?? 0} \\(node\\)`),
      );
      assert.match(forced.stderr, /^hint: end it, or have it close the device: ps -fp \d+/m);
      const busy = await vfio('unbind', edu, '--timeout', '100');
      assert.equal(busy.status, 1);
      assert.match(busy.err, /is being taken from its driver, which waits until it is let go, by /);
      assert.match(busy.err, new RegExp(`process ${holder.pid ?? 0} \\(node\\)`));
    } finally {
      process.kill(holder.pid ?? 0, 'SIGCONT');
      await end(holder);
    }
    // Nobody is waited for any more: the kernel has ended what it was asked to do.
    await until(() => !/^DRIVER=/m.test(readFileSync(`${folder(edu)}/uevent`, 'utf8')));
    const done = await vfio('unbind', edu);
    assert.equal(done.status, 0, done.err);
    assert.equal(driverOf(edu), null);
  });

  it('asks a program that listens for the device, by force', async function () {
    if (withoutIommu) skip(this, 'an IOMMU');
    const holder = await holding(lab.edu);
    try {
      const { status, out, err } = await vfio('unbind', edu, '--force');
      assert.equal(status, 0, err);
      assert.equal(out, `${edu}  vfio-pci  now no driver\n`);
      assert.match(err, /^note: taken by force, .*: process \d+ \(node\) has it open$/m);
      assert.equal(driverOf(edu), null);
    } finally {
      await end(holder);
    }
  });

  it('leaves the bridges of a group to the host, and takes the rest of it', async function () {
    if (withoutIommu) skip(this, 'an IOMMU');
    const sata = '0000:00:1f.2';
    const report = await json('bind', sata, '--group', '--dry-run', '--force');
    const named = report.devices.map(({ address }) => address);
    assert.ok(named.includes(sata) && named.includes('0000:00:1f.3'), named.join());
    const rest = report.leftOut.map(({ address }) => address);
    assert.ok(rest.includes('0000:00:1f.0') || named.includes('0000:00:1f.0'), rest.join());
  });

  it('writes what binds at every start, and removes it', async () => {
    const rule = `/etc/udev/rules.d/70-vfio-bind-pci-${edu}.rules`;
    const { status, out } = await vfio('bind', edu, '--persist');
    assert.equal(status, 0);
    assert.match(out, new RegExp(`^${rule.replaceAll('.', '\\.')} written:$`, 'm'));
    assert.match(
      readFileSync(rule, 'utf8'),
      new RegExp(`KERNEL=="${edu}", ATTR\\{vendor\\}=="0x1234"`),
    );
    if (hasTool('udevadm') && spawnSync('udevadm', ['verify', '--help']).status === 0)
      tool('udevadm', 'verify', rule);
    const stands = await vfio('unbind', edu);
    assert.match(
      stands.err,
      new RegExp(`${rule} stands: ${edu} is given away again at the next start`),
    );
    const gone = await vfio('unbind', edu, '--persist');
    assert.equal(gone.status, 0, gone.err);
    assert.match(gone.out, new RegExp(`^${rule} removed$`, 'm'));
    assert.ok(!existsSync(rule));
  });

  it('replaces and removes no rule that it did not write, and touches no device then', async () => {
    await vfio('unbind', edu);
    const rule = `/etc/udev/rules.d/70-vfio-bind-pci-${edu}.rules`;
    mkdirSync('/etc/udev/rules.d', { recursive: true });
    writeFileSync(rule, '# theirs\n');
    try {
      for (const command of [['bind'], ['unbind'], ['bind', '--dry-run']]) {
        const { status, out, err } = await vfio(...command, edu, '--persist');
        assert.deepEqual([status, out], [1, ''], command.join(' '));
        assert.match(
          err,
          /^vfio \w+: .* is there already, and vfio bind --persist did not write it/,
        );
        assert.match(err, /^hint: look at it, and rename or remove it/m);
      }
      assert.deepEqual([driverOf(edu), overrideOf(edu), remembered()], [null, '(null)', []]);
      assert.equal(readFileSync(rule, 'utf8'), '# theirs\n');
    } finally {
      rmSync(rule);
    }
  });

  for (const [what, options, code] of [
    ['full', 'size=4k', 'ENOSPC'],
    ['read-only', 'ro', 'EROFS'],
  ] as const) {
    it(`touches no device where the file system of the rules is ${what}`, async function () {
      if (!hasTool('mount')) skip(this, 'mount');
      await vfio('unbind', edu);
      const place = '/etc/udev/rules.d';
      mkdirSync(place, { recursive: true });
      tool('mount', '-t', 'tmpfs', '-o', options, 'none', place);
      try {
        if (code === 'ENOSPC') writeFileSync(`${place}/fills`, Buffer.alloc(4096));
        const before = readdirSync(place);
        const { status, out, err } = await vfio('bind', edu, '--persist');
        assert.deepEqual([status, out], [1, ''], err);
        assert.match(err, new RegExp(`the devices are left as they are: ${code}`));
        assert.match(err, /^hint: .*; or leave out --persist$/m);
        assert.deepEqual(readdirSync(place), before);
        assert.deepEqual([driverOf(edu), overrideOf(edu), remembered()], [null, '(null)', []]);
      } finally {
        tool('umount', place);
      }
    });
  }

  it('removes the rule of a device that was pulled out, by its address alone', async () => {
    const gone = '0000:7f:1f.7';
    const rule = `/etc/udev/rules.d/70-vfio-bind-pci-${gone}.rules`;
    assert.equal((await vfio('bind', edu, '--persist')).status, 0);
    const own = `/etc/udev/rules.d/70-vfio-bind-pci-${edu}.rules`;
    writeFileSync(rule, readFileSync(own, 'utf8').replaceAll(edu, gone));
    assert.equal((await vfio('unbind', edu, '--persist')).status, 0);
    const stands = await vfio('unbind', gone);
    assert.equal(stands.status, 1);
    assert.match(stands.err, /there is no device .*; its rule .* stands/);
    const removed = await vfio('unbind', '7f:1f.7', '--persist');
    assert.deepEqual([removed.status, removed.out], [0, `${rule} removed\n`], removed.err);
    assert.ok(!existsSync(rule));
    const neither = await vfio('unbind', gone, '--persist');
    assert.equal(neither.status, 1);
    assert.match(neither.err, /there is no device .*, and no rule of vfio bind --persist for it/);
    const none = await vfio('unbind', edu, '--persist');
    assert.equal(none.status, 0, none.err);
    assert.match(
      none.err,
      /^note: there is no rule of vfio bind --persist for .*: none was removed$/m,
    );
  });

  it('has udevd bind what appears, also where vfio-pci is loaded already', async function () {
    if (udevd === undefined) skip(this, 'udev: apt-get install -y udev');
    if (process.env['VFIO_LAB'] !== '1') skip(this, 'the lab: npm run test:lab');
    for (const address of [edu, testdev])
      assert.equal((await vfio('bind', address, '--persist')).status, 0);
    // As a start has them: the rules, no driver, and nothing that is remembered in /run.
    for (const address of [edu, testdev]) assert.equal((await vfio('unbind', address)).status, 0);
    assert.deepEqual([driverOf(edu), overrideOf(edu), remembered()], [null, '(null)', []]);
    assert.ok(existsSync('/sys/bus/pci/drivers/vfio-pci'));
    await withUdevd(async (daemon) => {
      while (driverOf(edu) === null || driverOf(testdev) === null) {
        assert.equal(daemon.exitCode, null, 'udevd ended');
        for (const address of [edu, testdev]) writeFileSync(`${folder(address)}/uevent`, 'add');
        await setTimeout(200);
      }
    });
    for (const address of [edu, testdev]) {
      assert.deepEqual([driverOf(address), overrideOf(address)], ['vfio-pci', 'vfio-pci']);
      assert.equal((await vfio('unbind', address, '--persist')).status, 0);
    }
  });

  it('lets two tools at once each do its work, one after the other', async () => {
    await vfio('unbind', edu);
    const tools = ['bind', 'unbind', 'bind', 'unbind'].map((command) =>
      spawn(process.execPath, [main, command, edu], { stdio: 'ignore' }),
    );
    const ends = await Promise.all(tools.map((child) => once(child, 'exit')));
    assert.deepEqual(
      ends.map(([status]) => status as number),
      [0, 0, 0, 0],
    );
    await restoreDriver(edu, { force: true });
    assert.deepEqual([driverOf(edu), overrideOf(edu), remembered()], [null, '(null)', []]);
  });
});

describeLab('vfio bind of a mediated device', ['mtty'], (lab) => {
  it('is refused by name', async () => {
    const { status, out, err } = await vfio('bind', lab.mtty.address);
    assert.deepEqual([status, out], [1, '']);
    assert.match(err, /is a mediated device, and has its VFIO driver \(\w+\) from the moment/);
  });
});

describeLab('vfio bind of a disk', ['nvme0'], (lab) => {
  const nvme = lab.nvme0.address;
  const place = '/tmp/vfio-bind-mount';

  before(function () {
    if (!hasModule('nvme')) skip(this, 'the module nvme');
    tool('modprobe', 'nvme');
  });
  after(async () => {
    await backToLab(lab.nvme0);
    unload('nvme');
  });

  /** Gives it to nvme, and waits for its disk. */
  async function disk(): Promise<string> {
    if (driverOf(nvme) !== 'nvme') {
      const { status, err } = await vfio('unbind', nvme);
      assert.equal(status, 0, err);
      if (driverOf(nvme) === null) await vfio('bind', nvme, '--driver', 'nvme');
    }
    assert.equal(driverOf(nvme), 'nvme');
    const names = (): string[] =>
      readdirSync('/sys/class/block').filter(
        (name) =>
          /^nvme\d+n\d+$/.test(name) &&
          (readlinkSync(`/sys/class/block/${name}`).includes(nvme) || belongs(name)),
      );
    await until(() => names().length > 0 && existsSync(`/dev/${names()[0] ?? ''}`));
    return names()[0] ?? '';
  }

  /** With multipath the disk is a virtual device; its controller is the device's. */
  function belongs(name: string): boolean {
    const controllers = existsSync(`${folder(nvme)}/nvme`)
      ? readdirSync(`${folder(nvme)}/nvme`)
      : [];
    return controllers.some((controller) => name.startsWith(`${controller}n`));
  }

  async function refused(what: RegExp): Promise<void> {
    const { status, out, err } = await vfio('bind', nvme);
    assert.deepEqual([status, out], [1, ''], err);
    assert.match(err, what);
    assert.equal(driverOf(nvme), 'nvme');
    assert.deepEqual(
      remembered().filter((name) => name.includes(nvme)),
      [],
    );
  }

  it('goes there and back, and its block device is seen again', async () => {
    const name = await disk();
    const text = await vfio('bind', nvme);
    assert.deepEqual(text, { status: 0, out: `${nvme}  nvme  now vfio-pci\n`, err: '' });
    assert.ok(!existsSync(`/sys/class/block/${name}`));
    const back = await json('unbind', nvme);
    assert.deepEqual(back.devices[0]?.after, { driver: 'nvme', driverOverride: null });
    await disk();
  });

  it('is refused while a file system of it is mounted', async function () {
    if (!hasTool('mkfs.ext4') || !hasModule('ext4')) skip(this, 'mkfs.ext4 and ext4');
    const name = await disk();
    tool('modprobe', 'ext4');
    tool('mkfs.ext4', '-q', '-F', `/dev/${name}`);
    mkdirSync(place, { recursive: true });
    tool('mount', `/dev/${name}`, place);
    try {
      await refused(new RegExp(`${name} is mounted at ${place}`));
      const group = await vfio('bind', nvme, '--json');
      assert.deepEqual([group.status, group.out], [1, '']);
    } finally {
      tool('umount', place);
    }
  });

  it('is refused while it is mounted in another mount namespace only', async function () {
    if (!hasTool('unshare') || !hasTool('mkfs.ext4') || !hasModule('ext4'))
      skip(this, 'unshare, mkfs.ext4 and ext4');
    const name = await disk();
    tool('modprobe', 'ext4');
    mkdirSync(place, { recursive: true });
    tool('mkfs.ext4', '-q', '-F', `/dev/${name}`);
    const script = `mount /dev/${name} ${place} && echo mounted && exec sleep 600`;
    const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await firstWords(child.stdout);
      await refused(new RegExp(`${name} is taken by the kernel or a program`));
    } finally {
      await end(child);
    }
  });

  it('is refused while it is swapped to', async function () {
    if (!hasTool('mkswap') || !hasTool('swapon')) skip(this, 'mkswap and swapon');
    const name = await disk();
    tool('mkswap', `/dev/${name}`);
    tool('swapon', `/dev/${name}`);
    try {
      await refused(new RegExp(`${name} is swapped to`));
    } finally {
      tool('swapoff', `/dev/${name}`);
    }
  });

  it('is refused while it is a part of another, as LVM and md make it', async function () {
    if (!hasTool('dmsetup') || !hasModule('dm-mod')) skip(this, 'dmsetup and dm-mod');
    const name = await disk();
    tool('modprobe', 'dm-mod');
    const table = `0 2048 linear /dev/${name} 0`;
    tool('dmsetup', '--noudevsync', '--noudevrules', 'create', 'vfio-test', '--table', table);
    try {
      await refused(new RegExp(`${name} is used by dm-\\d+`));
    } finally {
      tool('dmsetup', '--noudevsync', '--noudevrules', 'remove', 'vfio-test');
    }
  });

  it('is refused while a loop device is over it', async function () {
    if (!hasTool('losetup') || !hasModule('loop')) skip(this, 'losetup and loop');
    const name = await disk();
    tool('modprobe', 'loop');
    const loop = tool('losetup', '--find', '--show', `/dev/${name}`).trim();
    try {
      await refused(new RegExp(`${name} is used by loop\\d+`));
    } finally {
      tool('losetup', '--detach', loop);
    }
  });

  it('is taken by force, of which it tells', async function () {
    if (!hasTool('dmsetup') || !hasModule('dm-mod')) skip(this, 'dmsetup and dm-mod');
    const name = await disk();
    const table = `0 2048 linear /dev/${name} 0`;
    tool('dmsetup', '--noudevsync', '--noudevrules', 'create', 'vfio-test', '--table', table);
    try {
      const { status, out, err } = await vfio('bind', nvme, '--force');
      assert.equal(status, 0, err);
      assert.equal(out, `${nvme}  nvme  now vfio-pci\n`);
      assert.match(err, new RegExp(`^note: taken by force, ${nvme}: ${name} is used by dm-`, 'm'));
    } finally {
      tool('dmsetup', '--noudevsync', '--noudevrules', 'remove', 'vfio-test');
    }
    await vfio('unbind', nvme);
    await disk();
  });
});

describeLab('vfio bind of a network card', ['e1000e-port'], (lab) => {
  const card = lab['e1000e-port'];
  let name = '';

  before(async function () {
    if (!hasModule('e1000e') || !hasTool('ip')) skip(this, 'the module e1000e and ip(8)');
    tool('modprobe', 'e1000e');
    const { status, err } = await vfio('unbind', card.address);
    assert.equal(status, 0, err);
    assert.equal(driverOf(card.address), 'e1000e');
    await until(() => existsSync(`${folder(card.address)}/net`));
    name = readdirSync(`${folder(card.address)}/net`)[0] ?? '';
    tool('ip', 'link', 'set', name, 'up');
    tool('ip', 'addr', 'add', '10.77.0.2/24', 'dev', name);
  });
  after(async () => {
    await backToLab(card);
    unload('e1000e');
  });

  function refused(what: RegExp, env: Record<string, string> = {}): void {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'bind', card.address], {
      encoding: 'utf8',
      env: { ...process.env, ...env },
    });
    assert.deepEqual([status, stdout], [1, ''], stderr);
    assert.match(stderr, what);
    assert.equal(driverOf(card.address), 'e1000e');
  }

  it('is refused while it has the default route', () => {
    tool('ip', 'route', 'add', 'default', 'via', '10.77.0.1', 'dev', name, 'onlink');
    try {
      refused(new RegExp(`${name} has the default route`));
    } finally {
      tool('ip', 'route', 'del', 'default');
    }
  });

  it('is refused while it has the default route of IPv6', function () {
    if (!existsSync('/proc/net/ipv6_route')) skip(this, 'IPv6');
    tool('ip', '-6', 'route', 'add', 'default', 'dev', name);
    try {
      refused(new RegExp(`${name} has the default route`));
    } finally {
      tool('ip', '-6', 'route', 'del', 'default', 'dev', name);
    }
  });

  it('is refused to whoever came over it by SSH, through sudo too', () => {
    const connection = '10.77.0.1 50000 10.77.0.2 22';
    refused(new RegExp(`${name} carries this SSH connection \\(to 10\\.77\\.0\\.2\\)`), {
      SSH_CONNECTION: connection,
    });
    const script = `env -u SSH_CONNECTION '${process.execPath}' '${main}' bind ${card.address}; exit $?`;
    const { status, stderr } = spawnSync('sh', ['-c', script], {
      encoding: 'utf8',
      env: { ...process.env, SSH_CONNECTION: connection },
    });
    assert.equal(status, 1);
    assert.match(stderr, /carries this SSH connection/);
    assert.equal(driverOf(card.address), 'e1000e');
  });

  it('is refused while it is a port of a bridge', function () {
    if (!hasModule('bridge')) skip(this, 'the module bridge');
    tool('modprobe', 'bridge');
    tool('ip', 'link', 'add', 'br77', 'type', 'bridge');
    try {
      tool('ip', 'link', 'set', name, 'master', 'br77');
      refused(new RegExp(`${name} is up, and a part of br77`));
    } finally {
      tool('ip', 'link', 'del', 'br77');
    }
  });

  it('goes there and back where nobody needs it, and its interface is seen again', async () => {
    const bound = await vfio('bind', card.address);
    assert.deepEqual([bound.status, bound.out], [0, `${card.address}  e1000e  now vfio-pci\n`]);
    assert.ok(!existsSync(`/sys/class/net/${name}`));
    const back = await vfio('unbind', card.address);
    assert.deepEqual([back.status, back.out], [0, `${card.address}  vfio-pci  now e1000e\n`]);
    await until(() => existsSync(`${folder(card.address)}/net`));
  });
});

describeLab('vfio bind that is killed at any moment', ['nvme0'], (lab) => {
  const nvme = lab.nvme0.address;
  const rounds = Number(process.env['VFIO_BIND_ROUNDS'] ?? 8);

  before(async function () {
    if (!hasModule('nvme')) skip(this, 'the module nvme');
    tool('modprobe', 'nvme');
    await vfio('unbind', nvme);
    assert.equal(driverOf(nvme), 'nvme');
  });
  after(async () => {
    await backToLab(lab.nvme0);
    unload('nvme');
  });

  /** Runs a command and kills it after so many milliseconds; answers whether it was done by then. */
  async function killed(command: string, after: number): Promise<boolean> {
    const child = spawn(process.execPath, [main, command, nvme], { stdio: 'ignore' });
    const exit = once(child, 'exit') as Promise<[number | null]>;
    await Promise.race([setTimeout(after), exit]);
    child.kill('SIGKILL');
    const [status] = await exit;
    return status === 0;
  }

  /** What the doctor says of its driver is what sysfs has, whatever is half done. */
  async function assertDoctorSees(address: string, round: string): Promise<void> {
    const { status, out, err } = await vfio('doctor', address, '--json');
    assert.ok(status === 0 || status === 1, `${round}: ${err}`);
    const { findings } = JSON.parse(out) as { findings: Finding[] };
    const said = (id: string): Finding | undefined => findings.find((each) => each.id === id);
    const [driver, override] = [driverOf(address), overrideOf(address)];
    assert.equal(said('driver')?.status, driver === 'vfio-pci' ? 'ok' : 'bad', round);
    const now = driver === null ? /has no driver/ : new RegExp(`\\b${driver}\\b`);
    assert.match(said('driver')?.what ?? '', now, round);
    const laid = override === '(null)' ? /no driver is laid down/ : /only vfio-pci may have it/;
    assert.match(said('driver-override')?.what ?? '', laid, round);
    const remembers = remembered().some((file) => file.includes(address));
    assert.equal(said('driver-before') !== undefined, remembers, round);
    // Killed before the first write, it is as it was.
    const isAsBefore = driver === 'nvme' && override === '(null)';
    const halfDone = remembers && driver !== 'vfio-pci' && !isAsBefore;
    assert.equal(said('driver-before')?.status === 'warning', halfDone, round);
  }

  it(`leaves what vfio unbind repairs (${rounds} rounds)`, async function () {
    this.timeout(120_000 + rounds * 60_000);
    // How long a whole one takes here: the kills are spread over that.
    const begin = performance.now();
    assert.equal(vfioProcess('bind', nvme).status, 0);
    const whole = performance.now() - begin;
    assert.equal((await vfio('unbind', nvme)).status, 0);
    const seen = { done: 0, killed: 0 };
    for (let round = 0; round < rounds; round++) {
      const command = round % 3 === 2 ? 'unbind' : 'bind';
      if (command === 'unbind') assert.equal((await vfio('bind', nvme)).status, 0);
      const isDone = await killed(command, Math.random() * whole * 1.2);
      seen[isDone ? 'done' : 'killed']++;
      await assertDoctorSees(nvme, `round ${round}`);
      const { status, err } = await vfio('unbind', nvme);
      assert.equal(status, 0, `round ${round}: ${err}`);
      assert.deepEqual([driverOf(nvme), overrideOf(nvme)], ['nvme', '(null)'], `round ${round}`);
      assert.deepEqual(
        remembered().filter((file) => file.includes(nvme)),
        [],
      );
    }
    assert.ok(seen.killed > 0, JSON.stringify(seen));
    assert.equal((await vfio('bind', nvme)).status, 0);
    assert.equal((await vfio('unbind', nvme)).status, 0);
  });
});

describeLab('what was bound', ['edu'], (lab) => {
  it('is opened', async function () {
    if (withoutIommu) skip(this, 'an IOMMU');
    await restoreDriver(lab.edu.address);
    await bindDriver(lab.edu.address);
    await using device = await VfioDevice.open(lab.edu);
    assert.equal(device.device.address, lab.edu.address);
    assert.ok(devices.length > 0);
  });
});
