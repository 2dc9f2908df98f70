import type { Binding } from '../core/binding.ts';
import type { TraceWords } from './words.ts';

/**
 * What `NODE_DEBUG` names: system calls on devices, address spaces and descriptors; what is read in
 * sysfs and /proc; single accesses to registers and polls, of which a driver makes millions.
 */
export type Section = 'vfio' | 'vfio-sysfs' | 'vfio-access';

/** The addon's functions, without the blocking twins, which are told by the same names. */
type FunctionName = {
  [Name in keyof Binding]: Name extends `${infer Slow}Sync`
    ? Slow extends keyof Binding
      ? never
      : Name
    : Name;
}[keyof Binding];

/** What comes of a promise, and what the blocking twin answers, where it is neither -errno nor undefined. */
type Value<Name extends FunctionName> =
  NonNullable<ReturnType<Binding[Name]>> extends Promise<infer Later>
    ? Later
    : NonNullable<ReturnType<Binding[Name]>>;

type Arguments<Name extends FunctionName> = Parameters<Binding[Name]>;

/** How one of the addon's functions is told. */
export interface Request<Name extends FunctionName> {
  section?: Section;
  /** Its arguments and its answer are in the mailbox; the function itself answers nothing. */
  byMail?: true;
  /** The kernel's name of what it calls. */
  name: string;
  /** Looked at before the call, which may take away what they name. */
  args: (words: TraceWords, ...args: Arguments<Name>) => readonly string[];
  /** What a call that did not fail answered; a number is shown as it is where this is absent. */
  answer?: (words: TraceWords, value: Value<Name>, ...args: Arguments<Name>) => string;
  /** What a call that failed answered, where that is more than one -errno. */
  failed?: (answer: number) => string;
  /** Of a function that makes several requests: arguments and answer of each. */
  each?: (
    words: TraceWords,
    ...args: Arguments<Name>
  ) => readonly [args: string[], answer: string][];
}

/** How functions are told, by their names. */
export type Requests = { readonly [Name in FunctionName]?: Request<Name> };
