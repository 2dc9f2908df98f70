import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { describe, it } from 'mocha';
import {
  type ChangesLost,
  type DeviceChange,
  type DeviceEvent,
  type DeviceWatch,
  type ListedDevice,
  listDevices,
  watchDevices,
} from '../../lib/index.ts';
import { describeLab, type TestDevice } from '../support/devices.ts';
import { plug, rebind, unbind, unplug } from '../support/hotplug.ts';
import { withoutIommu } from '../support/iommu.ts';
import { makeMdev } from '../support/mdev.ts';
import { childrenOf, ueventSockets } from '../support/proc.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';

const main = new URL('dist/cli/main.js', root).pathname;

/** Kernels without cdevs tell of the nodes of groups instead. */
const hasCdevs = existsSync('/sys/class/vfio-dev') && existsSync('/dev/vfio/devices');

type Place = Pick<ListedDevice, 'driver' | 'boundToVfio'>;

/** A device without a driver, in a list: it is in none where it has no group of an IOMMU. */
const driverless: Place | undefined = withoutIommu
  ? undefined
  : { driver: null, boundToVfio: false };

function placeIn(devices: readonly ListedDevice[], { address }: TestDevice): Place | undefined {
  const device = devices.find((each) => each.address === address);
  return device && { driver: device.driver, boundToVfio: device.boundToVfio };
}

/** What is told until `isLast` has come, with it. */
async function until(
  watch: DeviceWatch,
  isLast: (event: DeviceEvent) => boolean,
): Promise<DeviceEvent[]> {
  const events: DeviceEvent[] = [];
  for (;;) {
    const { value } = await watch.next();
    assert.ok(value, 'the watch ended');
    events.push(value);
    if (isLast(value)) return events;
  }
}

const is =
  (action: string, subsystem: string, address: string) =>
  (event: DeviceEvent): event is DeviceChange =>
    event.action === action && event.action !== 'lost' && event.subsystem === subsystem && event.address === address; // prettier-ignore

function the(events: readonly DeviceEvent[], ...what: Parameters<typeof is>): DeviceChange {
  return events.find(is(...what)) ?? assert.fail(`no ${what.join(' ')}`);
}

function isLost(event: DeviceEvent): event is ChangesLost {
  return event.action === 'lost';
}

/** Has the kernel tell of a device, although nothing happens to it. */
function tell({ bus, address }: TestDevice, times: number): void {
  for (let at = 0; at < times; at++) {
    writeFileSync(`/sys/bus/${bus}/devices/${address}/uevent`, 'change');
  }
}

