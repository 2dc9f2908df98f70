import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import { inspect } from 'node:util';
import { after, before, beforeEach, describe, it } from 'mocha';
import type { Roots } from '../../lib/core/location.ts';
import * as api from '../../lib/index.ts';
import { type Parameter, spec } from '../support/bad_arguments.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls, regionSize } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { closeHandles, type Handles, openHandles } from '../support/matrix_handles.ts';
import { internal, table } from '../support/matrix_table.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { root } from '../support/root.ts';
import { countCalls } from '../support/traced_binding.ts';

const publicTypes = readFileSync(new URL('test/api/vfio.api.md', root), 'utf8');

let roots: Roots;
let handles: Handles;

/** A function, or an object with the function as its method. */
interface Found {
  name: string;
  call: (...args: unknown[]) => unknown;
}

const index = readFileSync(new URL('lib/index.ts', root), 'utf8');

/** Public as types; their classes are made where a device migrates. */
const streams = ['MigrationSink', 'MigrationSource'];

const classNames = [...publicTypes.matchAll(/^(?:export )?class (\w+)/gm)]
  .map(([, name = '']) => name)
  .filter((name) => new RegExp(`\\b${name}\\b`).test(index))
  .concat(streams);

/** All that the library offers: functions, static methods, methods and getters. */
function offered(): Found[] {
  const functions = Object.entries(api).flatMap(([name, value]) =>
    classNames.includes(name)
      ? [...constructors(name, value), ...members(value, (key) => `${name}.${key}`)]
      : found(name, value, api),
  );
  const methods = classNames.flatMap((name) => {
    const handle: object | undefined = handles[name as keyof Handles];
    assert.ok(handle, `no handle of the public class ${name}`);
    const all = prototypesOf(handle).flatMap((prototype) =>
      members(prototype, (key) => `${name}#${key}`, handle),
    );
    // What a class overrides is its own.
    return all.filter((each, at) => all.findIndex((other) => other.name === each.name) === at);
  });
  return [...functions, ...methods];
}

/**
 * Those of the library's classes: what a handle inherits from Node or the language is not looked
 * at.
 */
function prototypesOf(handle: object): object[] {
  const prototypes: object[] = [];
  for (let at: unknown = Object.getPrototypeOf(handle); ; at = Object.getPrototypeOf(at)) {
    if (typeof at !== 'object' || at === null || foreign.includes(at)) return prototypes;
    prototypes.push(at);
  }
}

const foreign: readonly object[] = [Object, Error, EventEmitter, Readable, Writable].map(
  ({ prototype }) => prototype,
);

/** The constructor of a class whose types say that programs may call it. */
function constructors(name: string, of: unknown): Found[] {
  const declared = new RegExp(
    `^(?:export )?class ${name}\\b(?:(?!^}).)*?^    constructor\\(`,
    'ms',
  );
  if (typeof of !== 'function' || !declared.test(publicTypes)) return [];
  return [{ name: `new ${name}`, call: (...given) => Reflect.construct(of, given) as unknown }];
}

function members(of: object, nameOf: (key: string) => string, handle = of): Found[] {
  return Object.getOwnPropertyNames(of).flatMap((key) => {
    if (key === 'constructor' || key === 'prototype') return [];
    return [
      ...found(nameOf(key), functionOf(of, key), handle),
      ...found(`${nameOf(key)}=`, functionOf(of, key, ['set']), handle),
    ];
  });
}

/** A method, or a getter's or setter's function. */
function functionOf(of: object, key: string | symbol, parts = ['get', 'value']): unknown {
  const property = Object.getOwnPropertyDescriptor(of, key) ?? {};
  return parts.map((part): unknown => Reflect.get(property, part)).find(Boolean);
}

function found(name: string, value: unknown, handle: object): Found[] {
  if (typeof value !== 'function') return [];
  return [{ name, call: (...given) => Reflect.apply(value, handle, given) as unknown }];
}

/** A call that must fail: one argument, or a property of one, is bad. */
interface Try {
  what: unknown;
  /** What is bad. */
  parameter: Parameter;
  /** The code that the error must have; without this, any of Node's. */
  code: string | undefined;
  given: unknown[];
}

function* tries(parameters: readonly Parameter[]): Generator<Try> {
  const good = goodArguments(parameters);
  for (const [at, parameter] of parameters.entries()) {
    const { bad, codeOf, properties = {} } = parameter;
    for (const what of bad) {
      yield { what, parameter, code: codeOf?.(what), given: good.with(at, what) };
    }
    for (const [key, property] of Object.entries(properties)) {
      for (const value of property.bad) {
        const what = { [key]: value };
        const given = good.with(at, { ...(good[at] as object), ...what });
        yield { what, parameter: property, code: property.codeOf?.(value), given };
      }
    }
  }
}

function goodArguments(parameters: readonly Parameter[]): unknown[] {
  return parameters.map(({ good }) => good?.({ roots, handles }));
}

