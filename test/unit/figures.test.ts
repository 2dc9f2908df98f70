import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { binding, replaceBinding } from '../../lib/core/binding.ts';
import { told } from '../../lib/core/operations.ts';
import { run, runSync, type Steps } from '../../lib/core/steps.ts';
import {
  countFigures,
  openDevices,
  type OpenMessage,
  VfioDevice,
  VfioError,
} from '../../lib/index.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { root } from '../support/root.ts';

interface Message {
  about: string;
  result?: number;
  error?: unknown;
}

describe('an operation that is told', () => {
  const channel = tracingChannel<unknown, Message>('vfio-test:operation');

  function outcomeOf({ result, error }: Message): string {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(result ?? '');
  }

  // eslint-disable-next-line require-yield -- a task without calls
  function* task(fails: boolean): Steps<number> {
    if (fails) throw new VfioError({ code: 'EBUSY', message: 'busy' });
    return 7;
  }

  it('is the task itself where nobody listens', () => {
    const steps = task(false);
    const none = (): never => assert.fail('no message is made');
    assert.equal(told(channel, none, steps), steps);
  });

  for (const fails of [false, true]) {
    it(`publishes what Node's own functions do, with what comes of it: ${fails ? 'error' : 'result'}`, async () => {
      const events: string[] = [];
      const hear =
        (name: string) =>
        (message: Message): void =>
          void events.push(`${name} ${message.about} ${outcomeOf(message)}`);
      const heard = {
        start: hear('start'),
        end: hear('end'),
        asyncStart: hear('asyncStart'),
        asyncEnd: hear('asyncEnd'),
        error: hear('error'),
      };
      channel.subscribe(heard);
      const about = { about: 'it' };
      const outcome = fails ? 'VfioError: busy' : '7';
      const sync = (): number => runSync(told(channel, () => ({ ...about }), task(fails)));
      const async = (): Promise<number> => run(told(channel, () => ({ ...about }), task(fails)));
      if (fails) {
        assert.throws(sync, { code: 'EBUSY' });
        await assert.rejects(async(), { code: 'EBUSY' });
      } else {
        assert.deepEqual([sync(), await async()], [7, 7]);
      }
      channel.unsubscribe(heard);
      const error = fails ? [`error it ${outcome}`] : [];
      assert.deepEqual(events, [
        ...['start it ', ...error, `end it ${outcome}`],
        ...['start it ', 'end it ', ...error, `asyncStart it ${outcome}`, `asyncEnd it ${outcome}`],
      ]);
    });
  }
});

describe('countFigures', () => {
  it('counts openings, what is open, and errors by their codes, from its call on', async () => {
    const roots = fakeVfio('1:7');
    putNode(roots, fakeNode, '/dev/full');
    putNode(roots, 'iommu', '/dev/full');
    const undo = replaceBinding({ ...binding(), ...fakeIoctls });
    const options = { ...roots, requestEvents: false };
    const before = VfioDevice.openSync(fakeAddress, options);
    const figures = countFigures();
    const none = { opens: 0, openDevices: 0, resets: 0, maps: 0, unmaps: 0, mappedBytes: 0 };
    const nothing = { ...none, enabledInterrupts: 0, errors: {} };
    assert.deepEqual(figures.read(), nothing);
    try {
      before.closeSync();
      const first = VfioDevice.openSync(fakeAddress, options);
      const second = await VfioDevice.open(fakeAddress, options);
      assert.deepEqual(figures.read(), { ...nothing, opens: 2, openDevices: 2 });
      first.closeSync();
      first.closeSync();
      await second.close();
      assert.throws(() => VfioDevice.openSync('0000:ff:1f.7', options));
      await assert.rejects(VfioDevice.open('0000:ff:1f.7', options));
      const errors = { ERR_VFIO_NO_DEVICE: 2 };
      assert.deepEqual(figures.read(), { ...nothing, opens: 2, errors });
      figures.stop();
      VfioDevice.openSync(fakeAddress, options).closeSync();
      assert.deepEqual(figures.read(), { ...nothing, opens: 2, errors });
    } finally {
      undo();
    }
  });
});

