// The published types: for each of the package's modules one file made of what tsc declares of lib/,
// without what programs cannot reach; and the report of them that test/unit/api.test.ts compares with
// the reviewed one.
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';

/** What a module's types and report are made of, and where they go. */
const modules = {
  index: { config: 'api-extractor.json', report: 'build-types/vfio.api.md' },
  testing: { config: 'api-extractor.testing.json', report: 'build-types/testing.api.md' },
};

/** `values`: what the module exports. */
export async function rollUpTypes(name, values) {
  const { config, report } = modules[name];
  const types = `build-types/${name}.d.ts`;
  if (isFresh([types, report], ['api-extractor.json', config, 'scripts/roll-up-types.mjs'])) return;
  mkdirSync('build-types/new', { recursive: true });
  // Loading it takes a second, which is saved where nothing changed.
  const { Extractor, ExtractorConfig } = (await import('@microsoft/api-extractor')).default;
  const { succeeded } = Extractor.invoke(ExtractorConfig.loadFileAndPrepare(config), {
    // The report is compared by a test; here the latest one is always written.
    localBuild: true,
    messageCallback: (message) => {
      if (message.category === 'console' && message.logLevel !== 'error') message.handled = true;
    },
  });
  if (!succeeded) {
    rmSync(types, { force: true }); // it was written all the same
    throw new Error(`the types were not rolled up: see ${config}`);
  }
  for (const file of [report, types]) markTypeOnly(file, values);
}

/** Whether the roll-up is newer than all that it is made of. */
function isFresh(results, makers) {
  const made = Math.min(...results.map(timeOf));
  const declared = readdirSync('build-types/lib', { recursive: true })
    .filter((name) => name.endsWith('.d.ts'))
    .map((name) => `build-types/lib/${name}`);
  return [...declared, ...makers].every((file) => timeOf(file) < made);
}

function timeOf(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/**
 * API Extractor knows no `export type`: by what it writes, programs could import every class as a
 * value. Those that exist as types only are exported as types here.
 */
function markTypeOnly(file, values) {
  const names = [];
  const text = readFileSync(file, 'utf8').replace(
    /^export ((?:declare )?(?:abstract )?class (\w+))/gm,
    (whole, declaration, name) => {
      if (values.includes(name)) return whole;
      names.push(name);
      return declaration;
    },
  );
  const end = /^(export \{ \}|\/\/ \(No @packageDocumentation)/m;
  if (names.length === 0) return;
  writeFileSync(file, text.replace(end, `export type { ${names.join(', ')} };\n\n$1`));
}
