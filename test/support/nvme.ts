import assert from 'node:assert/strict';
import { DmaBuffer, type AddressSpace, type DmaMapping, type VfioDevice } from '../../lib/index.ts';
import type { MappedRegion } from '../../lib/region/mapped_region.ts';

const page = 4096;
/** Entries of both queues: a page holds no more submissions. */
const entries = 32;
/** For how many milliseconds a controller is waited for. */
const patience = 30_000;

/** Registers of an NVMe controller (NVM Express Base Specification, 3.1). */
const register = { cc: 0x14, csts: 0x1c, aqa: 0x24, asq: 0x28, acq: 0x30, sq: 0x1000, cq: 0x1004 };
/** CC with the sizes of queue entries and the controller enabled. */
const enabled = (4 << 20) | (6 << 16) | 1;

/** An admin command. */
export interface AdminCommand {
  opcode: number;
  cdw10: number;
  cdw11?: number;
}

/**
 * The admin queue of an NVMe controller whose DMA goes to an address space:
 * test/device/sriov.test.ts.
 */
export class NvmeAdmin implements Disposable {
  readonly #bar: MappedRegion;
  readonly #buffer: DmaBuffer;
  readonly #mapping: DmaMapping;
  #count = 0;

  private constructor(bar: MappedRegion, buffer: DmaBuffer, mapping: DmaMapping) {
    this.#bar = bar;
    this.#buffer = buffer;
    this.#mapping = mapping;
  }

  /** Starts a controller: its queues and a page of data are mapped at `iova`. */
  static async start(device: VfioDevice, space: AddressSpace, iova: bigint): Promise<NvmeAdmin> {
    device.pci.setBusMaster(true);
    const buffer = await DmaBuffer.allocate(3 * page);
    const mapping = await space.map(buffer, { iova });
    const bar = device.region('bar0').map();
    bar.write32(register.cc, 0);
    await bar.poll32(register.csts, 1, 0, { timeout: patience });
    bar.write32(register.aqa, ((entries - 1) << 16) | (entries - 1));
    bar.write64(register.asq, iova);
    bar.write64(register.acq, iova + BigInt(page));
    bar.write32(register.cc, enabled);
    await bar.poll32(register.csts, 3, 1, { timeout: patience });
    return new NvmeAdmin(bar, buffer, mapping);
  }

  /** The page that commands read and write. */
  get data(): Buffer {
    return Buffer.from(this.#buffer.buffer, 2 * page, page);
  }

  /** Runs a command; answers its status, 0 for success. */
  async run({ opcode, cdw10, cdw11 = 0 }: AdminCommand): Promise<number> {
    const at = this.#count % entries;
    const phase = Math.floor(this.#count / entries) % 2 === 0 ? 1 : 0;
    this.#count++;
    const submission = new DataView(this.#buffer.buffer, at * 64, 64);
    submission.setUint32(0, opcode | (at << 16), true);
    submission.setBigUint64(24, this.#mapping.iova + BigInt(2 * page), true);
    submission.setUint32(40, cdw10, true);
    submission.setUint32(44, cdw11, true);
    const completion = new DataView(this.#buffer.buffer, page + at * 16, 16);
    this.#bar.write32(register.sq, (at + 1) % entries);
    const until = performance.now() + patience;
    while ((completion.getUint16(14, true) & 1) !== phase) {
      assert.ok(performance.now() < until, 'the controller does not answer');
      await new Promise(setImmediate);
    }
    this.#bar.write32(register.cq, (at + 1) % entries);
    return completion.getUint16(14, true) >> 1;
  }

  /** Identify Controller: its serial number and its id, by DMA into `data`. */
  async identify(): Promise<{ serial: string; id: number }> {
    assert.equal(await this.run({ opcode: 0x06, cdw10: 1 }), 0);
    return { serial: this.data.toString('latin1', 4, 24).trim(), id: this.data.readUInt16LE(78) };
  }

  /** Virtualization Management: resources and state of a secondary controller. */
  async virtualize(controller: number, action: number, resource = 0, count = 0): Promise<void> {
    const cdw10 = (controller << 16) | (resource << 8) | action;
    const status = await this.run({ opcode: 0x1c, cdw10, cdw11: count });
    assert.equal(status, 0, `action ${action} on controller ${controller}`);
  }

  /** Stops the controller, then takes its memory away. */
  [Symbol.dispose](): void {
    this.#bar.write32(register.cc, 0);
    this.#bar.closeSync();
    this.#buffer.disposeSync();
  }
}
