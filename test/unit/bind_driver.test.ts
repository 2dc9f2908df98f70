import assert from 'node:assert/strict';
import {
  existsSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, it } from 'mocha';
import { binding } from '../../lib/core/binding.ts';
import { reportText } from '../../lib/cli/bind.ts';
import {
  bindDriver,
  bindDriverSync,
  diagnose,
  type Finding,
  restoreDriver,
  restoreDriverSync,
} from '../../lib/index.ts';
import { matchesAlias, variantOf } from '../../lib/host/driver_choice.ts';
import { vfioFailure } from '../support/errors.ts';
import { fakeHost, type FakeHost, type FakePciDevice } from '../support/fake_drivers.ts';
import { put } from '../support/tree.ts';

const a = '0000:3b:00.0';
const b = '0000:3c:00.0';

describe('giving devices to drivers', () => {
  let host: FakeHost;
  const make = (devices: Record<string, FakePciDevice>, drivers?: readonly string[]): FakeHost =>
    (host = fakeHost(devices, drivers));
  const overrideOf = (address: string): string =>
    readFileSync(host.sysfs(`bus/pci/devices/${address}/driver_override`), 'utf8').trim();
  const remembered = (): string[] =>
    existsSync(`${host.runRoot}/bind`)
      ? readdirSync(`${host.runRoot}/bind`).filter((name) => !name.endsWith('.lock'))
      : [];

  afterEach(() => {
    host.restore();
  });

  for (const [way, bind, restore] of [
    ['the promise', bindDriver, restoreDriver],
    ['the blocking form', bindDriverSync, restoreDriverSync],
  ] as const) {
    it(`gives a device, remembers, and gives it back (${way})`, async () => {
      make({ [a]: { driver: 'nvme' } });
      const report = await bind(a, host);
      const before = { driver: 'nvme', driverOverride: null };
      const after = { driver: 'vfio-pci', driverOverride: 'vfio-pci' };
      const device = { bus: 'pci', address: a };
      assert.deepEqual(report.devices, [{ ...device, before, after, changed: true }]);
      assert.equal(host.driverOf(a), 'vfio-pci');
      assert.equal(overrideOf(a), 'vfio-pci');
      assert.deepEqual(remembered(), [`pci-${a}.json`]);
      const back = await restore(a, host);
      assert.deepEqual(back.devices, [{ ...device, before: after, after: before, changed: true }]);
      assert.equal(host.driverOf(a), 'nvme');
      assert.equal(overrideOf(a), '(null)');
      assert.deepEqual(remembered(), []);
    });
  }

  it('leaves a device without a driver where it had none, and its override as it was', async () => {
    make({ [a]: { files: { driver_override: 'foo\n' } } });
    await bindDriver(a, host);
    assert.equal(host.driverOf(a), 'vfio-pci');
    await restoreDriver(a, host);
    assert.equal(host.driverOf(a), undefined);
    assert.equal(overrideOf(a), 'foo');
  });

  it('changes nothing where a device is with the driver already', async () => {
    make({ [a]: { driver: 'vfio-pci' } });
    const report = await bindDriver(a, host);
    assert.deepEqual([report.devices[0]?.changed, report.steps, remembered()], [false, [], []]);
  });

  it('keeps what was remembered first', async () => {
    make({ [a]: { driver: 'nvme' } }, ['nvme', 'vfio-pci', 'other-vfio']);
    await bindDriver(a, host);
    put(host.modulesRoot, { 'modules.alias': `alias vfio_pci:v00001B36d* other_vfio\n` });
    await bindDriver(a, { ...host, driver: 'other-vfio' });
    await restoreDriver(a, host);
    assert.equal(host.driverOf(a), 'nvme');
  });

  it('takes back the first where the second fails, and says so', async () => {
    make({ [a]: { driver: 'nvme' }, [b]: { driver: 'nvme', group: 2 } }, ['nvme', 'vfio-pci']);
    writeFileSync(host.sysfs('bus/pci/drivers/vfio-pci/refuses'), `22 ${b}`);
    const refused = await vfioFailure(() => bindDriver([a, b], host), 'EINVAL');
    assert.equal(refused.reason, 'driver-not-bound');
    assert.match(refused.message, new RegExp(`${b} is with nvme again; ${a} is with nvme again$`));
    assert.equal(host.driverOf(a), 'nvme');
    assert.equal(host.driverOf(b), 'nvme');
    assert.equal(overrideOf(a), '(null)');
    assert.deepEqual(remembered(), []);
  });

  it('believes sysfs, and not that the kernel took the writes', async () => {
    make({ [a]: { driver: 'nvme' } });
    writeFileSync(host.sysfs('bus/pci/drivers/vfio-pci/ignores'), '');
    const error = await vfioFailure(() => bindDriver(a, host), 'ERR_VFIO_DRIVER_NOT_BOUND');
    const facts = { address: a, wanted: 'vfio-pci', driver: null, code: null };
    assert.deepEqual(error.facts, facts);
    assert.match(error.message, new RegExp(`${a} has no driver now, and was to have vfio-pci`));
    assert.equal(host.driverOf(a), 'nvme');
  });

  for (const [way, bind] of [
    ['the promise', bindDriver],
    ['the blocking form', bindDriverSync],
  ] as const) {
    it(`does not wait for the kernel for ever (${way})`, async () => {
      make({ [a]: { driver: 'nvme' } });
      writeFileSync(host.sysfs('bus/pci/drivers/nvme/waits'), '');
      const timeout = 3_000;
      const error = await vfioFailure(() => bind(a, { ...host, timeout }), 'ERR_VFIO_TIMEOUT');
      assert.equal(error.reason, 'kernel-waits');
      assert.match(error.path ?? '', /drivers\/nvme\/unbind$/);
      assert.match(
        error.message,
        /that is all that is known: sysfs does not show that .* is being/,
      );
      assert.doesNotMatch(error.message, /waits until|no process/);
      assert.match(
        error.message,
        new RegExp(`left as it is: sudo npx vfio unbind ${a} mends it when the kernel is done`),
      );
      // The write that waits has the lock.
      const busy = await vfioFailure(() => bind(a, { ...host, timeout: 50 }), 'ERR_VFIO_BUSY');
      assert.deepEqual(
        [busy.reason, (busy.facts as { pid: number }).pid],
        ['binding-elsewhere', process.pid],
      );
      for (const pid of waitingIn(host)) process.kill(pid, 'SIGKILL');
      writeFileSync(host.sysfs('bus/pci/drivers/nvme/waits.not'), '');
      await restoreDriver(a, host);
      assert.deepEqual([host.driverOf(a), overrideOf(a)], ['nvme', '(null)']);
    });
  }

  for (const [way, bind] of [
    ['the promise', bindDriver],
    ['the blocking form', bindDriverSync],
  ] as const) {
    it(`does not say that the kernel waits where nothing was written (${way})`, async () => {
      make({ [a]: { driver: 'nvme' } });
      // No process starts within a millisecond.
      const error = await vfioFailure(() => bind(a, { ...host, timeout: 1 }), 'ERR_VFIO_TIMEOUT');
      assert.equal(error.reason, undefined);
      assert.match(error.message, /^the 1 ms were over before .* was written to, and it will not/);
      assert.match(error.hint ?? '', /^give it more time than 1 ms/);
      assert.deepEqual([host.driverOf(a), overrideOf(a)], ['nvme', '(null)']);
    });
  }

  it('is one program at a time for a device', async () => {
    make({ [a]: { driver: 'nvme' } });
    await bindDriver(a, host);
    const fd = openSync(`${host.runRoot}/bind/pci-${a}.lock`, 'r+');
    assert.equal(binding().flock(fd), 0);
    await vfioFailure(() => restoreDriver(a, { ...host, timeout: 30 }), 'ERR_VFIO_BUSY');
    assert.equal(host.driverOf(a), 'vfio-pci');
    const waiting = restoreDriver(a, host);
    closeSync(fd);
    await waiting;
    assert.equal(host.driverOf(a), 'nvme');
  });

  it('goes on from wherever a killed program left a device', async () => {
    const record = {
      ...{ version: 1, driver: 'nvme', driverOverride: null, target: 'vfio-pci', boot: 'one' },
      ids: '0x1b36 0x0010 pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02',
    };
    const states: FakePciDevice[] = [
      { driver: 'nvme' },
      { driver: 'nvme', files: { driver_override: 'vfio-pci\n' } },
      { files: { driver_override: 'vfio-pci\n' } },
      { driver: 'vfio-pci', files: { driver_override: 'vfio-pci\n' } },
      { driver: 'vfio-pci' },
      {},
    ];
    for (const state of states) {
      make({ [a]: state });
      put(host.runRoot, { [`bind/pci-${a}.json`]: JSON.stringify(record) });
      await restoreDriver(a, host);
      assert.deepEqual(
        [host.driverOf(a), overrideOf(a)],
        ['nvme', '(null)'],
        JSON.stringify(state),
      );
      assert.deepEqual(remembered(), []);
      host.restore();
    }
  });

  it('forgets what was before another start, and refuses what it did not write', async () => {
    make({ [a]: { driver: 'vfio-pci', files: { driver_override: 'vfio-pci\n' } } });
    const record = {
      ...{ version: 1, driver: 'foo', driverOverride: null, target: 'vfio-pci', boot: 'zero' },
      ids: '0x1b36 0x0010 pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02',
    };
    put(host.runRoot, { [`bind/pci-${a}.json`]: '{"version":2}' });
    const damaged = await vfioFailure(() => restoreDriver(a, host), 'ERR_VFIO_BAD_MESSAGE');
    assert.match(
      damaged.message,
      /Remove it: sudo rm '.*\.json'\. Then sudo npx vfio unbind .* gives/,
    );
    writeFileSync(join(host.runRoot, `bind/pci-${a}.json`), JSON.stringify(record));
    const { notes } = await restoreDriver(a, host);
    assert.match(notes.join(), /nothing is remembered.*the kernel looks for a driver/);
    assert.deepEqual([host.driverOf(a), overrideOf(a)], ['nvme', '(null)']);
    const again = await restoreDriver(a, host);
    assert.match(again.notes.join(), /is with nvme, and nothing is remembered/);
    assert.equal(again.devices[0]?.changed, false);
  });

  it('looks for a driver for what has none, and names the module that is not loaded', async () => {
    make({ [a]: { files: { driver_override: 'vfio-pci\n' } } });
    const report = await restoreDriver(a, host);
    assert.deepEqual([host.driverOf(a), overrideOf(a)], ['nvme', '(null)']);
    assert.deepEqual(report.notes, [
      `nothing is remembered of ${a}: the kernel looks for a driver of the host`,
    ]);
    host.restore();
    const aliases = 'alias vfio_pci:v* vfio_pci\nalias pci:v00001B36*bc01sc08i02* nvme\n';
    const cases: [files: Record<string, string>, note: RegExp][] = [
      [{ 'modules/modules.alias': aliases }, /is not loaded; load it.*: sudo modprobe nvme$/],
      [
        { 'modules/modules.alias': aliases, 'sys/module/nvme/refcnt': '0' },
        /nvme, which is made for it, is loaded and did not take it/,
      ],
      [{}, /neither a loaded driver of the host nor a module is made for it$/],
      [
        { 'modules/modules.alias': '' },
        /modules\.alias, which would name the module .* is not there/,
      ],
    ];
    for (const [files, note] of cases) {
      make({ [a]: { driver: 'vfio-pci' } });
      writeFileSync(host.sysfs('bus/pci/drivers/nvme/ignores'), '');
      put(join(host.sysfsRoot, '..'), files);
      const { notes } = await restoreDriver(a, host);
      assert.equal(host.driverOf(a), undefined);
      assert.match(notes.at(-1) ?? '', note);
      host.restore();
    }
  });

  it('says in which order, that there is no IOMMU, and that an interface is down', async () => {
    const vf = '0000:3b:02.0';
    make({
      [a]: { driver: 'vfio-pci', files: { virtfn0: { pointsTo: `../${vf}` } } },
      [vf]: { driver: 'vfio-pci', group: 2, files: { physfn: { pointsTo: `../${a}` } } },
      [b]: { driver: 'nvme', group: null, files: { 'net/eth0/flags': '0x1002\n' } },
    });
    const { devices } = await restoreDriver([a, vf], { ...host, dryRun: true });
    assert.deepEqual(
      devices.map(({ address }) => address),
      [vf, a],
    );
    put(host.sysfsRoot, { 'module/vfio/parameters/enable_unsafe_noiommu_mode': 'Y\n' });
    const bound = await bindDriver(b, host);
    assert.match(bound.notes.join(), new RegExp(`${b} has no IOMMU: by its DMA .* all memory`));
    const back = await restoreDriver(b, host);
    assert.match(back.notes.join(), /the network interface eth0 is there again, and is down/);
  });

  it('follows no link to where it remembers', async () => {
    make({ [a]: { driver: 'nvme' } });
    const runRoot = join(host.etcRoot, 'link');
    put(host.etcRoot, { link: { pointsTo: host.runRoot } });
    const error = await vfioFailure(() => bindDriver(a, { ...host, runRoot }), 'ENOTDIR');
    assert.match(error.message, /link is a symbolic link, which is not followed/);
    assert.equal(host.driverOf(a), 'nvme');
  });

  it('says what keeps it from remembering, and that nothing was changed', async () => {
    make({ [a]: { driver: 'nvme' } });
    const runRoot = join(host.runRoot, 'file');
    writeFileSync(runRoot, '');
    const error = await vfioFailure(() => bindDriver(a, { ...host, runRoot }), 'ENOTDIR');
    assert.deepEqual([error.syscall, error.path], ['mkdir', `${runRoot}/bind`]);
    assert.match(
      error.hint ?? '',
      /is remembered in .*\/bind before anything is changed, and noth/,
    );
    assert.equal(host.driverOf(a), 'nvme');
  });

  for (const [code, errno, why, hint] of [
    ['EROFS', 30, /sysfs is mounted read-only here, as in a container$/, /on the host/],
    ['EACCES', 13, /may not write to that file of sysfs$/, /takes root/],
  ] as const) {
    it(`says what ${code} of sysfs means`, async () => {
      make({ [a]: { driver: 'nvme' } });
      writeFileSync(host.sysfs('bus/pci/drivers/vfio-pci/refuses'), `${errno}`);
      const error = await vfioFailure(() => bindDriver(a, host), code);
      assert.match(error.message.replace(/\. 0000.*/, ''), why);
      assert.match(error.hint ?? '', hint);
    });
  }

  it('takes the group, bridges aside', async () => {
    const bridge = { class: '0x060400\n' };
    make({
      [a]: { driver: 'nvme' },
      [b]: { driver: 'nvme' },
      '0000:3a:00.0': { files: bridge },
    });
    const alone = await bindDriver(a, { ...host, dryRun: true });
    assert.match(
      alone.notes.join(),
      new RegExp(`${b} is in the same IOMMU group 1, and with nvme`),
    );
    // The host does not mind who else of the group is with it.
    const back = await restoreDriver(a, { ...host, dryRun: true });
    assert.doesNotMatch(back.notes.join(), /same IOMMU group/);
    const { devices, leftOut } = await bindDriver(a, { ...host, group: true });
    assert.deepEqual(devices.map(({ address }) => address).sort(), [a, b]);
    assert.deepEqual(
      leftOut.map(({ address }) => address),
      ['0000:3a:00.0'],
    );
    await restoreDriver(a, { ...host, group: true });
    assert.deepEqual([host.driverOf(a), host.driverOf(b)], ['nvme', 'nvme']);
  });

  it('says in a dry run what it would do, and does not', async () => {
    make({ [a]: { driver: 'nvme' } }, ['nvme']);
    const report = await bindDriver(a, { ...host, dryRun: true, persist: true });
    assert.equal(
      reportText(report).replaceAll(host.sysfsRoot, '/sys').replaceAll(host.etcRoot, '/etc'),
      `${a}  nvme  would go to vfio-pci
module vfio-pci would be loaded
"vfio-pci\\n" would be written to /sys/bus/pci/devices/${a}/driver_override
"${a}" would be written to /sys/bus/pci/drivers/nvme/unbind
"${a}" would be written to /sys/bus/pci/drivers/vfio-pci/bind
/etc/udev/rules.d/70-vfio-bind-pci-${a}.rules would be written:
  # vfio bind --persist wrote this; vfio unbind --persist removes it.
  ACTION=="add", SUBSYSTEM=="pci", KERNEL=="${a}", ATTR{vendor}=="0x1b36", ATTR{device}=="0x0010", ATTR{driver_override}="vfio-pci", RUN{builtin}+="kmod load vfio-pci", RUN+="/bin/sh -c 'echo %k > /sys/bus/pci/drivers_probe'"`,
    );
    assert.equal(host.driverOf(a), 'nvme');
    assert.deepEqual(
      [readdirSync(host.runRoot), readdirSync(host.etcRoot)],
      [['.keep'], ['.keep']],
    );
  });

  it('writes the rule of --persist, says that it stands, and removes it', async () => {
    make({ [a]: { driver: 'nvme' } });
    const rule = join(host.etcRoot, `udev/rules.d/70-vfio-bind-pci-${a}.rules`);
    await bindDriver(a, { ...host, persist: true });
    assert.match(readFileSync(rule, 'utf8'), /ATTR\{driver_override\}="vfio-pci"/);
    for (const dryRun of [true, false])
      assert.deepEqual((await bindDriver(a, { ...host, persist: true, dryRun })).steps, []);
    const { notes } = await restoreDriver(a, host);
    assert.match(notes.join(), /stands: .* is given away again at the next start/);
    const { steps } = await restoreDriver(a, { ...host, persist: true });
    assert.deepEqual(steps, [{ kind: 'remove', path: rule }]);
    assert.ok(!existsSync(rule));
  });

  const rulesFolder = (): string => join(host.etcRoot, 'udev/rules.d');
  const ruleOf = (address: string): string =>
    join(rulesFolder(), `70-vfio-bind-pci-${address}.rules`);

  it('overwrites and removes no rule that it did not write, and touches no device then', async () => {
    for (const theirs of [
      '# theirs\n',
      '',
      { pointsTo: '../../target' },
      { pointsTo: '/nowhere' },
    ]) {
      make({ [a]: { driver: 'nvme' }, [b]: { driver: 'nvme', group: 2 } });
      put(host.etcRoot, { target: '# vfio bind --persist wrote this\n' });
      put(rulesFolder(), { [`70-vfio-bind-pci-${b}.rules`]: theirs });
      for (const dryRun of [true, false]) {
        const options = { ...host, persist: true, dryRun };
        for (const act of [bindDriver, restoreDriver, bindDriverSync, restoreDriverSync]) {
          const error = await vfioFailure(() => act([a, b], options), 'EEXIST');
          assert.match(
            error.message,
            /-bind-pci-0000:3c:00\.0\.rules is there already, and vfio bind --persist did not write it/,
          );
          assert.match(error.hint ?? '', /rename or remove it/);
        }
      }
      assert.deepEqual(
        [host.driverOf(a), host.driverOf(b), overrideOf(a), remembered()],
        ['nvme', 'nvme', '(null)', []],
      );
      assert.deepEqual(readdirSync(rulesFolder()), [`70-vfio-bind-pci-${b}.rules`]);
      if (typeof theirs === 'string') assert.equal(readFileSync(ruleOf(b), 'utf8'), theirs);
      assert.equal(
        readFileSync(join(host.etcRoot, 'target'), 'utf8'),
        '# vfio bind --persist wrote this\n',
      );
      host.restore();
    }
  });

  it('tries first whether a rule can be written, and leaves nothing where not', async () => {
    make({ [a]: { driver: 'nvme' } });
    put(host.etcRoot, { udev: 'no folder\n' });
    const error = await vfioFailure(() => bindDriver(a, { ...host, persist: true }), 'ENOTDIR');
    assert.match(
      error.message,
      /^the rule for every start cannot be changed, so the devices are left as they are: ENOTDIR/,
    );
    assert.match(error.hint ?? '', /rules\.d has to be a folder.*or leave out --persist$/);
    assert.deepEqual([host.driverOf(a), overrideOf(a), remembered()], ['nvme', '(null)', []]);
    assert.deepEqual(readdirSync(host.etcRoot).sort(), ['.keep', 'udev']);
  });

  it('leaves no rule, and the rule that was, where a device does not become what was asked for', async () => {
    make({ [a]: { driver: 'nvme' }, [b]: { driver: 'nvme', group: 2 } }, [
      'nvme',
      'vfio-pci',
      'other-vfio',
    ]);
    await bindDriver(b, { ...host, persist: true });
    put(host.modulesRoot, { 'modules.alias': 'alias vfio_pci:v00001B36d* other_vfio\n' });
    const before = readFileSync(ruleOf(b), 'utf8');
    writeFileSync(host.sysfs('bus/pci/drivers/other-vfio/refuses'), `22 ${b}`);
    const options = { ...host, persist: true, driver: 'other-vfio' };
    await vfioFailure(() => bindDriver([a, b], options), 'EINVAL');
    assert.deepEqual(readdirSync(rulesFolder()), [`70-vfio-bind-pci-${b}.rules`]);
    assert.equal(readFileSync(ruleOf(b), 'utf8'), before);
  });

  it('goes over what a killed command left, also where that is a link', async () => {
    make({ [a]: { driver: 'nvme' } });
    put(host.etcRoot, { target: 'kept\n' });
    put(rulesFolder(), { [`.70-vfio-bind-pci-${a}.rules.new`]: { pointsTo: '../../target' } });
    const umask = process.umask(0o077);
    try {
      await bindDriver(a, { ...host, persist: true });
    } finally {
      process.umask(umask);
    }
    assert.deepEqual(readdirSync(rulesFolder()), [`70-vfio-bind-pci-${a}.rules`]);
    assert.equal(statSync(ruleOf(a)).mode & 0o777, 0o644);
    assert.equal(readFileSync(join(host.etcRoot, 'target'), 'utf8'), 'kept\n');
  });

  it('removes the rule of a device that was pulled out, by its address alone', async () => {
    make({ [a]: { driver: 'nvme' }, [b]: { driver: 'nvme', group: 2 } });
    await bindDriver([a, b], { ...host, persist: true });
    rmSync(host.sysfs(`bus/pci/devices/${b}`), { recursive: true });
    rmSync(host.sysfs('kernel/iommu_groups/2'), { recursive: true });
    const stands = await vfioFailure(() => restoreDriver(b, host), 'ERR_VFIO_NO_DEVICE');
    assert.match(
      stands.message,
      /there is no device 0000:3c:00\.0 on the bus pci; its rule .* stands/,
    );
    assert.match(stands.hint ?? '', new RegExp(`vfio unbind --persist ${b}$`));
    const options = { ...host, persist: true };
    const tried = await restoreDriver([a, '3c:00.0'], { ...options, dryRun: true });
    assert.deepEqual(tried.steps.slice(-1), [{ kind: 'remove', path: ruleOf(b) }]);
    assert.ok(existsSync(ruleOf(b)));
    const { devices, steps, notes } = await restoreDriver([a, '3c:00.0'], options);
    assert.deepEqual(
      devices.map(({ address }) => address),
      [a],
    );
    assert.deepEqual(notes, [`${b} is not there: only its rule is removed`]);
    assert.deepEqual(
      steps.slice(-2),
      [ruleOf(a), ruleOf(b)].map((path) => ({ kind: 'remove', path })),
    );
    assert.deepEqual(readdirSync(rulesFolder()), []);
    const none = await vfioFailure(() => restoreDriver(b, options), 'ERR_VFIO_NO_DEVICE');
    assert.match(
      none.message,
      /there is no device .*, and no rule of vfio bind --persist for it \(\/.*rules\)$/,
    );
    assert.equal(none.reason, 'no-device');
  });

  it('says that there was no rule to remove', async () => {
    make({ [a]: { driver: 'nvme' } });
    await bindDriver(a, host);
    const { devices, steps, notes } = await restoreDriver(a, { ...host, persist: true });
    assert.deepEqual([devices[0]?.changed, host.driverOf(a)], [true, 'nvme']);
    assert.deepEqual(notes, [
      `there is no rule of vfio bind --persist for ${a} (${ruleOf(a)}): none was removed`,
    ]);
    assert.deepEqual(
      steps.filter(({ kind }) => kind === 'remove'),
      [],
    );
  });

  it('refuses mediated devices and buses without driver_override by name', async () => {
    make({ [a]: { driver: 'nvme' } });
    const uuid = '6d747479-0000-4000-8000-000000000001';
    put(host.sysfsRoot, {
      [`bus/mdev/devices/${uuid}/subsystem`]: { pointsTo: '../../../bus/mdev' },
      [`bus/mdev/devices/${uuid}/driver`]: { pointsTo: '../../drivers/vfio_mdev' },
      'bus/usb/devices/1-1/subsystem': { pointsTo: '../../../bus/usb' },
    });
    const mdev = await vfioFailure(() => bindDriver(uuid, host), 'ERR_VFIO_UNSUPPORTED');
    assert.match(mdev.message, /is a mediated device, and has its VFIO driver \(vfio_mdev\)/);
    const usb = { bus: 'usb', address: '1-1' };
    const other = await vfioFailure(() => bindDriver(usb, host), 'ERR_VFIO_UNSUPPORTED');
    assert.equal(other.reason, 'no-driver-override');
  });

  it('says that a driver is not to be had', async () => {
    make({ [a]: { driver: 'nvme' } });
    const options = { ...host, driver: 'no_such_driver_at_all' };
    const error = await vfioFailure(() => bindDriver(a, options), 'ERR_VFIO_DRIVER_NOT_BOUND');
    assert.equal(error.reason, 'no-such-driver');
    assert.equal(host.driverOf(a), 'nvme');
  });

  describe('a physical function with virtual ones', () => {
    const vf = '0000:3b:02.0';
    const makePf = (): FakeHost =>
      make({
        [a]: { driver: 'vfio-pci', files: { virtfn0: { pointsTo: `../${vf}` } } },
        [vf]: { driver: 'vfio-pci', group: 2, files: { 'vfio-dev/vfio7/dev': '1:8\n' } },
      });

    it('is not given back while one is open, by name of its holder; by force it is', async () => {
      makePf();
      const fd = openSync('/dev/random', 'r');
      try {
        const error = await vfioFailure(() => restoreDriver(a, host), 'ERR_VFIO_IN_USE');
        assert.match(
          error.message,
          new RegExp(`${a}: its virtual function ${vf}: this process has it open`),
        );
        assert.equal(host.driverOf(a), 'vfio-pci');
        await vfioFailure(() => restoreDriver(a, { ...host, dryRun: true }), 'ERR_VFIO_IN_USE');
        const { notes } = await restoreDriver(a, { ...host, force: true });
        assert.match(notes.join(), /taken by force, .*its virtual function .* has it open/);
        assert.equal(host.driverOf(a), 'nvme');
      } finally {
        closeSync(fd);
      }
    });

    it('is given back where none is used, and they are said to go', async () => {
      makePf();
      const { notes } = await restoreDriver(a, { ...host, dryRun: true });
      const note = `the virtual function of ${a} goes with its driver: ${vf}`;
      assert.ok(notes.includes(note), notes.join());
      assert.ok((await restoreDriver(a, host)).notes.includes(note));
      assert.equal(host.driverOf(a), 'nvme');
    });

    it('is not given to another driver, and the command that removes them is named', async () => {
      makePf();
      const options = { ...host, driver: 'nvme', force: false };
      put(host.modulesRoot, { 'modules.alias': 'alias pci:*bc01sc08i02* nvme\n' });
      const error = await vfioFailure(() => bindDriver(a, options), 'ERR_VFIO_IN_USE');
      assert.match(error.message, /1 virtual function of it is switched on/);
      assert.match(
        error.hint ?? '',
        new RegExp(`^remove the virtual functions: sudo npx vfio sriov ${a} --vfs 0; `),
      );
      const fd = openSync('/dev/random', 'r');
      try {
        const held = await vfioFailure(() => bindDriver(a, options), 'ERR_VFIO_IN_USE');
        assert.match(
          held.message,
          new RegExp(`its virtual function ${vf}: this process has it op`),
        );
        assert.match(held.hint ?? '', /^end that use first, and remove the virtual functions: /);
      } finally {
        closeSync(fd);
      }
    });

    it('names who has one open where the kernel waits for that', async () => {
      makePf();
      writeFileSync(host.sysfs('bus/pci/drivers/vfio-pci/waits.left'), '');
      const fd = openSync('/dev/random', 'r');
      try {
        const options = { ...host, force: true, timeout: 2_000 };
        const error = await vfioFailure(() => restoreDriver(a, options), 'ERR_VFIO_TIMEOUT');
        assert.match(
          error.message,
          new RegExp(`waits until ${a}, or a virtual function of it \\(${vf}\\), is let go, by `),
        );
        assert.match(error.message, /by .*this process/);
        // Sysfs shows no node any more.
        const second = { ...options, timeout: 50 };
        const busy = await vfioFailure(() => restoreDriver(a, second), 'ERR_VFIO_BUSY');
        assert.match(
          busy.message,
          new RegExp(
            `${a} is being taken from its driver, which waits until it is let go, by .*this`,
          ),
        );
        const { findings } = await diagnose(a, host);
        const found = findings.find(({ id }) => id === 'holders');
        assert.equal(found?.status, 'warning');
        assert.match(
          found.what,
          /this process.*; it is being taken from vfio-pci, which waits for t/,
        );
        // Asked without a word of who has it, as where another program unbinds it.
        for (const pid of waitingIn(host)) process.kill(pid, 'SIGKILL');
        let other: Finding | undefined = found;
        // Until the lock went with the process.
        while (other?.status === 'warning')
          other = (await diagnose(a, host)).findings.find(({ id }) => id === 'holders');
        assert.equal(other?.status, 'unknown');
        assert.match(other.mend ?? '', /deleted/);
        // The kernel is done.
        writeFileSync(host.sysfs(`bus/pci/devices/${a}/uevent`), '');
        await restoreDriver(a, host);
        assert.equal(host.driverOf(a), 'nvme');
      } finally {
        closeSync(fd);
        for (const pid of waitingIn(host)) process.kill(pid, 'SIGKILL');
      }
    });
  });

  describe('a driver that was named', () => {
    const e1000e = 'alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e\n';
    const dep = 'kernel/drivers/net/e1000e.ko.xz:\nkernel/drivers/vfio/pci/vfio-pci.ko:\n';
    const builtin = 'e1000e.license=GPL\0e1000e.alias=pci:v00008086d*\0e1000e.author=x\0';
    /** What is known of its module, and what then comes of it: null is that it is taken. */
    const cases: Record<string, [files: Record<string, string>, why: RegExp | null]> = {
      'has other models': [
        { 'modules.alias': e1000e, 'modules.dep': dep },
        /the module e1000e lists the devices that it drives, and 0000:3b:00\.0 .* is none of them/,
      ],
      'has other models, and is no module': [
        { 'modules.builtin.modinfo': builtin, 'modules.dep': 'x.ko:\n' },
        /is none of them/,
      ],
      'has none': [{ 'modules.builtin.modinfo': 'x.alias=y\0', 'modules.dep': dep }, /is none of/],
      'cannot be looked at': [
        { 'modules.alias': '' },
        /it cannot be said whether e1000e drives this device: .*modules\.alias is not there, or is e/,
      ],
      'is not among the modules': [
        { 'modules.builtin.modinfo': 'x.alias=y\0', 'modules.dep': 'x.ko:\n' },
        /lists no module e1000e/,
      ],
      'is for the model': [{ 'modules.alias': 'alias pci:v00001B36d*sv*bc01* e1000e\n' }, null],
      'is for it, and is no module': [
        { 'modules.builtin.modinfo': builtin.replace('8086', '1B36'), 'modules.dep': 'x.ko:\n' },
        null,
      ],
      'is a variant of vfio-pci for it': [
        { 'modules.alias': 'alias vfio_pci:v00001B36d*sv*bc01* e1000e\n' },
        null,
      ],
    };
    for (const [title, [files, why]] of Object.entries(cases)) {
      it(`${title}: ${why === null ? 'is taken' : 'is refused, but by force'}`, async () => {
        make({ [a]: { driver: 'nvme' } }, ['nvme', 'vfio-pci', 'e1000e']);
        put(host.modulesRoot, files);
        const options = { ...host, driver: 'e1000e' };
        if (why !== null) {
          for (const dryRun of [true, false]) {
            const error = await vfioFailure(
              () => bindDriver(a, { ...options, dryRun }),
              'ERR_VFIO_DRIVER_NOT_BOUND',
            );
            assert.equal(error.reason, 'driver-mismatch');
            assert.match(error.message, why);
            assert.match(error.hint ?? '', /at the risk that the kernel crashes/);
          }
          assert.deepEqual([host.driverOf(a), overrideOf(a), remembered()], ['nvme', '(null)', []]);
        }
        const { notes } = await bindDriver(a, { ...options, force: why !== null });
        assert.equal(host.driverOf(a), 'e1000e');
        const expected = why === null ? /^$/ : /^taken by force, .* may crash the kernel$/;
        assert.match(notes.join(), expected);
      });
    }

    it('is taken where the device had it before, or where it only holds devices', async () => {
      make({ [a]: { driver: 'nvme' } }, ['nvme', 'vfio-pci', 'pci-stub']);
      await bindDriver(a, host);
      await bindDriver(a, { ...host, driver: 'nvme' });
      assert.equal(host.driverOf(a), 'nvme');
      await bindDriver(a, { ...host, driver: 'pci-stub' });
      await bindDriver(a, { ...host, driver: 'vfio_pci' });
      assert.equal(host.driverOf(a), 'vfio-pci');
    });

    it('is refused before its module is loaded', async () => {
      make({ [a]: { driver: 'nvme' } });
      put(host.modulesRoot, { 'modules.alias': e1000e });
      const options = { ...host, driver: 'e1000e' };
      const error = await vfioFailure(() => bindDriver(a, options), 'ERR_VFIO_DRIVER_NOT_BOUND');
      assert.equal(error.reason, 'driver-mismatch');
    });
  });

  it('says that no VFIO driver takes a device without an IOMMU group', async () => {
    make({ [a]: { driver: 'nvme', group: null } });
    put(host.sysfsRoot, { 'module/vfio/parameters/enable_unsafe_noiommu_mode': 'N\n' });
    const error = await vfioFailure(() => bindDriver(a, host), 'ERR_VFIO_DRIVER_NOT_BOUND');
    assert.equal(error.reason, 'no-iommu-group');
    assert.equal(host.driverOf(a), 'nvme');
  });
});