describe('countFigures, of what fails', () => {
  async function counted(act: () => unknown): Promise<Record<string, number>> {
    const roots = fakeVfio('1:7');
    putNode(roots, fakeNode, '/dev/full');
    putNode(roots, 'iommu', '/dev/full');
    const undo = replaceBinding({ ...binding(), ...fakeIoctls });
    const figures = countFigures();
    try {
      device = await VfioDevice.open(fakeAddress, { ...roots, requestEvents: false });
      await act();
      return figures.read().errors;
    } finally {
      figures.stop();
      undo();
    }
  }
  let device: VfioDevice;

  it('counts each error where several descriptors do not close well', async () => {
    const errors = await counted(async () => {
      const undo = replaceBinding({
        ...binding(),
        // It is closed all the same, as the kernel does.
        close: (fd, next) => {
          binding().closeSync(fd);
          if (next !== undefined) binding().closeSync(next);
          return Promise.resolve(-(5 + 4096 * 28));
        },
      });
      await assert.rejects(device.close(), AggregateError);
      undo();
    });
    assert.deepEqual(errors, { EIO: 1, ENOSPC: 1 });
  });
});

describe('countFigures, of openDevices', () => {
  it('counts what opened, though it is closed again, and what failed, each once', async () => {
    const roots = fakeVfio('1:7');
    putNode(roots, fakeNode, '/dev/full');
    putNode(roots, 'iommu', '/dev/full');
    const undo = replaceBinding({ ...binding(), ...fakeIoctls });
    const figures = countFigures();
    try {
      const specs = [fakeAddress, '0000:ff:1f.7'];
      await assert.rejects(openDevices(specs, { ...roots, requestEvents: false }), AggregateError);
      const { opens, openDevices: open, errors } = figures.read();
      assert.deepEqual([opens, open, errors], [1, 0, { ERR_VFIO_NO_DEVICE: 1 }]);
    } finally {
      figures.stop();
      undo();
    }
  });
});

describe('a subscriber that throws', () => {
  it('changes nothing of the operation, and is an uncaught exception', () => {
    const index = fileURLToPath(new URL('lib/index.ts', root));
    const program = `
      import { tracingChannel } from 'node:diagnostics_channel';
      import { VfioDevice } from ${JSON.stringify(index)};
      const thrown = [];
      process.on('uncaughtException', ({ message }) => thrown.push(message));
      const fail = (name) => () => { throw new Error(name); };
      tracingChannel('vfio:open').subscribe({ start: fail('start'), error: fail('error') });
      try {
        VfioDevice.openSync('ffff:ff:1f.7', { sysfsRoot: ${JSON.stringify(fakeVfio('1:7').sysfsRoot)} });
      } catch (error) {
        thrown.push(error.code);
      }
      setImmediate(() => console.log(thrown.join()));`;
    const args = ['--import', 'tsx', '--input-type=module', '--eval', program];
    const options = { encoding: 'utf8', cwd: fileURLToPath(root) } as const;
    const { stdout, stderr } = spawnSync(process.execPath, args, options);
    assert.equal(stdout, 'ERR_VFIO_NO_DEVICE,start,error\n', stderr);
  });
});

describe('the tracing channel vfio:open', () => {
  it('has the device that was opened', async () => {
    const roots = fakeVfio('1:7');
    putNode(roots, fakeNode, '/dev/full');
    putNode(roots, 'iommu', '/dev/full');
    const undo = replaceBinding({ ...binding(), ...fakeIoctls });
    const opened: unknown[] = [];
    const channels = tracingChannel<unknown, OpenMessage>('vfio:open');
    const hear = ({ device, result }: OpenMessage): void =>
      void opened.push([device, result?.device.address]);
    subscribe(channels.asyncEnd.name, hear as (message: unknown) => void);
    try {
      await (await VfioDevice.open(fakeAddress, { ...roots, requestEvents: false })).close();
    } finally {
      unsubscribe(channels.asyncEnd.name, hear as (message: unknown) => void);
      undo();
    }
    assert.deepEqual(opened, [[fakeAddress, fakeAddress]]);
  });
});
