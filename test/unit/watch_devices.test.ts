import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { namespaceNote } from '../../lib/cli/watch.ts';
import type { Binding, NativeFd } from '../../lib/core/binding.ts';
import { EAFNOSUPPORT, EAGAIN, EMSGSIZE, ENOBUFS } from '../../lib/core/errno.ts';
import { type DeviceEvent, type DeviceWatch, watchDevices } from '../../lib/index.ts';
import { binding } from '../../lib/core/binding.ts';
import { vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { openFds, ueventSockets } from '../support/proc.ts';
import { boundToVfio, pciDevice, sysfsFiles } from '../support/sysfs.ts';
import { type Entry, tree } from '../support/tree.ts';

function message(action: string, path: string, subsystem: string, seqnum: number): Buffer {
  const values = [`ACTION=${action}`, `DEVPATH=${path}`, `SUBSYSTEM=${subsystem}`];
  return Buffer.from([`${action}@${path}`, ...values, `SEQNUM=${seqnum}`, ''].join('\0'));
}

const edu = '/devices/pci0000:00/0000:00:02.0';

/** A kernel that answers these, and nothing more after that. */
function kernel(answers: (Buffer | number)[]): Pick<Binding, 'ueventReceive' | 'fdPoll'> {
  return {
    ueventReceive: (_socket, room) => {
      const answer = answers.shift();
      if (answer === undefined || typeof answer === 'number') return answer ?? EAGAIN;
      room.set(answer);
      return answer.length;
    },
    // Where there is more, it is worth another try; otherwise nothing happens.
    fdPoll: (_fd, events, told) => {
      if (events !== 0 && answers.length > 0) setImmediate(() => { told(1); }); // prettier-ignore
      return 0;
    },
  };
}

function fakeSysfs(): string {
  const device = pciDevice(11, boundToVfio('vfio3', '511:3\n'));
  return tree(sysfsFiles({ pci: { '0000:00:02.0': device } }));
}

/** What is told of these answers, until there are so many events. */
async function told(answers: (Buffer | number)[], count: number): Promise<DeviceEvent[]> {
  const events: DeviceEvent[] = [];
  const roots = { sysfsRoot: fakeSysfs(), devRoot: '/fake' };
  await withBinding(kernel(answers), async () => {
    for await (const event of watchDevices(roots)) if (events.push(event) === count) break;
  });
  return events;
}

function wordsOf(event: DeviceEvent): string {
  if (event.action === 'lost') {
    return `lost ${event.devices.map(({ address }) => address).join(' ')}`;
  }
  return `${event.action} ${event.subsystem} ${event.bus} ${event.address} ${event.seqnum}`;
}

describe('watchDevices', () => {
  it('tells of devices, and of nothing else', async () => {
    const events = await told(
      [
        message('add', '/devices/virtual/net/lo', 'net', 1),
        message('unbind', edu, 'pci', 2),
        0,
        Buffer.from('libudev\0'),
        message('bind', edu, 'pci', 3),
      ],
      2,
    );
    assert.deepEqual(events.map(wordsOf), [
      'unbind pci pci 0000:00:02.0 2',
      'bind pci pci 0000:00:02.0 3',
    ]);
  });

  for (const [name, errno] of Object.entries({ ENOBUFS, EMSGSIZE })) {
    it(`tells what is there once all is taken that was not lost: ${name}`, async () => {
      const events = await told(
        [
          ...[message('unbind', edu, 'pci', 1), errno, message('bind', edu, 'pci', 2), errno],
          ...[EAGAIN, message('remove', edu, 'pci', 9)],
        ],
        4,
      );
      assert.deepEqual(events.map(wordsOf), [
        ...['unbind pci pci 0000:00:02.0 1', 'bind pci pci 0000:00:02.0 2', 'lost 0000:00:02.0'],
        'remove pci pci 0000:00:02.0 9',
      ]);
    });
  }

  it('ends with an error of the kernel, and is closed then', async () => {
    const before = ueventSockets();
    const watch = await withBinding(kernel([-9]), async () => {
      const open = watchDevices();
      await vfioFailure(() => open.next(), 'EBADF');
      return open;
    });
    assert.deepEqual(await watch.next(), { value: undefined, done: true });
    assert.equal(ueventSockets(), before);
  });

  it('says what forbids netlink sockets', async () => {
    await withBinding({ ueventOpen: () => EAFNOSUPPORT }, async () => {
      const { message } = await vfioFailure(() => watchDevices(), 'EAFNOSUPPORT');
      assert.match(message, /socket 'NETLINK_KOBJECT_UEVENT': .*RestrictAddressFamilies/);
    });
  });
});

/** Ends a watch that waits, and answers what those who wait get. */
async function ended(watch: DeviceWatch, end: () => unknown): Promise<unknown[]> {
  const waiting = [watch.next(), watch.next()];
  await setTimeout(5);
  await end();
  const results = await Promise.allSettled(waiting);
  return results.map((each) => (each.status === 'fulfilled' ? each.value : each.reason) as unknown);
}

const over = { value: undefined, done: true };

describe('what vfio watch says of its user namespace', () => {
  const initial = { pointsTo: 'user:[4026531837]' };
  const of = (files: Record<string, Entry>): string | undefined => namespaceNote(tree(files));

  it('is nothing in the initial one, and where the kernel has no others', () => {
    assert.equal(of({ 'self/ns/user': initial }), undefined);
    assert.equal(of({ 'self/ns/mnt': { pointsTo: 'mnt:[1]' } }), undefined);
  });

  it('is that nothing may be heard in another', () => {
    const note = of({ 'self/ns/user': { pointsTo: 'user:[1]' } });
    assert.match(note ?? '', /^this is a user namespace of its own: .* tells it of no devices$/);
  });

  it('is why it could not be looked at', () => {
    assert.match(of({}) ?? '', /^whether the kernel tells .* could not be looked at: ENOENT: /);
    assert.match(of({ 'self/ns/user': 'a file' }) ?? '', /could not be looked at: EINVAL: /);
  });
});

describe('a watch of devices that ends', () => {
  it('has its socket closed by break, by close() and at the end of a block', async () => {
    const before = ueventSockets();
    const watch = watchDevices();
    assert.equal(ueventSockets(), before + 1);
    assert.deepEqual(await ended(watch, () => watch.close()), [over, over]);
    const other = watchDevices();
    assert.deepEqual(await ended(other, () => other.return()), [over, over]);
    {
      await using third = watchDevices({ receiveBuffer: 1 });
      assert.equal(ueventSockets(), before + 1);
      assert.equal(third[Symbol.asyncIterator](), third);
    }
    assert.equal(ueventSockets(), before);
    await watch.close();
    assert.deepEqual(await watch.next(), over);
  });

  it("throws a signal's reason to one who waits, and is over then", async () => {
    const before = ueventSockets();
    const controller = new AbortController();
    const reason = new Error('enough');
    const watch = watchDevices({ signal: controller.signal });
    const results = await ended(watch, () => {
      controller.abort(reason);
    });
    assert.deepEqual(results, [reason, over]);
    assert.equal(ueventSockets(), before);
    assert.throws(() => watchDevices({ signal: controller.signal }), reason);
  });

  it('throws the reason at the next step where nobody waited', async () => {
    const controller = new AbortController();
    const watch = watchDevices({ signal: controller.signal });
    controller.abort();
    await assert.rejects(watch.next(), { name: 'AbortError' });
    assert.deepEqual(await watch.next(), over);
  });
});

/** The addresses of this process's sockets for the kernel's uevents: the kernel chooses them. */
function ueventAddresses(): number[] {
  const rows = readFileSync('/proc/net/netlink', 'utf8').trim().split('\n');
  const own = openFds();
  const cells = rows.map((row) => row.trim().split(/\s+/));
  const uevents = cells.filter(([, protocol]) => protocol === '15');
  const ours = uevents.filter((each) => own.includes(`socket:[${each.at(-1)}]`));
  return ours.map(([, , address]) => Number(address));
}

/** Only a privileged process may send there at all. */
const maySend = process.getuid?.() === 0 && spawnSync('python3', ['--version']).status === 0;

describe('the native functions of uevents', () => {
  (maySend ? it : it.skip)(
    `take nothing that another process sends${maySend ? '' : ' (root, and python3)'}`,
    () => {
      const native = binding();
      const socket = native.ueventOpen(65_536) as NativeFd;
      const [address] = ueventAddresses();
      assert.ok(address);
      const program = `import socket; s = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15); s.sendto(b"remove@${edu}", (${address}, 0))`;
      const { status, stderr } = spawnSync('python3', ['-c', program], { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
      assert.equal(
        native.ueventReceive(socket, new Uint8Array(8192)),
        0,
        'it came, and is nobody’s',
      );
      assert.equal(native.ueventReceive(socket, new Uint8Array(8192)), EAGAIN);
      native.closeSync(socket);
    },
  );

  it('refuse every wrong argument', () => {
    const native = binding();
    const socket = native.ueventOpen(65_536) as NativeFd;
    const room = new Uint8Array(16);
    for (const bad of [undefined, null, -1, 1.5, 2 ** 31, '1', {}, []] as never[]) {
      assert.equal(native.ueventOpen(bad), undefined);
      assert.equal(native.ueventReceive(bad, room), undefined);
      assert.equal(native.ueventReceive(socket, bad), undefined);
    }
    assert.equal(native.closeSync(socket), 0);
    assert.equal(native.ueventReceive(socket, room), undefined);
  });
});
