import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { describe } from 'mocha';
import type { Iommufd } from '../../lib/index.ts';
import { root } from './root.ts';

/** The kernel's numbers of what its mock IOMMU has (drivers/iommu/iommufd/iommufd_test.h). */
export const selftest = {
  hardwareInfo: 0xfeedbeef,
  hwptData: 0xdead,
  invalidation: 0xdeadbeef,
  viommu: 0xdeadbeef,
  veventQueue: 0xbeefbeef,
  hwQueue: 0xdeadbeef,
  /** MOCK_FLAGS_DEVICE_NO_DIRTY, MOCK_FLAGS_DEVICE_PASID */
  noDirty: 1,
  pasid: 4,
  /** Where the mock translates: from here to 2 GiB. */
  aperture: 0x100_0000n,
} as const;

/** A device that the kernel makes behind its mock IOMMU. */
export interface MockDevice {
  /** What the mock's operations name it by. */
  own: number;
  /** What the iommufd does. */
  devId: number;
}

/** How a device asks for a page; a read without a PASID by default. */
export interface FaultRequest {
  pasid?: number;
  group?: number;
  /** IOMMU_PGFAULT_PERM_* */
  permissions?: number;
}

/** The mock IOMMU's devices in one iommufd, by a program that inherits it. */
export class MockIommu {
  readonly #iommufd: Iommufd;

  constructor(iommufd: Iommufd) {
    this.#iommufd = iommufd;
  }

  /** Makes a device and attaches it to an address space. */
  makeDevice(pageTable: number, flags = 0): MockDevice {
    const [own = 0, , devId = 0] = this.#run('device', [pageTable, flags]).split(' ').map(Number);
    return { own, devId };
  }

  /** Unplugs a device, or destroys any object. */
  destroy(id: number): void {
    this.#run('destroy', [id]);
  }

  /** Attaches a device to another page table. */
  replace({ own }: MockDevice, pageTable: number): void {
    this.#run('replace', [own, pageTable]);
  }

  /** Whether a page table leads to a file's bytes. */
  leadsTo(pageTable: number, iova: bigint, length: number, file: number, offset = 0): boolean {
    return this.#holds('map', [pageTable, iova, length, offset], file);
  }

  /** A device writes to the pages with these numbers of a range. */
  write(pageTable: number, range: { iova: bigint; length: bigint }, pages: Iterable<number>): void {
    const page = 4096n;
    const words = new BigUint64Array(Number((range.length / page + 63n) / 64n));
    let count = 0;
    for (const at of new Set(pages)) {
      words[at >> 6] = (words[at >> 6] ?? 0n) | (1n << BigInt(at & 63));
      count++;
    }
    const given = [pageTable, range.iova, range.length, page];
    const told = this.#run('dirty', given, { input: new Uint8Array(words.buffer) });
    assert.equal(Number(told), count);
  }

  /** Whether an entry of a nested table's IOTLB has this value. */
  hasIotlb(pageTable: number, entry: number, value: number): boolean {
    return this.#holds('iotlb', [pageTable, entry, value]);
  }

  /** Whether an entry of a device's cache has this value. */
  hasCache({ devId }: MockDevice, entry: number, value: number): boolean {
    return this.#holds('cache', [devId, entry, value]);
  }

  /** A device asks for a page. */
  fault(
    { devId }: MockDevice,
    address: bigint,
    { pasid = 0, group = 0, permissions = 1 }: FaultRequest = {},
  ): void {
    this.#run('fault', [devId, pasid, group, permissions, address]);
  }

  /** A device has its vIOMMU tell of something. */
  event({ devId }: MockDevice): void {
    this.#run('event', [devId]);
  }

  attachPasid({ own }: MockDevice, pasid: number, pageTable: number): void {
    this.#run('pasid-attach', [own, pasid, pageTable]);
  }

  replacePasid({ own }: MockDevice, pasid: number, pageTable: number): void {
    this.#run('pasid-replace', [own, pasid, pageTable]);
  }

  detachPasid({ own }: MockDevice, pasid: number): void {
    this.#run('pasid-detach', [own, pasid]);
  }

  /** Whether a PASID is attached to a page table; to none, where that is 0. */
  hasPasid({ own }: MockDevice, pasid: number, pageTable: number): boolean {
    return this.#holds('pasid-check', [own, pasid, pageTable]);
  }

  #holds(op: string, given: (number | bigint)[], file?: number): boolean {
    try {
      this.#run(op, given, { file });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
      return false;
    }
  }

  #run(
    op: string,
    given: (number | bigint)[],
    { input, file }: { input?: Uint8Array; file?: number | undefined } = {},
  ): string {
    const program = new URL('build-test/programs/mock_iommu', root).pathname;
    const { status, signal, stdout, error } = spawnSync(program, [op, ...given.map(String)], {
      stdio: ['pipe', 'pipe', 'inherit', this.#iommufd.fd, file ?? 'ignore'],
      ...(input && { input }),
    });
    if (error) throw error;
    assert.equal(signal, null, op);
    if (status !== 0) throw refusal(op, status ?? 255);
    return stdout.toString().trim();
  }
}

/** What the kernel said to an operation of the mock. */
function refusal(op: string, errno: number): Error {
  assert.notEqual(errno, 255, `${op}: a mistake in its arguments`);
  const [code = `E${errno}`] = Object.entries(constants.errno).find(([, at]) => at === errno) ?? [];
  return Object.assign(new Error(`${code}: ${op} of the mock IOMMU`), { code });
}

const hasMock = existsSync('/sys/bus/iommufd_mock');

/** Tests that need the kernel's mock IOMMU, which the lab's newest kernel has. */
export function describeMock(title: string, body: () => void): void {
  if (hasMock) describe(title, body);
  else
    describe.skip(
      `${title} (a kernel with CONFIG_IOMMUFD_TEST: npm run lab -- --kernel 7.3)`,
      body,
    );
}
