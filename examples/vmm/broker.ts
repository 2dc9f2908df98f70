// Opens devices for users who may not open them: a small process that has the right to, and lends
// each device to one process at a time, by a list of who may have what.
//
//   node build-test/examples/vmm/broker.js /run/vfio-broker.sock policy.json
//
// The policy names for each device the users who may have it: { "0000:00:02.0": [1000, 1001] }. A
// client connects, asks for one device and gets it bound, with an iommufd and an address space of
// its own. It has the device until its connection ends: because it closed it, or because it died.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import {
  FdListener,
  packDevice,
  VfioDevice,
  VfioError,
  type FdChannel,
  type PeerCredentials,
} from 'vfio';
import { decode, encode } from './protocol.ts';

type Policy = Readonly<Record<string, readonly number[]>>;

/** Who says nothing for so long is sent away. */
const patience = 5_000;
/** Connections of one user at once. */
const mostOfUser = 16;
/** How long the last owner's end may take: its descriptors go when it does, and then the reset. */
const lastOwnerEnds = 2_000;

class Refusal extends Error {}

class Broker {
  readonly #policy: Policy;
  /** The devices that are lent. */
  readonly #lent = new Set<string>();
  readonly #connections = new Map<number, number>();

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  /** One client, from its request to its end. */
  async serve(channel: FdChannel): Promise<void> {
    const { uid } = channel.peer;
    this.#count(uid, 1);
    try {
      await this.#answer(channel);
    } finally {
      this.#count(uid, -1);
      await channel.close();
    }
  }

  async #answer(channel: FdChannel): Promise<void> {
    try {
      const address = await this.#asked(channel);
      if (address !== undefined) await this.#lend(address, channel);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      await channel.send(encode({ ok: false, why: error.message }), [], waiting());
    }
  }

  /** The device that the client asks for, and may have; undefined where it went without a word. */
  async #asked(channel: FdChannel): Promise<string | undefined> {
    const { peer } = channel;
    if ((this.#connections.get(peer.uid) ?? 0) > mostOfUser) throw new Refusal('too many at once');
    const message = await channel.receive(waiting());
    if (!message) return undefined;
    const request = decode(message.data);
    const asked = typeof request === 'object' && request !== null && 'open' in request;
    const address = asked ? request.open : undefined;
    if (typeof address !== 'string') throw new Refusal('ask for a device: { "open": address }');
    return this.#allowed(address, peer);
  }

  /** By the name that the policy has for it, and not by whatever else may name it. */
  #allowed(address: string, { uid }: PeerCredentials): string {
    const users = Object.hasOwn(this.#policy, address) ? this.#policy[address] : undefined;
    // Who may not have it is not told whether it is there.
    if (!users?.includes(uid)) throw new Refusal('not for you');
    if (this.#lent.has(address)) throw new Refusal('somebody has it');
    return address;
  }

  async #lend(address: string, channel: FdChannel): Promise<void> {
    this.#lent.add(address);
    try {
      // Nobody gets an iommufd that another has had: each device opens one of its own.
      await using device = await openFree(address);
      const { description, fds } = packDevice(device, [device.iommufd.createIoas()]);
      await channel.send(encode({ ok: true, device: description }), fds, waiting());
      console.log(`${address}: lent to user ${channel.peer.uid}, process ${channel.peer.pid}`);
      // From here on only the client has it: when it dies, the kernel takes it back.
      await device.close();
      await ended(channel);
    } finally {
      this.#lent.delete(address);
      console.log(`${address}: back`);
    }
  }

  #count(uid: number, change: number): void {
    const count = (this.#connections.get(uid) ?? 0) + change;
    if (count > 0) this.#connections.set(uid, count);
    else this.#connections.delete(uid);
  }
}

/**
 * Opens a device that is free, or will be at once. A client that ended its connection and kept the
 * descriptors, or gave them to others, has it still: binding then fails, and nobody else gets it.
 */
async function openFree(address: string): Promise<VfioDevice> {
  const until = performance.now() + lastOwnerEnds;
  for (;;) {
    try {
      return await VfioDevice.open(address, { requestEvents: false });
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      const isHeld = error.reason === 'held-by-cdev';
      if (!isHeld || performance.now() > until) throw refusalOf(error);
      await delay(5);
    }
  }
}

function refusalOf(error: VfioError): Refusal {
  console.error(error.message);
  return new Refusal(error.code === 'EINVAL' ? 'its last owner has it still' : error.code);
}

/** Whatever it says now, it is the end: it had one request. */
async function ended(channel: FdChannel): Promise<void> {
  const message = await channel.receive();
  await message?.close();
}

/** The client went before it was answered. */
function isGone(error: unknown): boolean {
  return error instanceof VfioError && ['EPIPE', 'ECONNRESET'].includes(error.code);
}

function waiting(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(patience) };
}

const [path = '', policyFile = ''] = process.argv.slice(2);
const broker = new Broker(JSON.parse(readFileSync(policyFile, 'utf8')) as Policy);
// Everybody may ask; the policy says who gets what. No client has a descriptor to send.
await using listener = FdListener.listen(path, { mode: 0o666, maxBytes: 1024, maxFds: 0 });
process.on('SIGTERM', () => {
  listener.closeSync();
  process.exit(0);
});
console.log(`listening at ${path}`);
for await (const channel of listener) {
  // What one client does is no other's trouble.
  broker.serve(channel).catch((error: unknown) => {
    if (!isGone(error)) console.error(error instanceof Error ? error.message : error);
  });
}