describe('the variant of vfio-pci for a model', () => {
  const aliases = [
    'alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci',
    'alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci',
    'alias pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_core',
    'alias vfio_pci:v00001AF4d*sv*sd*bc*sc*i* wide_vfio_pci',
    'alias vfio_pci:v00001AF4d00001041sv*sd*bc*sc*i* virtio_vfio_pci',
  ];
  for (const [modalias, module] of [
    ['pci:v000015B3d0000101Esv000015B3sd00000001bc02sc00i00', 'mlx5_vfio_pci'],
    ['pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00', 'virtio_vfio_pci'],
    ['pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02', undefined],
    ['platform:fff51000', undefined],
    ['', undefined],
  ] as const) {
    it(`${modalias || 'no modalias'}: ${module ?? 'none'}`, () => {
      assert.equal(variantOf(modalias, aliases), module);
    });
  }
});

describe('an alias of a module', () => {
  for (const [pattern, text, isMatch] of [
    ['pci:v00008086d*sv*', 'pci:v00008086d00001533sv00008086', true],
    ['pci:v00008086d*sv*', 'pci:v00008087d00001533sv00008086', false],
    ['pci:v00008086d000015?3sv*', 'pci:v00008086d00001533sv', true],
    ['*bc01sc08i02*', 'pci:v00001B36d00000010bc01sc08i02', true],
    ['*bc01sc08i02', 'pci:v00001B36d00000010bc01sc08i02x', false],
    ['acpi*:PNP0.1:*', 'acpi:PNP0.1:x', true],
    ['acpi*:PNP0.1:*', 'acpi:PNP011:x', false],
    ['virtio:d00000001v0000', 'virtio:d00000001v0000', true],
    ['virtio:d00000001v0000', 'virtio:d00000001v00001AF4', false],
    ['', 'virtio', false],
  ] as const) {
    it(`${pattern || 'that is empty'} ${isMatch ? 'matches' : 'does not match'} ${text}`, () => {
      assert.equal(matchesAlias(pattern, text), isMatch);
    });
  }
});

/** The processes that write in this host. */
function waitingIn({ sysfsRoot }: FakeHost): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${sysfsRoot}/bus`);
      } catch {
        return false;
      }
    });
}
