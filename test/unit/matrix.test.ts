import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, describe, it } from 'mocha';
import { inspect } from 'node:util';
import * as api from '../../lib/index.ts';
import type {
  Interrupt,
  InterruptVector,
  Ioas,
  Iommufd,
  VfioCdev,
  VfioDevice,
} from '../../lib/index.ts';
import type { Roots } from '../../lib/locate/roots.ts';
import * as args from '../support/bad_arguments.ts';
import type { Parameter } from '../support/bad_arguments.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { libraryFds } from '../support/proc.ts';
import { root } from '../support/root.ts';
import { countCalls } from '../support/traced_binding.ts';

const none: Parameter[] = [];

/**
 * Every public function and method with its parameters. What is missing here, or is here and not in
 * the library, fails a test: a new method needs a line, and with it is tried with every bad argument.
 */
const table: Record<string, Parameter[]> = {
  closeDevices: [args.devices],
  describeDevice: [args.spec, args.roots],
  findCdev: [args.spec, args.roots],
  identify: [args.fd, args.onlySysfs],
  listDevices: [args.roots],
  listDevicesSync: [args.roots],
  openCdev: [args.spec, args.open],
  openCdevSync: [args.spec, args.openSync],
  openDevices: [args.specs, args.openDevices],
  'Iommufd.open': [args.onlyDev],
  'Iommufd#close': none,
  'Iommufd#closeSync': none,
  'Iommufd#createIoas': none,
  'Iommufd#fd': none,
  'Ioas#close': none,
  'Ioas#closeSync': none,
  'Ioas#id': none,
  'Interrupt#count': none,
  'Interrupt#disable': none,
  'Interrupt#disableSync': none,
  'Interrupt#enable': [args.enable],
  'Interrupt#enableSync': [args.enable],
  'Interrupt#enabled': none,
  'Interrupt#flags': none,
  'Interrupt#index': none,
  'Interrupt#mask': [args.vector],
  'Interrupt#name': none,
  'Interrupt#resample': [args.eventfd],
  'Interrupt#resize': [args.vectors],
  'Interrupt#trigger': [args.which],
  'Interrupt#unmask': [args.vector],
  'Interrupt#vectors': none,
  'InterruptVector#counts': [args.counts],
  'InterruptVector#fd': none,
  'InterruptVector#ref': none,
  'InterruptVector#removeAllListeners': none,
  'InterruptVector#unref': none,
  'VfioCdev#bind': [args.iommufd],
  'VfioCdev#bindSync': [args.iommufd],
  'VfioCdev#close': none,
  'VfioCdev#closeSync': none,
  'VfioCdev#device': none,
  'VfioCdev#fd': none,
  'VfioCdev#major': none,
  'VfioCdev#minor': none,
  'VfioCdev#name': none,
  'VfioCdev#path': none,
  'VfioDevice.open': [args.spec, args.openDevice],
  'VfioDevice.openSync': [args.spec, args.openDeviceSync],
  'VfioDevice#attach': [args.ioas],
  'VfioDevice#attachSync': [args.ioas],
  'VfioDevice#close': none,
  'VfioDevice#closeSync': none,
  'VfioDevice#detach': none,
  'VfioDevice#detachSync': none,
  'VfioDevice#devId': none,
  'VfioDevice#device': none,
  'VfioDevice#fd': none,
  'VfioDevice#hotReset': none,
  'VfioDevice#info': none,
  'VfioDevice#interrupt': [args.irq],
  'VfioDevice#iommufd': none,
  'VfioDevice#major': none,
  'VfioDevice#minor': none,
  'VfioDevice#name': none,
  'VfioDevice#path': none,
  'VfioDevice#planHotReset': none,
  'VfioDevice#requestEvents': none,
  'VfioDevice#reset': none,
  'VfioDevice#resetSync': none,
};

