import type { Binding, NativeFd } from '../core/binding.ts';
import { done, Mailbox, refused } from '../region/mailbox.ts';
import type { Requests } from './request.ts';
import { errnoWords, hex, joined, list, type TraceWords } from './words.ts';

// Single accesses to registers, whose arguments and results are in the mailbox, and polls.

/** `mapping 3+0x1c`, or where in which region of a device. */
type Place = (words: TraceWords, box: Mailbox) => string;

const inMapping: Place = (_words, box) => `mapping ${box.handle}+${hex(box.offset)}`;

const inDevice: Place = (words, box) => {
  const { handle, start, offset } = box;
  const device = handle as NativeFd;
  return `${words.fd(device)}, ${words.place(device, joined(start.high, start.low), offset)}`;
};

/** What an access answered, which is in the mailbox as well. */
function outcome(box: Mailbox, value: () => string): string {
  const { status } = box;
  if (status === done) return value();
  if (status === refused) return 'refused';
  return status < 0 ? errnoWords(status) : 'a short transfer';
}

/** 8 to 64 bits by what they are called. */
function valueOf(box: Mailbox, bits: number): string {
  const value = bits === 64 ? box.value64 : BigInt(box.value);
  return `0x${BigInt.asUintN(bits, value)
    .toString(16)
    .padStart(bits / 4, '0')}`;
}

function reading(box: Mailbox, bits: number, place: Place, name: string): Access {
  return {
    section: 'vfio-access',
    byMail: true,
    name,
    args: (words) => [place(words, box)],
    answer: () => outcome(box, () => valueOf(box, bits)),
  };
}

function writing(box: Mailbox, bits: number, place: Place, name: string): Access {
  return {
    section: 'vfio-access',
    byMail: true,
    name,
    args: (words) => [place(words, box), valueOf(box, bits)],
    answer: () => outcome(box, () => '0'),
  };
}

/** Calls without arguments, whose answer is what the mailbox says. */
interface Access {
  section: 'vfio-access';
  byMail: true;
  name: string;
  args: (words: TraceWords) => readonly string[];
  answer: () => string;
}

const widths = [8, 16, 32, 64] as const;

function single(box: Mailbox): Requests {
  const each = widths.flatMap((bits) => [
    [`read${bits}`, reading(box, bits, inMapping, `read${bits}`)],
    [`write${bits}`, writing(box, bits, inMapping, `write${bits}`)],
    [`pread${bits}`, reading(box, bits, inDevice, 'pread')],
    [`pwrite${bits}`, writing(box, bits, inDevice, 'pwrite')],
  ]);
  return Object.fromEntries(each) as Requests;
}

function listed(values: Uint32Array): string {
  return list(Array.from(values, hex));
}

function block(name: string): NonNullable<Requests['readBlock']> {
  return {
    section: 'vfio-access',
    name,
    args: (_words, mapping, offset, values) => [
      `mapping ${mapping}+${hex(offset)}`,
      `${values.byteLength} bytes`,
    ],
  };
}

function batch(name: string): NonNullable<Requests['readBatch32']> {
  return {
    section: 'vfio-access',
    name,
    args: (_words, mapping, offsets) => [`mapping ${mapping}`, listed(offsets)],
    answer: (_words, _value, _mapping, _offsets, values) => listed(values),
  };
}

/** Those of a mapping, of a device, and of memory that a device writes. */
export function accessRequests(native: Pick<Binding, 'mailbox'>): Requests {
  const box = new Mailbox(native.mailbox());
  const section = 'vfio-access';
  const byMail = true;
  const status = (): string => outcome(box, () => '0');
  /** Where in which memory each poll looks, by its handle. */
  const polled = new Map<number, string>();
  const inMemory = (memory: number, offset: number): string => `memory ${memory}+${hex(offset)}`;
  const place = (poll: number): string[] => [polled.get(poll) ?? `poll ${poll}`];
  const rows = (): readonly string[] => [`mapping ${box.handle}`, 'a row of registers'];
  return {
    ...single(box),
    barrier: { section, byMail, name: 'barrier', args: () => [], answer: status },
    readBlock: block('read block'),
    writeBlock: block('write block'),
    readBatch32: batch('read batch'),
    writeBatch32: batch('write batch'),
    readRows32: { section, byMail, name: 'read row', args: rows, answer: status },
    writeRows32: { section, byMail, name: 'write row', args: rows, answer: status },
    runPrepared: { section, byMail, name: 'run prepared', args: () => [], answer: status },
    dmaPoll: {
      section,
      name: 'prepare poll',
      args: (_words, memory, offset, stride) => [inMemory(memory, offset), `stride ${stride}`],
      answer: (_words, poll, memory, offset) => {
        polled.set(poll, inMemory(memory, offset));
        return `poll ${poll}`;
      },
    },
    dmaPollRelease: {
      section,
      name: 'release poll',
      args: (_words, poll) => {
        const [where = ''] = place(poll);
        polled.delete(poll);
        return [where];
      },
    },
    pollMemory: {
      section,
      byMail,
      name: 'poll memory',
      args: () => place(box.poll),
      answer: () => outcome(box, () => `${box.found} new`),
    },
    ringAndPoll: {
      section,
      byMail,
      name: 'run prepared, poll memory',
      args: () => place(box.poll),
      answer: () => outcome(box, () => `${box.found} new`),
    },
    poll32: {
      section,
      name: 'poll32',
      args: (_words, mapping, offset, mask, value, milliseconds) => [
        `mapping ${mapping}+${hex(offset)}`,
        `mask ${hex(mask)}`,
        `value ${hex(value)}`,
        `${milliseconds} ms`,
      ],
      answer: (_words, value) => hex(value),
    },
  };
}
