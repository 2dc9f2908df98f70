import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import { FdChannel, FdListener, type FdMessage } from '../../lib/index.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { assertNoMore, openFds } from '../support/proc.ts';
import { root } from '../support/root.ts';
import { tsWorker } from '../support/ts_worker.ts';
import { whileWaiting } from '../support/waiting.ts';

const bytes = (...numbers: number[]): Uint8Array => Uint8Array.from(numbers);

/** Sockets, and what the tests send through them. */
function ours(): string[] {
  return openFds()
    .filter((target) => /socket|\/dev\/(?:null|zero|full)/.test(target))
    .sort();
}

/** What was thrown away is closed in a thread. */
async function untilClosed(before: readonly string[]): Promise<void> {
  for (let at = 0; at < 5000 && ours().length > before.length; at++) await delay(2);
  assertNoMore(ours(), before);
}

/** SO_PASSCRED and SO_PASSPIDFD, which Python has no names for everywhere. */
const passCredentials = 16;
const passPidfd = 76;

/** Sets options of a socket, as whoever made it may at any time. */
function setOptions(fd: number, options: readonly number[]): void {
  const calls = options.map((option) => `s.setsockopt(socket.SOL_SOCKET, ${option}, 1)`).join(';');
  const program = `import socket; s = socket.socket(fileno=3); ${calls}`;
  const stdio = ['ignore', 'inherit', 'inherit', fd] as const;
  // Python cannot run with what a sanitizer preloads into Node (npm run check:tsan).
  const env = { ...process.env, LD_PRELOAD: '' };
  assert.equal(spawnSync('python3', ['-c', program], { stdio: [...stdio], env }).status, 0);
}

const isPidfd = (target: string): boolean => target.includes('pidfd');

async function received(channel: FdChannel): Promise<FdMessage> {
  const message = await channel.receive();
  assert.ok(message, 'the peer ended');
  return message;
}

