import assert from 'node:assert/strict';
import { Ajv } from 'ajv';

// What the specification of the Container Device Interface says of version 0.6.0, written out here:
// no package on npm has its schema. Fields that it does not name make a runtime refuse the file.

const text = { type: 'string', minLength: 1 };

function object(required: Record<string, unknown>, optional: Record<string, unknown> = {}): object {
  return {
    type: 'object',
    properties: { ...required, ...optional },
    required: Object.keys(required),
    additionalProperties: false,
  };
}

const label = '[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
const annotations = { type: 'object', additionalProperties: { type: 'string' } };
const environment = { type: 'array', items: { type: 'string', pattern: '^[^=]+=' } };
const number = { type: 'integer', minimum: 0 };

const deviceNode = object(
  { path: { type: 'string', pattern: '^/' } },
  {
    hostPath: { type: 'string', pattern: '^/' },
    type: { enum: ['b', 'c', 'u', 'p'] },
    major: number,
    minor: number,
    fileMode: { ...number, maximum: 0o7777 },
    permissions: { type: 'string', pattern: '^[rwm]{1,3}$' },
    uid: { ...number, maximum: 2 ** 32 - 1 },
    gid: { ...number, maximum: 2 ** 32 - 1 },
  },
);

const mount = object(
  { hostPath: text, containerPath: text },
  { options: { type: 'array', items: text }, type: text },
);

const hook = object(
  {
    hookName: {
      enum: [
        ...['prestart', 'createRuntime', 'createContainer'],
        ...['startContainer', 'poststart', 'poststop'],
      ],
    },
    path: text,
  },
  { args: { type: 'array', items: text }, env: environment, timeout: { type: 'integer' } },
);

const containerEdits = object(
  {},
  {
    env: environment,
    deviceNodes: { type: 'array', items: deviceNode },
    mounts: { type: 'array', items: mount },
    hooks: { type: 'array', items: hook },
  },
);

const device = object(
  {
    name: { type: 'string', pattern: '^[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$' },
    // A device that edits nothing is refused.
    containerEdits: { ...containerEdits, minProperties: 1 },
  },
  { annotations },
);

const specification = object(
  {
    cdiVersion: { const: '0.6.0' },
    kind: {
      type: 'string',
      maxLength: 253 + 1 + 63,
      pattern: `^[A-Za-z][A-Za-z0-9.-]*(?<=^${label}(\\.${label})*)/[A-Za-z]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`,
    },
    devices: { type: 'array', minItems: 1, items: device },
  },
  { annotations, containerEdits },
);

const validate = new Ajv({ allErrors: true }).compile(specification);

/** What is wrong with a specification: nothing, for one that a runtime takes. */
export function problemsOfCdi(spec: unknown): string[] {
  if (!validate(spec)) {
    return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
  }
  const names = (spec as { devices: { name: string }[] }).devices.map(({ name }) => name);
  return names.length === new Set(names).size ? [] : [`a name is there twice: ${names.join()}`];
}

/** A runtime takes it. */
export function assertCdi(spec: unknown): void {
  assert.deepEqual(problemsOfCdi(spec), []);
}
