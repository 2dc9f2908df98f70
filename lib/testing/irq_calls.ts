import type { Binding, NativeFd } from '../core/binding.ts';
import { ECANCELED, EINVAL } from '../core/errno.ts';
import type { AccessCalls } from './access_calls.ts';
import type { Fakes } from './calls.ts';
import type { FakeDevice } from './fake_device.ts';
import { irqIndex } from './irq_lines.ts';
import type { Machine } from './machine.ts';

// Words of native/mmio.h's Mailbox.
const [HANDLE, STATUS] = [4, 5];
const EBADF = -9;

/** Which descriptor has each interrupt, and what the device told: as native/irq_owners.h does. */
export class IrqCalls {
  readonly #machine: Machine;
  readonly #claims = new Map<FakeDevice, Map<number, NativeFd>>();
  /** Whether a notice of each kind would be heard of. */
  readonly #heard = new Map<FakeDevice, [request: boolean, error: boolean]>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  ofDescriptors(): Fakes {
    const bound = (handle: unknown): FakeDevice | undefined => this.#machine.bound(handle);
    return {
      irqsJoin: () => 0,
      irqsClaim: (handle, index) => this.#claim(handle, index),
      irqsUnclaim: (handle, index) => {
        const device = bound(handle);
        if (device) this.#claimsOf(device).delete(index);
        return 0;
      },
      irqsOwner: (handle, index) => {
        const device = bound(handle);
        const owner = device && this.#claimsOf(device).get(index);
        if (owner === undefined) return 0;
        return owner === handle ? 1 : 2;
      },
      irqsReleaseSync: (handle, index) => {
        const device = bound(handle);
        if (device === undefined) return EINVAL;
        const answer = device.irqs.act(32, index, 0, 0);
        this.#claimsOf(device).delete(index);
        return answer;
      },
      setIrqsSync: (handle, action, index, start, count) => {
        const device = bound(handle);
        if (device === undefined) return EINVAL;
        const disables = action === 32 && count === 0;
        if (disables && !this.#has(device, handle, index)) return ECANCELED;
        return device.irqs.act(action, index, start, count);
      },
      setIrqsBoolSync: (handle, action, index, start, bytes) =>
        bound(handle)?.irqs.actOnSome(action, index, start, bytes) ?? EINVAL,
      setIrqsEventfdSync: (handle, action, index, start, handles) => {
        const device = bound(handle);
        if (device === undefined) return EINVAL;
        if (action === 32 && !this.#has(device, handle, index)) return ECANCELED;
        return device.irqs.tie(action, index, start, handles);
      },
      noticesWatch: (handle, kind, event) => {
        const device = bound(handle);
        if (device === undefined) return EINVAL;
        const heard = this.#heard.get(device) ?? [false, false];
        // An event of 0: the device never tells, which is known as well.
        heard[kind as 0 | 1] = event >= 0;
        this.#heard.set(device, heard);
        return 0;
      },
      noticesTell: (handle, kind) => {
        const device = bound(handle);
        if (device) device.told[kind as 0 | 1] = true;
        return 0;
      },
    };
  }

  /** What a device told, by the mailbox. */
  notices(access: AccessCalls): Partial<Binding> {
    const { native } = this.#machine;
    const mailbox = native.mailbox();
    const words = new Uint32Array(mailbox);
    const signed = new Int32Array(mailbox);
    return {
      noticesOfDevice: () => {
        const handle = words[HANDLE] ?? 0;
        if (this.#machine.files.get(handle) === undefined) native.noticesOfDevice();
        else signed[STATUS] = this.#look(this.#machine.bound(handle));
      },
      noticesOfMapping: () => {
        const { mapping } = access;
        if (mapping === undefined) native.noticesOfMapping();
        else signed[STATUS] = this.#look(mapping.device);
      },
    };
  }

  /** A descriptor is closed, and has no interrupts any more. */
  forget(handle: NativeFd): void {
    const device = this.#machine.bound(handle);
    if (device === undefined) return;
    const claims = this.#claimsOf(device);
    for (const [index, owner] of claims) if (owner === handle) claims.delete(index);
  }

  #look(device: FakeDevice | undefined): number {
    if (device === undefined) return EBADF;
    const [request, error] = device.told;
    const heard = this.#heard.get(device) ?? [false, false];
    const isHeard = (kind: 0 | 1): boolean =>
      heard[kind] && device.irqs.enabled(kind === 0 ? irqIndex.req : irqIndex.err) > 0;
    return (
      (request && heard[0] ? 1 : 0) |
      (error && heard[1] ? 2 : 0) |
      (isHeard(0) ? 4 : 0) |
      (isHeard(1) ? 8 : 0)
    );
  }

  #claim(handle: NativeFd, index: number): number {
    const device = this.#machine.bound(handle);
    if (device === undefined) return EINVAL;
    const claims = this.#claimsOf(device);
    const owner = claims.get(index);
    if (owner !== undefined && owner !== handle) return 0;
    claims.set(index, handle);
    return 1;
  }

  #has(device: FakeDevice, handle: NativeFd, index: number): boolean {
    return this.#claimsOf(device).get(index) === handle;
  }

  #claimsOf(device: FakeDevice): Map<number, NativeFd> {
    const claims = this.#claims.get(device) ?? new Map<number, NativeFd>();
    this.#claims.set(device, claims);
    return claims;
  }
}
