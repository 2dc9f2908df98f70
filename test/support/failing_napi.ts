import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { whyNotCompiled } from './emulation.ts';
import { root } from './root.ts';
import { tree } from './tree.ts';

/**
 * These cannot answer that JavaScript does not run: they touch no JavaScript, or are what tells of
 * a failure. node-addon-api ends the process where one of them fails.
 */
const neverFail = [
  'napi_close_callback_scope',
  'napi_close_handle_scope',
  'napi_create_error',
  'napi_create_object',
  'napi_create_string_utf8',
  'napi_create_type_error',
  'napi_delete_reference',
  'napi_fatal_error',
  'napi_fatal_exception',
  'napi_get_and_clear_last_exception',
  'napi_get_cb_info',
  'napi_get_instance_data',
  'napi_get_last_error_info',
  'napi_is_exception_pending',
  'napi_open_handle_scope',
  'napi_remove_async_cleanup_hook',
  'napi_set_instance_data',
];

/**
 * These fail in Node for as long as the environment ends; the others for a want of something, if
 * ever.
 */
const failWhileEnding = [
  'napi_create_arraybuffer',
  'napi_create_external_arraybuffer',
  'napi_create_function',
  'napi_create_promise',
  'napi_create_typedarray',
  'napi_define_properties',
  'napi_get_element',
  'napi_get_property',
  'napi_has_property',
  'napi_make_callback',
  'napi_reject_deferred',
  'napi_resolve_deferred',
  'napi_set_element',
  'napi_set_named_property',
  'napi_throw',
];

const rootPath = root.pathname;
const objects = `${rootPath}build/Release/obj.target/vfio`;

/** Why the addon cannot be linked anew; undefined where it can. */
export function whyNotLinked(): string | undefined {
  if (!existsSync(objects)) return 'npm run build:native';
  return whyNotCompiled('g++');
}

/**
 * The path of an addon of the same object files whose calls of Node-API napi_failures.c makes fail:
 * any, or only those that fail while the environment ends.
 */
export function linkFailingAddon(which: 'any' | 'ending'): string {
  const folder = tree({});
  const files = sources().map((source) => `${objects}/${source.replace(/\.cc$/, '.o')}`);
  const names = undefinedNapi(files).filter((name) =>
    which === 'any' ? !neverFail.includes(name) : failWhileEnding.includes(name),
  );
  assert.ok(names.length > 0);
  writeFileSync(join(folder, 'wrapped.h'), names.map((name) => `WRAP(${name})\n`).join(''));
  const shim = join(folder, 'shim.o');
  const addon = join(folder, 'vfio.node');
  const wrapped = `-DWRAPPED="${join(folder, 'wrapped.h')}"`;
  command('gcc', ['-c', '-fPIC', '-O1', wrapped, '-o', shim, 'test/support/napi_failures.c']);
  const wraps = names.map((name) => `-Wl,--wrap=${name}`);
  command('g++', ['-shared', '-Wl,-z,nodelete', ...wraps, '-o', addon, ...files, shim]);
  return addon;
}

/** What vfio.gypi compiles: an old build may have left other object files. */
function sources(): string[] {
  const text = readFileSync(`${rootPath}native/vfio.gypi`, 'utf8');
  return [...text.matchAll(/"(\w+\.cc)"/g)].map(([, source = '']) => `native/${source}`);
}

function undefinedNapi(files: string[]): string[] {
  const listed = command('nm', ['--undefined-only', ...files]);
  return [...new Set(listed.match(/\bnapi_\w+$/gm))].sort();
}

function command(program: string, args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: rootPath, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout;
}