/** Not in the public types, though JavaScript could call them. */
const internal = [
  'Interrupt#arm',
  'Interrupt#end',
  'Interrupt#restore',
  'Interrupt#restoreSync',
  'InterruptVector#end',
  'Iommufd.isIommufd',
  'Iommufd.openFor',
  'Iommufd#owned',
  'VfioDevice.isDevice',
  'VfioDevice.openAt',
  'VfioDevice.adopt',
  'VfioDevice.adoptSync',
];

const publicTypes = readFileSync(new URL('test/api.d.ts.txt', root), 'utf8');

interface Handles {
  Iommufd: Iommufd;
  Ioas: Ioas;
  VfioCdev: VfioCdev;
  VfioDevice: VfioDevice;
  Interrupt: Interrupt;
  InterruptVector: InterruptVector;
  VfioError: InstanceType<typeof api.VfioError>;
}

let roots: Roots;
let handles: Handles;

/** A function, or an object with the function as its method. */
interface Found {
  name: string;
  call: (...args: unknown[]) => unknown;
}

const index = readFileSync(new URL('lib/index.ts', root), 'utf8');

const classNames = [...publicTypes.matchAll(/^export declare class (\w+)/gm)]
  .map(([, name = '']) => name)
  .filter((name) => new RegExp(`\\b${name}\\b`).test(index));

/** All that the library offers: functions, static methods, methods and getters. */
function offered(): Found[] {
  const functions = Object.entries(api).flatMap(([name, value]) =>
    classNames.includes(name) ? members(value, (key) => `${name}.${key}`) : found(name, value, api),
  );
  const methods = classNames.flatMap((name) => {
    const handle: object | undefined = handles[name as keyof Handles];
    assert.ok(handle, `no handle of the public class ${name}`);
    return members(Object.getPrototypeOf(handle) as object, (key) => `${name}#${key}`, handle);
  });
  return [...functions, ...methods];
}

function members(of: object, nameOf: (key: string) => string, handle = of): Found[] {
  return Object.getOwnPropertyNames(of).flatMap((key) =>
    key === 'constructor' || key === 'prototype'
      ? []
      : found(nameOf(key), functionOf(of, key), handle),
  );
}

/** A method, or a getter's function. */
function functionOf(of: object, key: string | symbol): unknown {
  const property = Object.getOwnPropertyDescriptor(of, key) ?? {};
  return ['get', 'value'].map((part): unknown => Reflect.get(property, part)).find(Boolean);
}

function found(name: string, value: unknown, handle: object): Found[] {
  if (typeof value !== 'function') return [];
  return [{ name, call: (...given) => Reflect.apply(value, handle, given) as unknown }];
}

/** Arguments with which the function would do something. */
function goodArguments(parameters: readonly Parameter[]): unknown[] {
  return parameters.map((parameter) => {
    if (parameter === args.spec) return fakeAddress;
    if (parameter === args.specs) return [fakeAddress];
    if (parameter === args.devices) return [handles.VfioDevice];
    if (parameter === args.fd) return 0;
    if (parameter === args.iommufd) return handles.Iommufd;
    if (parameter === args.ioas) return handles.Ioas;
    if (parameter === args.counts) return {};
    if (isOfInterrupt.has(parameter)) return 0;
    return roots;
  });
}

const isOfInterrupt = new Set([args.vector, args.which, args.irq, args.eventfd, args.vectors]);

/** A call that must fail: one argument, or a property of one, is bad. */
interface Try {
  what: unknown;
  name: RegExp;
  given: unknown[];
}

function* tries(parameters: readonly Parameter[]): Generator<Try> {
  const good = goodArguments(parameters);
  for (const [at, { name, bad, properties = {} }] of parameters.entries()) {
    for (const what of bad) yield { what, name, given: good.with(at, what) };
    for (const [key, property] of Object.entries(properties)) {
      for (const value of property.bad) {
        const what = { [key]: value };
        yield { what, name: property.name, given: good.with(at, { ...roots, ...what }) };
      }
    }
  }
}