describeLab('watchDevices', ['edu', 'edu-port'], ({ edu, 'edu-port': port }) => {
  it('tells that a driver leaves a device and takes it', async () => {
    await using watch = watchDevices();
    const began = Date.now();
    await unbind(edu);
    const left = the(await until(watch, is('unbind', 'pci', edu.address)), 'unbind', 'pci', edu.address); // prettier-ignore
    assert.deepEqual([left.bus, left.driver, left.node], ['pci', null, null]);
    assert.ok(left.time >= began && left.time <= Date.now());
    rebind(edu);
    const events = await until(watch, is('bind', 'pci', edu.address));
    const taken = the(events, 'bind', 'pci', edu.address);
    assert.deepEqual([taken.bus, taken.driver], ['pci', 'vfio-pci']);
    assert.ok(taken.seqnum > left.seqnum);
    assert.equal(taken.devpath, `/devices/pci0000:00/${edu.address}`);
  });

  it('tells of the cdev that comes with the driver, and goes before it', async function () {
    if (!hasCdevs) skip(this, 'a kernel with cdevs');
    await using watch = watchDevices();
    await unbind(edu);
    the(await until(watch, is('unbind', 'pci', edu.address)), 'remove', 'vfio-dev', edu.address);
    rebind(edu);
    const events = await until(watch, is('bind', 'pci', edu.address));
    const { node, bus } = the(events, 'add', 'vfio-dev', edu.address);
    const listed = (await listDevices()).find(({ address }) => address === edu.address);
    assert.deepEqual([node, bus], [listed?.cdev, 'pci']);
    // Without an IOMMU the kernel has the device of the cdev, and no node of it.
    if (withoutIommu) assert.equal(node, null);
    else assert.ok(node && existsSync(node.path));
  });

  it('tells of the node of a group that comes and goes', async () => {
    await using watch = watchDevices();
    await unbind(edu);
    const gone = await until(watch, is('unbind', 'pci', edu.address));
    rebind(edu);
    const come = await until(watch, is('bind', 'pci', edu.address));
    const nodes = [...gone, ...come].filter((e) => !isLost(e) && e.subsystem === 'vfio');
    assert.deepEqual(nodes.map(({ action }) => action), ['remove', 'add']); // prettier-ignore
    const [, added] = nodes as DeviceChange[];
    assert.ok(added?.node && existsSync(added.node.path), JSON.stringify(nodes));
  });

  it('tells of a device that is unplugged and plugged in again', async () => {
    await using watch = watchDevices();
    await unplug(port);
    the(await until(watch, is('remove', 'pci', port.address)), 'unbind', 'pci', port.address);
    await plug(port);
    the(await until(watch, is('bind', 'pci', port.address)), 'add', 'pci', port.address);
  });

  it('misses nothing that happens between its beginning and a list', async () => {
    await using watch = watchDevices();
    await unbind(edu);
    const listed = await listDevices();
    rebind(edu);
    assert.deepEqual(placeIn(listed, edu), driverless);
    await until(watch, is('bind', 'pci', edu.address));
  });

  it('says that some were lost, and what there is, where the kernel had no room', async () => {
    // Room for the few events of a binding, and not for hundreds.
    await using watch = watchDevices({ receiveBuffer: 8192 });
    // The loop is busy meanwhile, so nothing is taken.
    tell(edu, 300);
    writeFileSync(`/sys/bus/pci/devices/${edu.address}/driver/unbind`, edu.address);
    try {
      const events = await until(watch, isLost);
      assert.ok(events.length > 1 && events.length < 300, `${events.length}`);
      const lost = events.at(-1) as ChangesLost;
      assert.deepEqual(placeIn(lost.devices, edu), driverless);
    } finally {
      rebind(edu);
    }
    // It goes on, and has lost no more.
    const after = await until(watch, is('bind', 'pci', edu.address));
    assert.equal(after.some(isLost), false, JSON.stringify(after));
  });

  it('has room for many events while the loop is busy', async () => {
    await using watch = watchDevices();
    tell(edu, 1500);
    await unbind(edu);
    rebind(edu);
    const events = await until(watch, is('bind', 'pci', edu.address));
    assert.equal(events.filter(is('change', 'pci', edu.address)).length, 1500);
    assert.equal(events.some(isLost), false);
  });

  it('ends by break, by the signal while it waits, and leaves no socket', async () => {
    const before = ueventSockets();
    const watch = watchDevices();
    assert.equal(ueventSockets(), before + 1);
    tell(edu, 1);
    for await (const event of watch) if (is('change', 'pci', edu.address)(event)) break;
    assert.equal(ueventSockets(), before);
    const controller = new AbortController();
    const other = watchDevices({ signal: controller.signal });
    const waiting = until(other, () => false);
    controller.abort();
    await assert.rejects(waiting, { name: 'AbortError' });
    assert.equal(ueventSockets(), before);
  });

  it('is told in each thread, and closed when a worker ends', async () => {
    const before = ueventSockets();
    await using watch = watchDevices();
    const worker = new Worker(new URL('build-test/programs/watch_worker.js', root));
    await once(worker, 'message');
    assert.equal(ueventSockets(), before + 2);
    const told = once(worker, 'message') as Promise<[DeviceEvent]>;
    tell(edu, 1);
    const isTold = is('change', 'pci', edu.address);
    assert.ok(isTold((await told)[0]));
    await until(watch, isTold);
    await worker.terminate();
    assert.equal(ueventSockets(), before + 1);
  });
});

describeLab('watchDevices and mediated devices', ['mtty'], () => {
  it('tells of one that is made and removed', async function () {
    const address = '6d747479-0000-4000-8000-0000000000fd';
    await using watch = watchDevices();
    {
      using _made = makeMdev(address, 'mtty-1');
      const events = await until(watch, is('bind', 'mdev', address));
      assert.equal(the(events, 'add', 'mdev', address).bus, 'mdev');
      const { node, bus } = the(events, 'add', 'vfio-dev', address);
      assert.equal(bus, 'mdev');
      assert.ok(node && existsSync(node.path));
    }
    const events = await until(watch, is('remove', 'mdev', address));
    assert.equal(the(events, 'remove', 'vfio-dev', address).bus, 'mdev');
  });
});

/** Waits until the program watches. */
async function watching(child: ChildProcess, pid = child.pid): Promise<void> {
  while (ueventSockets(pid) === 0) {
    assert.equal(child.exitCode, null, 'it ended');
    await setTimeout(20);
  }
}

