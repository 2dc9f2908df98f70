// Hands devices over: how long it takes through a broker (examples/vmm/broker.ts) beside opening
// directly; whether descriptors stay behind; how soon the device of a peer that was killed can be
// had.
//
//   npm run bench:handover                                 in the lab, its edu and an NVMe
//   node build-test/bench/handover.js [rounds] [hand-overs]
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { median } from '../lib/cli/bench/rounds.ts';
import { FdChannel, packDevice, unpackDevice, VfioDevice } from '../lib/index.ts';
import { devices, type TestDevice } from '../test/support/devices.ts';
import { openFds } from '../test/support/proc.ts';
import { root } from '../test/support/root.ts';
import type { Step } from './handover_peer.ts';

const [rounds = '100', handOvers = '10000'] = process.argv.slice(2);
const peer = new URL('build-test/bench/handover_peer.js', root).pathname;
/** Of bench/handover_peer.ts, which is a program. */
const steps: readonly Step[] = ['connected', 'asked', 'received', 'unpacked', 'mapped', 'attached'];

/** The broker of the examples, with these devices for this user. */
class Broker {
  readonly path: string;
  readonly #folder: string;
  readonly #child: ChildProcess;

  constructor(specs: readonly TestDevice[]) {
    this.#folder = mkdtempSync(join(tmpdir(), 'vfio-handover-'));
    this.path = join(this.#folder, 'socket');
    const policy = join(this.#folder, 'policy.json');
    const uid = process.getuid?.() ?? 0;
    writeFileSync(policy, JSON.stringify(Object.fromEntries(specs.map((s) => [s.address, [uid]]))));
    const program = new URL('build-test/examples/vmm/broker.js', root).pathname;
    this.#child = spawn(process.execPath, [program, this.path, policy], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  }

  async ready(): Promise<void> {
    const { stdout } = this.#child;
    if (!stdout) throw new Error('the broker has no output');
    const lines = createInterface({ input: stdout });
    await once(lines, 'line');
    lines.resume();
  }

  /** Descriptors that the broker has. */
  get fds(): number {
    return openFds(this.#child.pid).length;
  }

  /** When a device was asked for, and when it could be used; closes it again. */
  async open(spec: TestDevice): Promise<{ asked: bigint; usable: bigint }> {
    for (;;) {
      const asked = process.hrtime.bigint();
      await using channel = FdChannel.connect(this.path);
      await channel.send(Buffer.from(JSON.stringify({ open: spec.address })));
      const message = await channel.receive();
      if (!message) throw new Error('the broker ended');
      const answer = JSON.parse(Buffer.from(message.data).toString()) as Record<string, unknown>;
      // It has not heard yet that the last one is done.
      if (answer['why'] === 'somebody has it') {
        await delay(1);
        continue;
      }
      const { device } = unpackDevice(answer['device'], message.fds);
      const usable = process.hrtime.bigint();
      await device.close();
      return { asked, usable };
    }
  }

  end(): void {
    this.#child.kill();
    rmSync(this.#folder, { recursive: true });
  }
}

async function timeDirect(spec: TestDevice): Promise<{ open: number; close: number }> {
  const begin = performance.now();
  const device = await VfioDevice.open(spec);
  device.iommufd.createIoas();
  const opened = performance.now();
  await device.close();
  return { open: opened - begin, close: performance.now() - opened };
}

const ms = (time: number): string => `${time.toFixed(time < 10 ? 2 : 0)} ms`;

async function compare(broker: Broker, spec: TestDevice, count: number): Promise<void> {
  const direct: number[] = [];
  const closes: number[] = [];
  const brokered: number[] = [];
  // Until the engine has optimised both sides.
  const warmUp = Math.max(count, 150);
  for (let at = -warmUp; at < count; at++) {
    const { open, close } = await timeDirect(spec);
    const { asked, usable } = await broker.open(spec);
    if (at < 0) continue;
    direct.push(open);
    closes.push(close);
    brokered.push(Number(usable - asked) / 1e6);
  }
  const ratio = (median(brokered) / median(direct)).toFixed(2);
  console.log(
    `${spec.name}: through the broker ${ms(median(brokered))}, directly ${ms(median(direct))}, ` +
      `÷ ${ratio}; closing ${ms(median(closes))}; medians of ${count}`,
  );
}

/** Passes one device again and again, and looks whether descriptors stay behind. */
async function passMany(spec: TestDevice, times: number): Promise<void> {
  const [ours, theirs] = FdChannel.pair();
  const stdio = ['ignore', 'inherit', 'inherit', theirs.fd] as const;
  const child = spawn(process.execPath, [peer], { stdio: [...stdio] });
  theirs.closeSync();
  const device = await VfioDevice.open(spec);
  const { description, fds } = packDevice(device, [device.iommufd.createIoas()]);
  const text = Buffer.from(JSON.stringify(description));
  const ask = async (data: Uint8Array, sent: readonly number[] = []): Promise<unknown> => {
    await ours.send(data, sent);
    await using message = await ours.receive();
    if (!message) throw new Error('the peer ended');
    return JSON.parse(Buffer.from(message.data).toString());
  };
  const count = async (): Promise<string> =>
    `${openFds().length} and ${String(await ask(Buffer.from('?')))}`;
  for (let at = 0; at < 100; at++) await ask(text, fds);
  const counts = new Set([await count()]);
  let time = 0;
  for (let at = 0; at < times; at += 500) {
    const begin = performance.now();
    for (let each = 0; each < 500; each++) await ask(text, fds);
    time += performance.now() - begin;
    counts.add(await count());
  }
  const seen = [...counts].join('; ');
  console.log(
    `${times} hand-overs, ${ms(time / times)} each, with the answer that it was taken and closed; ` +
      `descriptors of sender and receiver, every 500: ${seen}`,
  );
  const exited = once(child, 'exit');
  await ours.close();
  await exited;
  await device.close();
}

/**
 * Milliseconds from a peer's death at a step: until it is gone, and until the next has the device.
 */
async function timeEnd(
  broker: Broker,
  spec: TestDevice,
  step: Step,
): Promise<{ gone: number; next: number }> {
  const child = spawn(process.execPath, [peer, broker.path, spec.address, step], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let gone = 0n;
  const exited = once(child, 'exit').then(() => (gone = process.hrtime.bigint()));
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const died = BigInt(line);
  const { usable } = await broker.open(spec);
  await exited;
  return { gone: Number(gone - died) / 1e6, next: Number(usable - died) / 1e6 };
}

async function killAtEveryStep(broker: Broker, spec: TestDevice, count: number): Promise<void> {
  for (const step of steps) {
    const times: { gone: number; next: number }[] = [];
    for (let at = 0; at < count; at++) times.push(await timeEnd(broker, spec, step));
    const nexts = times.map(({ next }) => next);
    console.log(
      `${spec.name}: killed when ${step}: gone after ${ms(median(times.map(({ gone }) => gone)))}, ` +
        `the next has it after ${ms(median(nexts))}, ${ms(Math.max(...nexts))} at most; of ${count}`,
    );
  }
}

const specs = ['edu', 'nvme0'].map((name) => {
  const spec = devices.find((device) => device.name === name);
  if (spec === undefined) throw new Error(`the lab has no ${name}`);
  return spec;
});
const broker = new Broker(specs);
await broker.ready();
const before = broker.fds;
for (const spec of specs) {
  await compare(broker, spec, spec.kind === 'edu' ? Number(rounds) : Number(rounds) / 5);
}
for (const spec of specs) await killAtEveryStep(broker, spec, 5);
console.log(`descriptors of the broker: ${before} before, ${broker.fds} after`);
broker.end();
const [edu] = specs;
if (edu) await passMany(edu, Number(handOvers));