/** What a call throws, or rejects with, that must not reach the addon. */
async function errorOf({ name, call }: Found, given: unknown[]): Promise<unknown> {
  const calls: string[] = [];
  const fds = libraryFds();
  try {
    await withBinding(countCalls(calls), () => call(...given));
  } catch (error) {
    assert.deepEqual(calls, []);
    assert.deepEqual(libraryFds(), fds);
    return error;
  }
  assert.fail(`${name} did not fail: ${inspect(given)}`);
}

const codes = ['ERR_INVALID_ARG_TYPE', 'ERR_INVALID_ARG_VALUE', 'ERR_OUT_OF_RANGE'];

describe('every public function and method', () => {
  const makeRoots = (): void => {
    roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    putNode(roots, 'iommu', '/dev/full');
  };
  beforeEach(makeRoots);
  before(async () => {
    makeRoots();
    await withBinding(fakeIoctls, async () => {
      const iommufd = api.Iommufd.open(roots);
      const device = await api.VfioDevice.open(fakeAddress, { ...roots, iommufd });
      const interrupt = device.interrupt(0);
      const [vector] = await interrupt.enable();
      assert.ok(vector);
      handles = {
        Interrupt: interrupt,
        InterruptVector: vector,
        Iommufd: iommufd,
        Ioas: iommufd.createIoas(),
        VfioCdev: await api.openCdev(fakeAddress, roots),
        VfioDevice: device,
        VfioError: new api.VfioError({ code: 'ECODE', message: 'an error' }),
      };
    });
  });
  after(() => {
    handles.VfioCdev.closeSync();
    handles.VfioDevice.closeSync();
    handles.Iommufd.closeSync();
  });

  it('is in the table, and all in the table is there', () => {
    const names = offered().map(({ name }) => name);
    assert.deepEqual(names.sort(), [...Object.keys(table), ...internal].sort());
    for (const name of internal) {
      const [className = '', method = ''] = name.split(/[.#]/);
      const declared = new RegExp(`^export declare class ${className}\\b.*?^}`, 'ms');
      const [text = ''] = declared.exec(publicTypes) ?? [];
      assert.doesNotMatch(text, new RegExp(`\\b${method}\\(`), `${name} is public`);
    }
  });

  for (const [name, parameters] of Object.entries(table)) {
    if (parameters.length === 0) continue;
    it(`refuses every bad argument with an error that names it, and does nothing: ${name}`, async () => {
      const method = offered().find((other) => other.name === name);
      assert.ok(method);
      for (const { what, name: argument, given } of tries(parameters)) {
        const error = await errorOf(method, given);
        const text = inspect(what, { customInspect: false }).slice(0, 200);
        assert.ok(error instanceof TypeError || error instanceof RangeError, text + inspect(error));
        assert.ok('code' in error && codes.includes(String(error.code)), text + inspect(error));
        assert.match(error.message, argument, text);
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
        if (properties === undefined && parameters[at] !== args.spec) continue;
        assert.equal(await errorOf(method, good.with(at, proxy)), trap);
        for (const key of Object.keys(properties ?? {})) {
          const options = Object.defineProperty({ ...roots }, key, { get: spring });
          assert.equal(await errorOf(method, good.with(at, options)), trap, key);
        }
      }
    });
  }

  // The language itself refuses these, since all state is in private fields.
  it('refuses to be called on anything else', async () => {
    for (const className of classNames) {
      const prototype = Object.getPrototypeOf(handles[className as keyof Handles]) as object;
      for (const key of Reflect.ownKeys(prototype)) {
        const method = functionOf(prototype, key);
        if (typeof method !== 'function' || key === 'constructor') continue;
        if (internal.includes(`${className}#${String(key)}`)) continue;
        for (const self of [undefined, null, 3, {}, Object.create(prototype)]) {
          const detached = {
            name: `${className}#${String(key)}`,
            call: (): unknown => Reflect.apply(method, self, [0, {}]) as unknown,
          };
          assert.ok((await errorOf(detached, [])) instanceof TypeError);
        }
      }
    }
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
