import type { Binding } from '../core/binding.ts';
import { escapeControls } from '../core/controls.ts';
import { messageOf } from '../core/errors.ts';
import { accessRequests } from './access_requests.ts';
import { deviceRequests } from './device_requests.ts';
import { fileRequests } from './file_requests.ts';
import { iommuRequests } from './iommu_requests.ts';
import { tracedInterrupts } from './interrupts.ts';
import type { Request, Section } from './request.ts';
import { viommuRequests } from './viommu_requests.ts';
import { errnoWords, timeWords, TraceWords } from './words.ts';

/** Writes the lines of a section; those of sections that are not asked for are not there. */
export type TraceLines = Partial<Record<Section, (line: string) => void>>;

type AnyFunction = (...args: readonly unknown[]) => unknown;

/** A request, where it is no matter which: its arguments are those of the function by its name. */
interface AnyRequest {
  section?: Section;
  byMail?: true;
  name: string;
  args: (words: TraceWords, ...args: readonly unknown[]) => readonly string[];
  answer?: (words: TraceWords, value: unknown, ...args: readonly unknown[]) => string;
  failed?: (answer: number) => string;
  each?: (
    words: TraceWords,
    ...args: readonly unknown[]
  ) => readonly [args: string[], answer: string][];
}

/** After so many milliseconds the start of a call is told, for it may never answer. */
const longCall = 1_000;

/** What says how a device's regions are called, which its accesses need; and when that is over. */
const learnedFrom = ['getDeviceInfo', 'getRegionInfo', 'getRegionInfos', 'close'];

function unheard(): void {
  // Nobody asked for it.
}

/** Every function that is told, and how. */
export function requestsOf(native: Binding): Readonly<Record<string, Request<never>>> {
  return {
    ...deviceRequests,
    ...iommuRequests,
    ...viommuRequests,
    ...fileRequests,
    ...accessRequests(native),
  };
}

/** The same functions, of which each that is asked for tells what was called and answered. */
export function tracedBinding(native: Binding, lines: TraceLines): Binding {
  const requests = requestsOf(native) as unknown as Readonly<Record<string, AnyRequest>>;
  const words = new TraceWords(native);
  const learned = (lines.vfio ?? lines['vfio-access']) ? learnedFrom : [];
  const traced = Object.entries(native).map(([name, run]): [string, unknown] => {
    const both = name.replace(/Sync$/, '');
    const request = requests[name] ?? requests[both];
    const asked = request && lines[request.section ?? 'vfio'];
    const write = asked ?? (learned.includes(both) ? unheard : undefined);
    return [
      name,
      request && write ? tracedCall(run as AnyFunction, new Teller(request, words, write)) : run,
    ];
  });
  const accesses = lines['vfio-access'];
  const write = (line: string): void => accesses?.(escapeControls(line));
  const interrupts = accesses && tracedInterrupts(native, words, write);
  return { ...Object.fromEntries(traced), ...interrupts } as Binding;
}

function tracedCall(run: AnyFunction, teller: Teller): AnyFunction {
  return (...args) => {
    const call = teller.begin(args);
    const answer = run(...args);
    if (!(answer instanceof Promise)) {
      call.end(answer);
      return answer;
    }
    const timer = setTimeout(call.wait, longCall).unref();
    const end = (value: unknown): void => {
      clearTimeout(timer);
      call.end(value);
    };
    // Who called has the promise itself, and hears of its failure there.
    answer.then(end, end);
    return answer;
  };
}

interface BegunCall {
  end: (answer: unknown) => void;
  /** It has not answered for long. */
  wait: () => void;
}

/** Tells one of the addon's functions. */
class Teller {
  readonly #request: AnyRequest;
  readonly #words: TraceWords;
  readonly #write: (line: string) => void;

  constructor(request: AnyRequest, words: TraceWords, write: (line: string) => void) {
    this.#request = request;
    this.#words = words;
    this.#write = (line) => {
      write(escapeControls(line));
    };
  }

  begin(args: readonly unknown[]): BegunCall {
    const { name } = this.#request;
    const said = `${name}(${this.#tried(() => this.#request.args(this.#words, ...args).join(', '))})`;
    const start = performance.now();
    return {
      end: (answer) => {
        const time = timeWords(performance.now() - start);
        for (const line of this.#outcome(said, answer, args)) this.#write(`${line} ${time}`);
      },
      wait: () => {
        this.#write(`${said} has not answered for ${timeWords(performance.now() - start)} …`);
      },
    };
  }

  #outcome(said: string, answer: unknown, args: readonly unknown[]): readonly string[] {
    const { each } = this.#request;
    if (each === undefined || isFailure(answer)) return [`${said} = ${this.#answer(answer, args)}`];
    const { name } = this.#request;
    let lines: string[] = [];
    const failed = this.#tried(() => {
      const all = each(this.#words, ...args);
      lines = all.map(([shown, value]) => `${name}(${shown.join(', ')}) = ${value}`);
      return '';
    });
    if (failed !== '') return [`${said} = ${failed}`];
    // They are made in one call of the addon, which has one time.
    return lines.map((line, at) => `${line} (${at + 1} of ${lines.length})`);
  }

  #answer(answer: unknown, args: readonly unknown[]): string {
    const { answer: words, byMail, failed = errnoWords } = this.#request;
    if (answer === undefined && !byMail) return 'refused by the addon: no call was made';
    if (typeof answer === 'number' && answer < 0) return failed(answer);
    if (answer instanceof Error) return `thrown: ${messageOf(answer)}`;
    if (words !== undefined) return this.#tried(() => words(this.#words, answer, ...args));
    return String(answer);
  }

  /** What goes wrong in telling a call is no reason for the call to fail. */
  #tried(tell: () => string): string {
    try {
      return tell();
    } catch (error) {
      return `<the trace could not tell this: ${messageOf(error)}>`;
    }
  }
}

function isFailure(answer: unknown): boolean {
  return typeof answer !== 'number' || answer < 0;
}