describe('FdChannel', () => {
  let before: string[];
  let a: FdChannel;
  let b: FdChannel;
  let zero: number;

  beforeEach(() => {
    before = ours();
    [a, b] = FdChannel.pair();
    zero = openSync('/dev/zero', 'r');
  });
  afterEach(async () => {
    closeSync(zero);
    await Promise.all([a.close(), b.close()]);
    await untilClosed(before);
  });

  it('carries messages as they are, in order, with their descriptors', async () => {
    const null_ = openSync('/dev/null', 'r');
    await a.send(bytes(1, 2, 3), [zero, null_]);
    await a.send(bytes(4));
    await a.send(new Uint8Array(65_536).fill(5), [zero]);
    closeSync(null_);
    await using first = await received(b);
    assert.deepEqual([...first.data], [1, 2, 3]);
    const [one, two] = first.fds;
    assert.ok(one && two && first.fds.length === 2);
    assert.equal(fstatSync(one.fd).rdev, statSync('/dev/zero').rdev);
    assert.equal(fstatSync(two.fd).rdev, statSync('/dev/null').rdev);
    await using second = await received(b);
    assert.deepEqual([[...second.data], second.fds.length], [[4], 0]);
    await using third = await received(b);
    assert.deepEqual([third.data.length, third.data[65_535]], [65_536, 5]);
    // Both ways at once.
    await b.send(bytes(6));
    await using answer = await received(a);
    assert.deepEqual([...answer.data], [6]);
  });

  it('keeps what it received from programs that are started', async () => {
    await a.send(bytes(1), [zero]);
    await using message = await received(b);
    const [fd] = message.fds;
    assert.ok(fd);
    const { status } = spawnSync('test', ['-e', `/proc/self/fd/${fd.fd}`]);
    assert.equal(status, 1);
    const passed = { stdio: ['ignore', 'ignore', 'ignore', fd.fd] as const };
    assert.equal(
      spawnSync('test', ['-e', '/proc/self/fd/3'], { stdio: [...passed.stdio] }).status,
      0,
    );
  });

  it('knows its peer', () => {
    const self = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
    assert.deepEqual(a.peer, self);
  });

  it('waits while the peer’s queue is full, and sends in order', async () => {
    const count = 1000;
    const sends = Array.from({ length: count }, (_, at) =>
      a.send(bytes(at >> 8, at & 255), [zero]),
    );
    for (let at = 0; at < count; at++) {
      await using message = await received(b);
      assert.deepEqual([...message.data], [at >> 8, at & 255]);
      assert.equal(message.fds.length, 1);
    }
    await Promise.all(sends);
  });

  it('gives up sending and receiving when it is told to, and loses nothing', async () => {
    const abort = new AbortController();
    const { signal } = abort;
    const reason = new Error('enough');
    let full = 0;
    for (; rawSend(a, bytes(1), []).answer === 1; full++);
    const waiting = a.send(bytes(2), [zero], { signal });
    abort.abort(reason);
    await assert.rejects(waiting, reason);
    await assert.rejects(a.send(bytes(3), [], { signal }), reason);
    await assert.rejects(b.receive({ signal }), reason);
    for (let at = 0; at < full; at++) assert.deepEqual([...(await received(b)).data], [1]);
    const late = new AbortController();
    const receiving = b.receive({ signal: late.signal });
    late.abort(reason);
    await assert.rejects(receiving, reason);
    await a.send(bytes(4));
    assert.deepEqual([...(await received(b)).data], [4]);
  });

  it('gives each message to one of several who wait, the first to the first', async () => {
    const both = [b.receive(), b.receive()];
    await a.send(bytes(1));
    await a.send(bytes(2));
    const data = (await Promise.all(both)).map((message) => message?.data[0]);
    assert.deepEqual(data, [1, 2]);
  });

  it('ends when the peer is closed, after what it had sent', async () => {
    await b.send(bytes(9));
    await a.send(bytes(1), [zero]);
    await a.close();
    const messages: number[] = [];
    for await (const message of b) {
      messages.push(...message.data);
      await message.close();
    }
    assert.deepEqual(messages, [1]);
    assert.equal(await b.receive(), undefined);
    const error = await failure(() => b.send(bytes(1)), 'EPIPE');
    assert.match(error.message, /sendmsg/);
  });

  it('tells who waits that it was closed here; a loop just ends', async () => {
    await whileWaiting(
      () => failure(() => b.receive(), 'ERR_VFIO_CLOSED'),
      () => b.close(),
    );
    await failure(() => b.send(bytes(1)), 'ERR_VFIO_CLOSED');
    await failure(() => b.receive(), 'ERR_VFIO_CLOSED');
    await failure(() => b.fd, 'ERR_VFIO_CLOSED');
    const [c, d] = FdChannel.pair();
    const loop = async (): Promise<void> => {
      for await (const message of c) assert.fail(`${message.data.length}`);
    };
    await whileWaiting(loop, () => {
      c.closeSync();
      c.closeSync();
    });
    for await (const message of c) assert.fail(`${message.data.length}`);
    d.closeSync();
  });

  it('names what is closed of what is sent in its turn', async () => {
    while (rawSend(a, bytes(1), []).answer === 1);
    const waiting = a.send(bytes(2));
    const closed = await vfioFailure(() => a.send(bytes(3), [1_000_000]), 'EBADF');
    assert.match(closed.message, /, fcntl: the descriptor 1000000 is not open$/);
    while ((await received(b)).data[0] !== 2);
    await waiting;
  });

  it('refuses to send what is no descriptor, and what is closed', async () => {
    const closed = await vfioFailure(() => a.send(bytes(1), [zero, 1_000_000]), 'EBADF');
    assert.match(closed.message, /, sendmsg: the descriptor 1000000 is not open$/);
    assert.equal(closed.path, undefined);
    await a.send(bytes(1), [zero]);
    const message = await received(b);
    const [fd] = message.fds;
    assert.ok(fd);
    await a.send(bytes(2), [fd]);
    await message.close();
    await failure(() => a.send(bytes(2), [fd]), 'ERR_VFIO_CLOSED');
    await (await received(b)).close();
  });

  describe('with a hostile peer', () => {
    const truncated = 'ERR_VFIO_MESSAGE_TRUNCATED';
    /** Sends what `send` would not. */
    const raw = (data: Uint8Array, fds: number[]): void => {
      const { answer } = rawSend(a, data, fds);
      assert.equal(answer, data.length);
    };

    it('closes what came with too many descriptors, and goes on', async () => {
      for (const count of [17, 100, 253]) {
        raw(
          bytes(1),
          Array.from({ length: count }, () => zero),
        );
        const error = await failure(() => b.receive(), truncated);
        assert.match(error.message, /65536 bytes and 16 descriptors/);
      }
      raw(
        bytes(1),
        Array.from({ length: 16 }, () => zero),
      );
      await using message = await received(b);
      assert.equal(message.fds.length, 16);
    });

    it('leaves nothing of what its socket was told to bring along, and counts none of it', async () => {
      for (const options of [[passPidfd], [passPidfd, passCredentials]]) {
        const [c, d] = FdChannel.pair({ maxFds: 2 });
        setOptions(d.fd, options);
        await c.send(bytes(1));
        await using plain = await received(d);
        assert.equal(plain.fds.length, 0);
        await c.send(bytes(1), [zero, zero]);
        await using message = await received(d);
        assert.equal(message.fds.length, 2);
        await c.send(bytes(1), [zero, zero, zero]);
        await failure(() => d.receive(), truncated);
        assert.deepEqual(openFds().filter(isPidfd), []);
        await Promise.all([c.close(), d.close()]);
      }
    }).timeout(60_000); // starts programs

    it('gets no more than is taken, however many it sends', async () => {
      const [c, d] = FdChannel.pair({ maxFds: 2 });
      for (let count = 3; count <= 253; count += 10) {
        const { answer } = rawSend(c, bytes(1), Array<number>(count).fill(zero));
        assert.equal(answer, 1);
        await failure(() => d.receive(), truncated);
      }
      await Promise.all([c.close(), d.close()]);
    });

    it('takes none at all where it wants none', async () => {
      const [c, d] = FdChannel.pair({ maxFds: 0, maxBytes: 4 });
      await c.send(bytes(1), [zero]);
      await failure(() => d.receive(), truncated);
      await c.send(bytes(1, 2, 3, 4, 5));
      await failure(() => d.receive(), truncated);
      await c.send(bytes(1, 2, 3, 4));
      assert.equal((await received(d)).data.length, 4);
      await Promise.all([c.close(), d.close()]);
    });

    it('throws away what is too long, with its descriptors', async () => {
      raw(new Uint8Array(65_537), [zero, zero]);
      await failure(() => b.receive(), truncated);
      raw(new Uint8Array(100_000), []);
      await failure(() => b.receive(), truncated);
      await a.send(bytes(1));
      await received(b);
    });

    it('throws away descriptors without a word, and ends at an empty message', async () => {
      raw(new Uint8Array(0), [zero]);
      await failure(() => b.receive(), truncated);
      raw(new Uint8Array(0), []);
      assert.equal(await b.receive(), undefined);
    });

    it('is not kept from its other work by one that is silent', async () => {
      const abort = new AbortController();
      await whileWaiting(
        () => assert.rejects(b.receive({ signal: abort.signal }), { name: 'AbortError' }),
        () => {
          abort.abort();
        },
      );
    });

    it('closes what nobody took when the channel is closed', async () => {
      raw(bytes(1), [zero, zero, zero]);
      raw(bytes(2), [zero, a.fd, b.fd]);
      await b.close();
    });

    it('survives one that is killed in the middle, with messages on the way', async () => {
      const program = `
        import { FdChannel } from './lib/index.ts';
        const channel = FdChannel.fromFd(3);
        for (let at = 0; at < 5; at++) await channel.send(Uint8Array.of(at), [0, 1, 2]);
        process.kill(process.pid, 'SIGKILL');
      `;
      const args = ['--import', 'tsx', '--input-type=module', '--eval', program];
      await b.send(bytes(9), [zero]);
      const stdio = ['ignore', 'ignore', 'inherit', a.fd] as const;
      const { signal } = spawnSync(process.execPath, args, { cwd: root, stdio: [...stdio] });
      assert.equal(signal, 'SIGKILL');
      await a.close();
      for (let at = 0; at < 5; at++) {
        await using message = await received(b);
        assert.deepEqual([[...message.data], message.fds.length], [[at], 3]);
      }
      assert.equal(await b.receive(), undefined);
    });
  });

  it('goes with the thread that waits at it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vfio-'));
    const file = new URL('test/support/channel_worker.ts', root);
    for (let at = 0; at < 3; at++) {
      const worker = tsWorker(file, { workerData: join(folder, `socket${at}`) });
      await once(worker, 'message');
      await worker.terminate();
    }
    rmSync(folder, { recursive: true });
  });

  it('takes a socket of the right kind only', async () => {
    await failure(() => FdChannel.fromFd(zero), 'ENOTSOCK');
    await failure(() => FdChannel.fromFd(1_000_000), 'EBADF');
    const server = createServer().listen(0);
    await once(server, 'listening');
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    await failure(() => FdChannel.fromFd(fd), 'EPROTOTYPE');
    server.close();
    await a.send(bytes(1), [b.fd]);
    await using message = await received(b);
    const [end] = message.fds;
    assert.ok(end);
    const copy = FdChannel.fromFd(end);
    await failure(() => end.fd, 'ERR_VFIO_CLOSED');
    await a.send(bytes(7));
    assert.deepEqual([...(await received(copy)).data], [7]);
    await copy.close();
  });
});

