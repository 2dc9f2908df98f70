// The types of kvm.c, and loading it. Descriptors are numbers that the VMM closes.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Why a vCPU left the guest: KVM_EXIT_…, and what it wrote to which port where that is why. */
export interface Exit {
  reason: number;
  port: number;
  value: number;
}

/** KVM_EXIT_IO */
export const exitIo = 2;

/** What a VMM needs of /dev/kvm. Each throws an Error whose `code` is the errno's name. */
export interface Kvm {
  createVm: () => number;
  createIrqchip: (vm: number) => void;
  /** Guest-physical memory that is this process's at `address`; a size of 0 takes it away. */
  setMemory: (vm: number, slot: number, guest: bigint, size: number, address: bigint) => void;
  createEventfd: () => number;
  /** `resample`: the eventfd that tells that the guest has ended a level-triggered interrupt. */
  setIrqfd: (vm: number, eventfd: number, line: number, resample?: number) => void;
  createVcpu: (vm: number) => number;
  run: (vcpu: number) => Promise<Exit>;
  /** The machine code that the vCPU starts with, for `guestAt`. */
  guest: () => Uint8Array;
}

/** Where the guest's code begins. */
export const guestAt = 0x1000;

/** Loads kvm.c as it was built, beside this file or by node-gyp. */
export function loadKvm(): Kvm {
  const places = ['kvm.node', 'build/Release/kvm.node'].map((name) =>
    fileURLToPath(new URL(name, import.meta.url)),
  );
  const path = places.find((each) => existsSync(each));
  if (path === undefined) throw new Error('run `npx node-gyp rebuild` in examples/vmm/kvm first');
  const addon = { exports: {} };
  process.dlopen(addon, path);
  return addon.exports as Kvm;
}
