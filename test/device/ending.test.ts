import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { it } from 'mocha';
import { Iommufd, VfioDevice } from '../../lib/index.ts';
import { describeDevice, devices, itEachKind, type TestDevice } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { firstWords } from '../support/first_words.ts';
import { assertNoMore, vfioFds } from '../support/proc.ts';
import { root } from '../support/root.ts';

const file = new URL('build-test/programs/lives.js', root);

type Orders = Record<string, unknown>;

function startWorker({ bus, address }: TestDevice, orders: Orders): Worker {
  return new Worker(file, { workerData: { bus, address, ...orders } });
}

function argumentsOf({ bus, address }: TestDevice, orders: Orders): string[] {
  return [file.pathname, JSON.stringify({ bus, address, ...orders })];
}

function startChild(
  spec: TestDevice,
  orders: Orders,
): { kill: () => void; told: () => Promise<string>; end: Promise<unknown[]> } {
  const child = spawn(process.execPath, argumentsOf(spec, orders), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return {
    kill: () => void child.kill('SIGKILL'),
    told: () => firstWords(child.stdout),
    end: once(child, 'exit'),
  };
}

function opensAtOnce(spec: TestDevice): void {
  VfioDevice.openSync(spec).closeSync();
}

describeDevice('several iommufds, and several devices', (spec) => {
  const others = devices.filter((device) => device !== spec);

  it('two iommufds have their own devices and address spaces', async () => {
    await using first = Iommufd.open();
    await using second = Iommufd.open();
    assert.notEqual(first.fd, second.fd);
    await using device = await VfioDevice.open(spec, { iommufd: first });
    await failure(() => VfioDevice.open(spec, { iommufd: second }), 'EINVAL');
    const space = first.createIoas();
    // Ids start anew in each iommufd: this one is unknown in the first.
    for (let id = 0; id < 4; id++) second.createIoas();
    const elsewhere = second.createIoas();
    await failure(() => device.attach(elsewhere), 'ENOENT');
    await device.attach(space);
    for (const other of others.slice(0, 1)) {
      await using theirs = await VfioDevice.open(other, { iommufd: second });
      await theirs.attach(elsewhere);
      assert.deepEqual([device.iommufd, theirs.iommufd], [first, second]);
    }
    await device.detach();
    await device.close();
    // The same device, now in the other one.
    await using again = await VfioDevice.open(spec, { iommufd: second });
    await again.attach(elsewhere);
  });

  it('one iommufd has all devices, opened at the same time, in one address space', async () => {
    const fds = vfioFds();
    const iommufd = Iommufd.open();
    const opened = await Promise.all(devices.map((each) => VfioDevice.open(each, { iommufd })));
    assert.equal(new Set(opened.map(({ devId }) => devId)).size, devices.length);
    const ioas = iommufd.createIoas();
    await Promise.all(opened.map((device) => device.attach(ioas)));
    assert.ok(opened.every(({ info }) => info.regions.length > 0));
    await failure(() => ioas.close(), 'EBUSY');
    // In no order: the iommufd first, while they still use it.
    await Promise.all([iommufd.close(), ...opened.map((device) => device.close())]);
    assertNoMore(vfioFds(), fds);
    for (const each of devices) opensAtOnce(each);
  });

  it('worker threads open devices, each its own, at the same time', async () => {
    const fds = vfioFds();
    const answers = devices.map(async (each) => {
      const worker = startWorker(each, { life: 'open and close' });
      const [messages] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
      assert.match(messages.join(), /^closed [1-9]/);
    });
    await Promise.all(answers);
    assertNoMore(vfioFds(), fds);
    for (const each of devices) opensAtOnce(each);
  });

  it('a worker that ends with an open device leaves it free', async () => {
    const fds = vfioFds();
    const worker = startWorker(spec, { life: 'hold' });
    assert.deepEqual(await once(worker, 'message'), ['holding']);
    await failure(() => VfioDevice.openSync(spec), 'EINVAL');
    await worker.terminate();
    assertNoMore(vfioFds(), fds);
    opensAtOnce(spec);
  });
});

describeDevice('the end in the middle of an open', (spec) => {
  /** `npm run check:soak -- workers` has a thousand. */
  const rounds = 20;
  /** So many workers at a time, each with a device of its own. */
  const lanes = Math.min(2, devices.length);

  /** The worker has bound the device so many times before. */
  async function terminateInMidBind(spec: TestDevice, times: number): Promise<void> {
    const worker = startWorker(spec, { life: 'open for ever' });
    for (let seen = 0; seen <= times; seen++) await once(worker, 'message');
    await worker.terminate();
  }

  it(`of a worker leaves no descriptor, and the device opens at once, in ${rounds} rounds`, async () => {
    const fds = vfioFds();
    for (let round = 0; round < rounds; round += lanes) {
      const some = Array.from({ length: lanes }, (_, lane) => {
        return devices[(round + lane) % devices.length] ?? assert.fail();
      });
      await Promise.all(some.map((spec) => terminateInMidBind(spec, round % 3)));
      assertNoMore(vfioFds(), fds);
      some.forEach(opensAtOnce);
    }
  }).timeout(1_800_000);

  itEachKind(
    'of a process by process.exit has its exit code, and the device opens at once',
    async (spec) => {
      for (const turns of [0, 4]) {
        const { end } = startChild(spec, { life: 'exit', turns });
        assert.deepEqual(await end, [7, null]);
        opensAtOnce(spec);
      }
    },
  );

  itEachKind('of a process by SIGKILL that holds the device leaves it free', async (spec) => {
    const child = startChild(spec, { life: 'hold' });
    await child.told();
    await failure(() => VfioDevice.openSync(spec), 'EINVAL');
    child.kill();
    assert.deepEqual(await child.end, [null, 'SIGKILL']);
    opensAtOnce(spec);
  });

  itEachKind(
    'of a process by SIGKILL that opens and closes leaves the device free',
    async (spec) => {
      const child = startChild(spec, { life: 'open for ever' });
      await child.told();
      child.kill();
      assert.deepEqual(await child.end, [null, 'SIGKILL']);
      opensAtOnce(spec);
    },
  );

  it('of all uses of a device, without a close, closes it with one warning', () => {
    const args = ['--expose-gc', ...argumentsOf(spec, { life: 'drop' })];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.equal(stdout, 'gone\n', stderr);
    const warnings = stderr.split('\n').filter((line) => line.includes('VFIO_NOT_CLOSED'));
    assert.equal(warnings.length, 1, stderr);
    assert.match(warnings[0] ?? '', /the cdev of .*, opened at open \(.*lives\.[jt]s:\d+:\d+\),/);
    opensAtOnce(spec);
  });
});