describe('FdListener', () => {
  let folder: string;
  let path: string;
  let before: string[];
  beforeEach(() => {
    before = ours();
    folder = mkdtempSync(join(tmpdir(), 'vfio-'));
    path = join(folder, 'socket');
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true });
    await untilClosed(before);
  });

  it('accepts who connects, and knows who that is', async () => {
    await using listener = FdListener.listen(path);
    const client = FdChannel.connect(path);
    await client.send(bytes(1));
    const [channel, second] = [await listener.accept(), listener.accept()];
    assert.equal(channel.peer.uid, process.getuid?.());
    assert.equal(client.peer.pid, process.pid);
    assert.deepEqual([...(await received(channel)).data], [1]);
    const other = FdChannel.connect(path);
    await Promise.all([client, channel, other, await second].map((each) => each.close()));
  });

  it('lets nobody in but its user, unless it is told', async () => {
    const modeOf = (): number => statSync(path).mode & 0o777;
    await using closed = FdListener.listen(path);
    assert.equal(modeOf(), 0o600);
    await closed.close();
    await using open = FdListener.listen(path, { mode: 0o666 });
    assert.equal(modeOf(), 0o666);
    await open.close();
  });

  it('removes its file, and no other', async () => {
    const first = FdListener.listen(path);
    await failure(() => FdListener.listen(path), 'EADDRINUSE');
    await failure(() => FdListener.listen(join(folder, 'none/socket')), 'ENOENT');
    await first.close();
    await first.close();
    assert.ok(!existsSync(path));
    const second = FdListener.listen(path);
    rmSync(path);
    writeFileSync(path, 'another');
    second.closeSync();
    assert.ok(existsSync(path));
    rmSync(path);
    symlinkSync('/dev/null', path);
    await failure(() => FdListener.listen(path), 'EADDRINUSE');
  });

  it('is closed also where its file may not be removed any more', async () => {
    // A program that listened as root, and then gave its rights up.
    const asNobody = <T>(close: () => T): T => {
      chmodSync(folder, 0o555);
      const uid = process.geteuid?.() ?? -1;
      if (uid === 0) process.seteuid?.(65_534);
      try {
        return close();
      } finally {
        if (uid === 0) process.seteuid?.(uid);
        chmodSync(folder, 0o755);
      }
    };
    for (const how of ['close', 'closeSync'] as const) {
      const listener = FdListener.listen(path);
      const waiting = listener.accept();
      const closed = failure(() => waiting, 'ERR_VFIO_CLOSED');
      const error = await vfioFailure(() => asNobody(() => listener[how]()), 'EACCES');
      assert.deepEqual([error.syscall, error.path], ['unlink', path]);
      await closed;
      assertNoMore(ours(), before);
      await listener.close();
      rmSync(path);
    }
  });

  it('ends: who waits is told, a loop is over, those not accepted see the end', async () => {
    const listener = FdListener.listen(path);
    const loop = async (): Promise<void> => {
      for await (const channel of listener) assert.fail(channel.constructor.name);
    };
    await whileWaiting(
      () => Promise.all([failure(() => listener.accept(), 'ERR_VFIO_CLOSED'), loop()]),
      () => listener.close(),
    );
    await failure(() => listener.accept(), 'ERR_VFIO_CLOSED');
    await failure(() => FdChannel.connect(path), 'ENOENT');

    const second = FdListener.listen(path, { backlog: 1 });
    const clients = [FdChannel.connect(path), FdChannel.connect(path)];
    await failure(() => FdChannel.connect(path), 'EAGAIN');
    second.closeSync();
    for (const client of clients) {
      assert.equal(await client.receive(), undefined);
      await client.close();
    }
    writeFileSync(path, '');
    await failure(() => FdChannel.connect(path), 'ECONNREFUSED');
  });

  it('gives up waiting when it is told to', async () => {
    await using listener = FdListener.listen(path);
    const abort = new AbortController();
    const accepting = listener.accept({ signal: abort.signal });
    abort.abort();
    await assert.rejects(accepting, { name: 'AbortError' });
    using client = FdChannel.connect(path);
    await using channel = await listener.accept();
    await client.send(bytes(1));
    await received(channel);
  });
});

/** The addon's own send, which sends empty messages as well. */
function rawSend(channel: FdChannel, data: Uint8Array, fds: number[]): { answer: number } {
  const native = binding();
  const copy = native.dup(channel.fd) as NativeFd;
  const answer = native.socketSend(copy, data, Int32Array.from(fds)) ?? NaN;
  native.closeSync(copy);
  return { answer };
}