/** The child of a program that has one. */
async function childOf(parent: ChildProcess): Promise<number> {
  for (;;) {
    const [child] = childrenOf(parent.pid ?? 0);
    if (child !== undefined) return child;
    await setTimeout(20);
  }
}

describeLab('vfio watch', ['edu'], ({ edu }) => {
  const start = (...args: string[]): ReturnType<typeof spawn> =>
    spawn(process.execPath, [main, 'watch', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });

  it('prints a line for each event, as text and as JSON', async () => {
    const [text, json] = [start(), start('--json')];
    const seen = ['', ''];
    for (const [at, child] of [text, json].entries()) {
      child.stdout
        ?.setEncoding('utf8')
        .on('data', (more: string) => (seen[at] = `${seen[at] ?? ''}${more}`));
      await watching(child);
    }
    await unbind(edu);
    rebind(edu);
    while (!seen.every((all) => /\bbind\b.*vfio-pci/.test(all))) await setTimeout(20);
    // Either may be the first to end.
    const exits = Promise.all([once(text, 'exit'), once(json, 'exit')]);
    text.kill('SIGINT');
    json.kill('SIGTERM');
    assert.deepEqual(await exits, [
      [null, 'SIGINT'],
      [null, 'SIGTERM'],
    ]);
    const line = new RegExp(
      `^\\d\\d:\\d\\d:\\d\\d\\.\\d{3}  bind    pci       ${edu.address}  vfio-pci$`,
      'm',
    );
    assert.match(seen[0] ?? '', line);
    const events = (seen[1] ?? '').trim().split('\n').map((each) => JSON.parse(each) as DeviceEvent); // prettier-ignore
    const bound = the(events, 'bind', 'pci', edu.address);
    const keys = 'action subsystem bus address driver node devpath seqnum time';
    assert.equal(Object.keys(bound).join(' '), keys);
  });

  it('ends when its reader has gone, also where nothing happens: a socket', async () => {
    const child = start();
    await watching(child);
    child.stdout?.destroy();
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });

  it('ends when its reader has gone, also where nothing happens: a pipe', async () => {
    // The reader ends when it is told to.
    const line = '{ "$@"; echo "ended $?" >&2; } | { exec 4<&0 0<&3 3<&-; read line; }';
    const shell = spawn('sh', ['-c', line, 'sh', process.execPath, main, 'watch'], {
      stdio: ['ignore', 'inherit', 'pipe', 'pipe'],
    });
    let err = '';
    shell.stderr?.setEncoding('utf8').on('data', (more: string) => (err += more));
    for (;;) {
      const pids = childrenOf(shell.pid ?? 0);
      const all = pids.flatMap((pid) => [pid, ...childrenOf(pid)]);
      if (all.some((pid) => ueventSockets(pid) > 0)) break;
      await setTimeout(20);
    }
    const told = shell.stdio[3] as NodeJS.WritableStream;
    told.write('end\n');
    await once(shell, 'exit');
    assert.match(err, /^vfio watch: .* from now on\nended 0\n$/);
  });

  it('ends when what it wrote found no room', async () => {
    const child = spawn(
      'sh',
      ['-c', 'exec "$@" > /dev/full', 'sh', process.execPath, main, 'watch'],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    let err = '';
    child.stderr.setEncoding('utf8').on('data', (more: string) => (err += more));
    await watching(child);
    tell(edu, 1);
    assert.deepEqual(await once(child, 'exit'), [1, null]);
    assert.match(err, /from now on\n/);
    assert.match(err, /the output was not written: ENOSPC/);
  });

  it('ends in a terminal by its key, as other programs do', async function () {
    if (!existsSync('/usr/bin/script')) skip(this, 'script(1)');
    const command = `exec ${process.execPath} ${main} watch`;
    const terminal = spawn('script', ['-qefc', command, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let seen = '';
    terminal.stdout.setEncoding('utf8').on('data', (more: string) => (seen += more));
    const child = await childOf(terminal);
    await watching(terminal, child);
    tell(edu, 1);
    while (!seen.includes('change')) await setTimeout(20);
    terminal.stdin.write('\u0003');
    assert.deepEqual(await once(terminal, 'exit'), [130, null]);
  });

  it('ends after --timeout', async () => {
    const child = start('--timeout', '1');
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });
});

describe('vfio watch without devices', () => {
  it('ends after --timeout, on every kernel', async () => {
    const child = spawn(process.execPath, [main, 'watch', '--timeout', '1'], { stdio: 'inherit' });
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });
});