/** What a call throws, or rejects with, that must not reach the addon. */
async function errorOf({ name, call }: Found, given: unknown[]): Promise<unknown> {
  const calls: string[] = [];
  const fds = libraryFds();
  try {
    await withBinding(countCalls(calls), () => begun(call(...given)));
  } catch (error) {
    assert.deepEqual(calls, []);
    assertNoMore(libraryFds(), fds);
    return error;
  }
  assert.fail(`${name} did not fail: ${inspect(given)}`);
}

/** A generator does nothing before it is asked for something. */
function begun(result: unknown): unknown {
  const isGenerator = /^\[object (?:Async)?Generator\]$/.test(
    Object.prototype.toString.call(result),
  );
  return isGenerator ? (result as Generator | AsyncGenerator).next() : result;
}

/** Of the device's memory. */
const content = new Uint8Array(regionSize).fill(0x5a);

const codes = ['ERR_INVALID_ARG_TYPE', 'ERR_INVALID_ARG_VALUE', 'ERR_OUT_OF_RANGE'];

describe('every public function and method', () => {
  const makeRoots = (): void => {
    roots = fakeVfio('1:5');
    putNode(roots, fakeNode, '/dev/zero');
    putNode(roots, 'iommu', '/dev/full');
  };
  beforeEach(makeRoots);
  before(async () => {
    makeRoots();
    handles = await openHandles(roots);
    handles.MappedRegion.writeBlock(0, content);
  });
  after(() => {
    closeHandles(handles);
  });

  it('is in the table, and all in the table is there', () => {
    const names = offered().map(({ name }) => name);
    assert.deepEqual(names.sort(), [...Object.keys(table), ...internal].sort());
    for (const name of internal) {
      const [className = '', method = ''] = name.split(/[.#]/);
      const body = `(?:class|interface) ${className}\\b.*?^}`;
      const declared = new RegExp(`^(?:export )?${body}|^export type ${className}\\b.*?;$`, 'ms');
      const [text = ''] = declared.exec(publicTypes) ?? [];
      assert.ok(text.includes(className), `${className} is not public at all`);
      assert.doesNotMatch(text, new RegExp(`\\b${method}\\(`), `${name} is public`);
    }
  });

  for (const [name, parameters] of Object.entries(table)) {
    if (parameters.length === 0) continue;
    it(`refuses every bad argument with an error that names it, and does nothing: ${name}`, async () => {
      const method = offered().find((other) => other.name === name);
      assert.ok(method);
      for (const { what, parameter, code, given } of tries(parameters)) {
        const error = await errorOf(method, given);
        const text = inspect(what, { customInspect: false }).slice(0, 200);
        assert.ok(error instanceof TypeError || error instanceof RangeError, text + inspect(error));
        assert.ok('code' in error && codes.includes(String(error.code)), text + inspect(error));
        assert.equal(error instanceof RangeError, error.code === 'ERR_OUT_OF_RANGE', text);
        if (code !== undefined) assert.equal(error.code, code, text);
        assert.match(error.message, parameter.name, text);
        assert.ok(error.message.length < 1000, text);
      }
    });

    it(`lets through what a getter or a proxy throws, and does nothing: ${name}`, async () => {
      const method = offered().find((other) => other.name === name);
      assert.ok(method);
      const trap = new Error('trap');
      const spring = (): never => {
        throw trap;
      };
      const proxy = new Proxy({}, { get: spring, has: spring });
      const good = goodArguments(parameters);
      for (const [at, { properties }] of parameters.entries()) {
        if (properties === undefined && parameters[at] !== spec) continue;
        assert.equal(await errorOf(method, good.with(at, proxy)), trap);
        for (const key of Object.keys(properties ?? {})) {
          const options = Object.defineProperty({ ...(good[at] as object) }, key, { get: spring });
          assert.equal(await errorOf(method, good.with(at, options)), trap, key);
        }
      }
    });
  }

  // The language itself refuses these, since all state is in private fields.
  it('refuses to be called on anything else', async () => {
    for (const className of classNames) {
      const prototypes = prototypesOf(handles[className as keyof Handles]);
      const keys = prototypes.flatMap((of) => Reflect.ownKeys(of).map((key) => ({ of, key })));
      for (const { of, key } of keys) {
        const method = functionOf(of, key);
        if (typeof method !== 'function' || key === 'constructor') continue;
        if (internal.includes(`${className}#${String(key)}`)) continue;
        for (const self of [undefined, null, 3, {}, Object.create(of)]) {
          const detached = {
            name: `${className}#${String(key)}`,
            call: (): unknown => Reflect.apply(method, self, [1, {}]) as unknown,
          };
          const error = await errorOf(detached, []);
          assert.ok(error instanceof TypeError, detached.name + inspect(error));
        }
      }
    }
  });

  it('wrote nothing to the device', () => {
    const now = handles.MappedRegion.readBlock(0, new Uint8Array(regionSize));
    assert.deepEqual(now, content);
  });

  it('works as before, after all that', async () => {
    await withBinding(fakeIoctls, async () => {
      assert.ok(handles.VfioCdev.fd >= 0);
      assert.equal(await handles.VfioDevice.attach(handles.Ioas), 3);
      const opened = await api.VfioDevice.open(fakeAddress, roots);
      await opened.close();
    });
  });
});
