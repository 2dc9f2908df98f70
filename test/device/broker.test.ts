import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, it } from 'mocha';
import { FdChannel, unpackDevice, VfioDevice, type UnpackedDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { firstWords } from '../support/first_words.ts';
import { root } from '../support/root.ts';

const example = (name: string): string =>
  new URL(`build-test/examples/vmm/${name}.js`, root).pathname;

/** An ordinary user, who has no capability. */
const nobody = { uid: 65_534, gid: 65_534 };

describeLab('the example of a broker', ['edu', 'nvme0'], ({ edu, nvme0 }) => {
  let folder: string;
  let path: string;
  let broker: ChildProcess;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'vfio-broker-'));
    path = join(folder, 'socket');
    const policy = join(folder, 'policy.json');
    const own = process.getuid?.() ?? 0;
    writeFileSync(
      policy,
      JSON.stringify({ [edu.address]: [own, nobody.uid], [nvme0.address]: [] }),
    );
    chmodSync(folder, 0o755);
    broker = spawn(process.execPath, [example('broker'), path, policy], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    assert.ok(broker.stdout);
    const lines = createInterface({ input: broker.stdout });
    const [line] = (await once(lines, 'line')) as [string];
    assert.equal(line, `listening at ${path}`);
    lines.resume();
  });
  after(async () => {
    const exited = once(broker, 'exit');
    broker.kill();
    assert.deepEqual(await exited, [0, null]);
    rmSync(folder, { recursive: true });
  });

  async function client(
    address: string,
    user: { uid?: number; gid?: number } = nobody,
  ): Promise<{ status: number | null; out: string; err: string }> {
    const child = spawn(process.execPath, [example('broker_client'), path, address], {
      ...user,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const closed = once(child, 'close') as Promise<[number | null]>;
    const [out, err, [status]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      closed,
    ]);
    return { status, out, err };
  }

  async function askFor(address: unknown): Promise<[FdChannel, Record<string, unknown>, unknown]> {
    const channel = FdChannel.connect(path);
    await channel.send(Buffer.from(JSON.stringify({ open: address })));
    const message = await channel.receive();
    assert.ok(message, 'the broker ended');
    const answer = JSON.parse(Buffer.from(message.data).toString()) as Record<string, unknown>;
    return [channel, answer, message.fds.length === 2 ? message : undefined];
  }

  /**
   * Takes the device, once it is free: a broker that was opening it for a client that is gone opens
   * it to the end first, and closes it.
   */
  async function take(): Promise<[FdChannel, UnpackedDevice]> {
    for (const deadline = performance.now() + 30_000; ;) {
      const channel = FdChannel.connect(path);
      await channel.send(Buffer.from(JSON.stringify({ open: edu.address })));
      await using message = await channel.receive();
      assert.ok(message, 'the broker ended');
      const answer = JSON.parse(Buffer.from(message.data).toString()) as Record<string, unknown>;
      if (answer['ok'] === true) {
        return [channel, unpackDevice(answer['device'], message.fds, { device: edu })];
      }
      assert.equal(answer['why'], 'somebody has it');
      assert.ok(performance.now() < deadline, 'it never comes back');
      await channel.close();
    }
  }

  async function assertRefused(address: unknown, why: string): Promise<void> {
    const [channel, answer, device] = await askFor(address);
    assert.deepEqual(answer, { ok: false, why });
    assert.equal(device, undefined);
    assert.equal(await channel.receive(), undefined);
    await channel.close();
  }

  const driven = [
    `user ${nobody.uid} has ${edu.address}`,
    'it interrupts: 10! = 3628800',
    'it copies: by DMA, there and back',
    '',
  ].join('\n');

  it('lets an ordinary user drive a device that only root may open', async () => {
    for (let at = 0; at < 2; at++) {
      assert.deepEqual(await client(edu.address), { status: 0, out: driven, err: '' });
    }
    const program = `import('${new URL('build-test/programs/vfio.js', root).href}')
      .then(({ VfioDevice }) => VfioDevice.open('${edu.address}', { timeout: 0 }))
      .catch(({ code }) => console.log(code));`;
    const child = spawn(process.execPath, ['--eval', program], { ...nobody, stdio: 'pipe' });
    assert.equal(await text(child.stdout), 'EACCES\n');
  });

  it('gives nobody what the policy does not', async () => {
    const { status, err } = await client(nvme0.address);
    assert.equal(status, 1);
    assert.match(err, /the broker refused: not for you/);
    for (const other of [nvme0.address, '0000:ff:00.0', edu.address.slice(5), '__proto__', '/']) {
      await assertRefused(other, 'not for you');
    }
    const { uid, gid } = { uid: 4711, gid: 4711 };
    assert.match((await client(edu.address, { uid, gid })).err, /not for you/);
  });

  it('is not impressed by what is no request', async () => {
    const ask = 'ask for a device: { "open": address }';
    for (const other of [3, null, undefined, [edu.address], {}]) await assertRefused(other, ask);
    const send = async (data: Uint8Array, fds: number[] = []): Promise<unknown> => {
      await using channel = FdChannel.connect(path);
      await channel.send(data, fds);
      const message = await channel.receive();
      return message && JSON.parse(Buffer.from(message.data).toString());
    };
    const refused = { ok: false, why: ask };
    assert.deepEqual(await send(Buffer.from('{"open":')), refused);
    assert.deepEqual(await send(Buffer.from('null')), refused);
    assert.deepEqual(await send(Uint8Array.of(0xff, 0)), refused);
    assert.equal(await send(new Uint8Array(10_000)), undefined);
    assert.equal(await send(Buffer.from(JSON.stringify({ open: edu.address })), [0, 1]), undefined);
    FdChannel.connect(path).closeSync();
    using _silent = FdChannel.connect(path);
    assert.equal((await client(edu.address)).status, 0);
  });

  it('lends it to one at a time, and has it back from each', async () => {
    const [channel, { device }] = await take();
    await assertRefused(edu.address, 'somebody has it');
    await device.close();
    await assertRefused(edu.address, 'somebody has it');
    await channel.close();
    const [again, second] = await take();
    // Says that it is done, and keeps the device.
    await again.close();
    await assertRefused(edu.address, 'its last owner has it still');
    await second.device.close();
    assert.equal((await client(edu.address)).status, 0);
  });

  it('has it back from a client that is killed, whenever that is', async () => {
    // Any time will do; at the last one it has the device, and drives it.
    for (const when of [0, 100, 200, 300, 400, 500, 'it drives it'] as const) {
      const child = spawn(process.execPath, [example('broker_client'), path, edu.address], {
        ...nobody,
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const exited = once(child, 'exit');
      await (typeof when === 'number' ? delay(when) : firstWords(child.stdout));
      child.kill('SIGKILL');
      await exited;
      const [channel, { device }] = await take();
      await device.close();
      await channel.close();
    }
    await (await VfioDevice.open(edu)).close();
  }).timeout(300_000);
});
