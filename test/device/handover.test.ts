import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { afterEach, it } from 'mocha';
import {
  FdChannel,
  identify,
  Iommufd,
  openCdev,
  openCdevSync,
  packDevice,
  unpackDevice,
  VfioCdev,
  VfioDevice,
  VfioError,
} from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { assertNoMore, vfioFds } from '../support/proc.ts';
import { root } from '../support/root.ts';

const program = new URL('build-test/programs/handed_device.js', root).pathname;

/** What the child answers that has driven edu. */
const driven = {
  requestEvents: false,
  identification: 0x0100_00ed,
  interrupted: 1,
  factorial: 120,
  copied: [3, 1, 4, 1, 5],
};

describeLab('a device that is handed over', ['edu', 'nvme0', 'mtty', 'edu-port'], (lab) => {
  const { edu, nvme0, mtty, 'edu-port': port } = lab;
  let before: string[];
  beforeEach(() => {
    before = vfioFds();
  });
  afterEach(async () => {
    assertNoMore(vfioFds(), before);
    await (await VfioDevice.open(edu, { timeout: 0 })).close();
  });

  it('stays bound as long as a duplicate is open', async () => {
    const device = await VfioDevice.open(edu);
    const copy = device.dup();
    assert.equal(device.requestEvents, false);
    await device.close();
    assert.deepEqual(identify(copy.fd), {
      ...{ kind: 'cdev', name: device.name, major: device.major, minor: device.minor },
      ...{ ...device.device, bound: true },
    });
    await failure(() => VfioDevice.open(edu, { timeout: 0 }), 'EINVAL');
    await copy.close();
    await copy.close();
    await failure(() => copy.fd, 'ERR_VFIO_CLOSED');
    assert.throws(() => device.dup(), { code: 'ERR_VFIO_CLOSED' });
  });

  it('is taken by its descriptor, and works', async () => {
    await using iommufd = Iommufd.open();
    await using given = await VfioDevice.open(nvme0, { iommufd });
    const ioas = iommufd.createIoas();
    const { id } = ioas;
    await using own = Iommufd.fromFd(iommufd.dup());
    const copy = given.dup();
    const { devId } = given;
    await using device = VfioDevice.fromFd(copy, { iommufd: own, devId, device: nvme0.address });
    assert.throws(() => copy.fd, { code: 'ERR_VFIO_CLOSED' });
    assert.equal(device.devId, devId);
    assert.equal(device.iommufd, own);
    assert.equal(device.requestEvents, false);
    assert.deepEqual(device.info, given.info);
    assert.equal((await device.interrupt('req').enable()).length, 1);
    await device.interrupt('req').disable();
    await device.attach(own.openIoas(id));
    assert.deepEqual(own.hardwareInfo(device), iommufd.hardwareInfo(given));
    await device.reset();
    await device.detach();
    await ioas.close();
    assert.throws(() => own.openIoas(id), { code: 'ENOENT' });
    assert.throws(() => own.openIoas(devId), { code: 'ENOENT' });
  });

  it('does without its id what needs none, and says what does', async () => {
    await using given = await VfioDevice.open(port);
    await using iommufd = Iommufd.fromFd(given.iommufd.fd);
    await using device = VfioDevice.fromFd(given.fd, { iommufd });
    await using ioas = iommufd.createIoas();
    await device.attach(ioas);
    device.pci.setBusMaster(true);
    const { devices } = await device.hotReset();
    assert.equal(devices[0]?.devId, given.devId);
    assert.ok(device.pci.command().busMaster, 'it was not restored');
    await device.detach();
    for (const needy of [
      () => device.devId,
      () => iommufd.hardwareInfo(device),
      () => ioas.createHwpt(device),
      () => packDevice(device),
    ]) {
      const error = await failure(needy, 'ERR_VFIO_NO_DEV_ID');
      assert.match(error.message, /devId.*fromFd/);
    }
  });

  it('is proved to be one, and to be bound or not', async () => {
    await using iommufd = Iommufd.open();
    await using cdev = await openCdev(edu);
    assert.equal((identify(cdev.fd) as { bound: boolean }).bound, false);
    const path = openSync(cdev.path, constants.O_RDONLY | 0x20_0000); // O_PATH
    const file = openSync('/dev/null', 'r');
    const none = { iommufd };
    await failure(() => VfioDevice.fromFd(cdev.fd, none), 'ERR_VFIO_NOT_BOUND');
    await failure(() => VfioDevice.fromFd(iommufd.fd, none), 'ERR_VFIO_NOT_VFIO');
    await failure(() => VfioDevice.fromFd(file, none), 'ERR_VFIO_NOT_VFIO');
    await failure(() => VfioDevice.fromFd(path, none), 'EBADF');
    await failure(() => Iommufd.fromFd(cdev.fd), 'ERR_VFIO_NOT_VFIO');
    await failure(() => Iommufd.fromFd(file), 'ERR_VFIO_NOT_VFIO');
    await failure(() => VfioCdev.fromFd(iommufd.fd), 'ERR_VFIO_NOT_VFIO');
    closeSync(path);
    closeSync(file);
    await failure(() => VfioCdev.fromFd(path), 'EBADF');

    const copy = cdev.dup();
    await failure(() => VfioCdev.fromFd(copy, { device: nvme0 }), 'ERR_VFIO_NODE_MISMATCH');
    await using other = VfioCdev.fromFd(copy, { device: edu });
    assert.equal(other.path, cdev.path);
    await using device = await other.bind(iommufd);
    assert.ok(device.devId > 0);
    await failure(() => VfioCdev.fromFd(device.fd), 'ERR_VFIO_ALREADY_BOUND');
    // The same open file: it is bound, whoever bound it.
    await failure(() => VfioCdev.fromFd(cdev.fd), 'ERR_VFIO_ALREADY_BOUND');
  });

  it('tells who took it when somebody wants it back, where that is asked for', async () => {
    const [ours, theirs] = FdChannel.pair();
    const given = await VfioDevice.open(edu);
    const { description, fds } = packDevice(given);
    await theirs.send(Buffer.from(JSON.stringify(description)), fds);
    await using message = await ours.receive();
    assert.ok(message);
    const { device } = unpackDevice(message.data, message.fds, { requestEvents: true });
    assert.ok(device.requestEvents && !given.requestEvents);
    assert.equal(device.removalRequested, false);
    const requested = once(device, 'request');
    device.interrupt('req').trigger();
    await requested;
    assert.equal(device.removalRequested, true);
    await device.close();

    await using iommufd = Iommufd.fromFd(given.iommufd.fd);
    const options = { iommufd, requestEvents: true };
    await using other = VfioDevice.fromFd(given.fd, options);
    assert.equal(other.requestEvents, true);
    await failure(
      () => VfioDevice.fromFd(given.fd, { iommufd, requestEvents: 1 as never }),
      'ERR_INVALID_ARG_TYPE',
    );
    await other.close();
    await given.close();
    await Promise.all([ours.close(), theirs.close()]);
  });

  it('is known as an mdev', async () => {
    await using cdev = openCdevSync(mtty);
    const identity = identify(cdev.fd);
    assert.ok(identity.kind === 'cdev' && identity.bus === 'mdev' && !identity.bound);
  });

  it('is shown to the program before it is bound', async () => {
    const seen: unknown[] = [];
    const open = {
      beforeBind: async ({ fd, device, path }: { fd: number; device: object; path: string }) => {
        await Promise.resolve();
        const identity = identify(fd);
        seen.push(identity.kind === 'cdev' && identity.bound, device, path, fd);
      },
    };
    await using device = await VfioDevice.open(edu, open);
    assert.deepEqual(seen, [false, device.device, device.path, device.fd]);
    await device.close();

    let called = 0;
    const sync = (): void => {
      called++;
    };
    VfioDevice.openSync(edu, { beforeBind: sync }).closeSync();
    assert.equal(called, 1);

    const trap = new Error('not bound');
    const fails = (): never => {
      throw trap;
    };
    await assert.rejects(VfioDevice.open(edu, { beforeBind: fails }), trap);
    assert.throws(() => VfioDevice.openSync(edu, { beforeBind: fails }), trap);
    const late = (): undefined => Promise.resolve() as unknown as undefined;
    await failure(() => VfioDevice.openSync(edu, { beforeBind: late }), 'ERR_INVALID_RETURN_VALUE');
  });

  /** A child with one end of a channel, and the other end. */
  function start(options: { uid?: number; gid?: number } = {}): [ChildProcess, FdChannel] {
    const [ours, theirs] = FdChannel.pair();
    const child = spawn(process.execPath, [program], {
      ...options,
      stdio: ['ignore', 'inherit', 'inherit', theirs.fd],
    });
    theirs.closeSync();
    return [child, ours];
  }

  for (const [who, ids] of [
    ['a child', {}],
    ['a child without any capability', { uid: 65_534, gid: 65_534 }],
  ] as const) {
    it(`is driven by ${who}, which the kernel tells when it is gone`, async () => {
      const [child, channel] = start(ids);
      const device = await VfioDevice.open(edu);
      const ioas = device.iommufd.createIoas();
      const { devId } = device;
      const { description, fds } = packDevice(device, [ioas]);
      await channel.send(Buffer.from(JSON.stringify(description)), fds);
      await device.close();
      await using message = await channel.receive();
      assert.ok(message, 'the child ended');
      const uid = ids.uid ?? process.getuid?.();
      const answer: unknown = JSON.parse(Buffer.from(message.data).toString());
      assert.deepEqual(answer, { uid, devId, ...driven });
      await failure(() => VfioDevice.open(edu, { timeout: 0 }), 'EINVAL');
      const exited = once(child, 'exit');
      await channel.send(Buffer.from('done'));
      assert.equal(await channel.receive(), undefined);
      assert.deepEqual(await exited, [0, null]);
      await channel.close();
    });
  }

  it('comes back from a child that is killed with it, or before it took it', async () => {
    for (const taken of [false, true]) {
      const [child, channel] = start();
      const device = await VfioDevice.open(edu);
      const { description, fds } = packDevice(device, [device.iommufd.createIoas()]);
      await channel.send(Buffer.from(JSON.stringify(description)), fds);
      await device.close();
      if (taken) await (await channel.receive())?.close();
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      assert.equal(await channel.receive(), undefined);
      await channel.close();
      await (await VfioDevice.open(edu, { timeout: 0 })).close();
    }
  });

  it('is refused where the message says otherwise, and nothing stays open', async () => {
    const [ours, theirs] = FdChannel.pair();
    const device = await VfioDevice.open(edu);
    const ioas = device.iommufd.createIoas();
    const { description, fds } = packDevice(device, [ioas]);
    const [deviceFd, iommufdFd] = fds;
    const good = { ...description };
    const bad = 'ERR_VFIO_BAD_MESSAGE';
    const cases: [unknown, number[], string, field: string][] = [
      [good, [], bad, 'fds'],
      [good, [deviceFd], bad, 'fds'],
      [good, [deviceFd, iommufdFd, iommufdFd], bad, 'fds'],
      [good, [iommufdFd, deviceFd], 'ERR_VFIO_NOT_VFIO', 'fds[0]'],
      [good, [iommufdFd, iommufdFd], 'ERR_VFIO_NOT_VFIO', 'fds[0]'],
      [good, [deviceFd, deviceFd], 'ERR_VFIO_NOT_VFIO', 'fds[1]'],
      [good, [0, 1], 'ERR_VFIO_NOT_VFIO', 'fds[0]'],
      [{ ...good, ioasIds: [ioas.id, 999] }, fds, 'ENOENT', 'ioasIds[1]'],
      [{ ...good, ioasIds: [0] }, fds, bad, 'ioasIds[0]'],
      [{ ...good, ioasIds: 'x' }, fds, bad, 'ioasIds'],
      [{ ...good, devId: -1 }, fds, bad, 'devId'],
      [{ ...good, devId: undefined }, fds, bad, 'devId'],
      [{ ...good, device: { bus: 'pci', address: nvme0.address } }, fds, bad, 'device.address'],
      [{ ...good, device: { bus: '..', address: '../..' } }, fds, bad, 'device.bus'],
      [{ ...good, device: null }, fds, bad, 'device'],
      [null, fds, bad, 'description'],
      ['{', fds, bad, 'description'],
      [[], fds, bad, 'description'],
    ];
    for (const [said, numbers, code, field] of cases) {
      await theirs.send(Buffer.from('x'), numbers);
      await using message = await ours.receive();
      assert.ok(message);
      const error = await failure(() => unpackDevice(said, message.fds), code);
      assert.ok(error instanceof VfioError);
      assert.equal(error.field, field);
    }
    await theirs.send(Buffer.from('x'), fds);
    await using message = await ours.receive();
    assert.ok(message);
    const wanted = { device: nvme0.address };
    await failure(() => unpackDevice(good, message.fds, wanted), 'ERR_VFIO_NODE_MISMATCH');
    const taken = unpackDevice(good, message.fds.slice(0, 2), { device: edu });
    assert.equal(taken.device.devId, device.devId);
    assert.equal(taken.ioases[0]?.id, ioas.id);
    await device.close();
    await taken.device.attach(taken.ioases[0]);
    await taken.device.close();
    await Promise.all([ours.close(), theirs.close()]);
  });
});
