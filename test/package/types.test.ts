import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { blocksOf } from '../support/readme.ts';
import { root } from '../support/root.ts';

/** What every program of the package's users is checked by: nothing is skipped. */
const strict = { target: 'es2022', strict: true, noEmit: true, skipLibCheck: false };

/** The programs of README and the guide; blocks without an import are parts of some. */
const papers = ['README.md', 'docs/guide.md']
  .flatMap((page) => blocksOf(page, 'ts'))
  .filter((block) => block.startsWith('import'));

const usesMore = `
import { DmaBuffer, VfioDevice, VfioError, type Ioas, type VfioErrorCode, type VfioFacts } from 'vfio';

export async function drive(device: VfioDevice, ioas: Ioas): Promise<bigint> {
  device.on('request', () => void device.close()).once('error', (error: Error) => error.message);
  await using memory = await DmaBuffer.allocate(4096);
  await using mapping = await ioas.map(memory);
  const registers = device.region('bar0').map().registers({
    id: { offset: 0, access: 'r', fields: { major: 0xff } },
    doorbell: { offset: 8, width: 64 },
  });
  const major: number = registers.id.readFields().major;
  const last: bigint = registers.doorbell.read();
  // @ts-expect-error: it may be read only
  registers.id.write(major);
  const [vector] = await device.interrupt('msix').enable();
  for await (const count of vector) if (count > 1) break;
  return mapping.iova + last;
}

export function codeOf(error: unknown): VfioErrorCode | (string & {}) | undefined {
  if (!(error instanceof VfioError)) return undefined;
  const facts = error.reason === 'held-by-cdev' && (error.facts as VfioFacts['held-by-cdev']);
  return facts && facts.holders.length > 0 ? error.code : undefined;
}
`;

const requires = `
import { VfioError } from 'vfio';
export const name: string = VfioError.name;
`;

const importsLater = `
import type { VfioDevice } from 'vfio' with { 'resolution-mode': 'import' };
export async function open(address: string): Promise<VfioDevice> {
  const { VfioDevice } = await import('vfio');
  return await VfioDevice.open(address);
}
`;

describe('the published types', () => {
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'vfio-types-'));
    // Node's own, with what they need beside them.
    mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
    symlinkSync(pathOf('node_modules/@types/node'), join(folder, 'node_modules/@types/node'));
    for (const file of await packed()) {
      if (!/^package\.json$|\.d\.ts$/.test(file)) continue;
      const copy = join(folder, 'node_modules/vfio', file);
      mkdirSync(join(copy, '..'), { recursive: true });
      copyFileSync(pathOf(file), copy);
    }
  });

  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** What tsc says of these files, as a project of their own; nothing where it accepts them. */
  async function check(files: Record<string, string>, options: object): Promise<string> {
    const project = mkdtempSync(join(folder, 'project-'));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text);
    const config = { compilerOptions: { ...strict, ...options }, files: Object.keys(files) };
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config));
    return tsc(project);
  }

  const lib = ['es2022', 'esnext.disposable'];

  it('are one file for what each import names', async () => {
    const declarations = (await packed()).filter((file) => /\.d\.[mc]?ts$/.test(file));
    assert.deepEqual(declarations, ['dist/index.d.ts', 'dist/testing.d.ts']);
  });

  it('serve ES modules and CommonJS that requires the package, nodenext', async () => {
    const files = { ...programsAs('mts'), 'values.mts': await usesValues(), 'old.cts': requires };
    assert.equal(await check(files, { module: 'nodenext', lib }), '');
  });

  it('serve ES modules and CommonJS that imports the package when it runs, node16', async () => {
    const files = { ...programsAs('mts'), 'old.cts': importsLater };
    assert.equal(await check(files, { module: 'node16', lib }), '');
  });

  it('tell CommonJS of node16, which knows no require of ES modules, that it cannot', async () => {
    assert.match(await check({ 'old.cts': requires }, { module: 'node16' }), /error TS1479/);
  });

  it('serve programs that a bundler joins', async () => {
    const options = { module: 'esnext', moduleResolution: 'bundler', lib };
    assert.equal(await check(programsAs('ts'), options), '');
  });

  it('need no more of the language’s library than es2022 has', async () => {
    const text = `import { VfioDevice } from 'vfio';\nexport const device = VfioDevice.open('3b:00.0');\n`;
    assert.equal(await check({ 'plain.mts': text }, { module: 'nodenext', lib: ['es2022'] }), '');
  });
});

function programsAs(ending: string): Record<string, string> {
  assert.ok(papers.length >= 4);
  const files = [...papers, usesMore].map((text, index) => [`${index}.${ending}`, text]);
  return Object.fromEntries(files) as Record<string, string>;
}

/** Accepted where the types have as values exactly what the package exports. */
async function usesValues(): Promise<string> {
  const values = Object.keys((await import(pathOf('dist/index.js'))) as object);
  assert.ok(values.includes('VfioDevice') && !values.includes('Ioas'));
  return `
import * as vfio from 'vfio';
// @ts-expect-error: what is inside stays there
import type { NativeFd } from 'vfio';
export const exported: Record<keyof typeof vfio, true> = { ${values.join(': true, ')}: true };
// @ts-expect-error: Ioas is a type only
export const isIoas = (value: unknown): boolean => value instanceof vfio.Ioas;
`;
}

function pathOf(file: string): string {
  return new URL(file, root).pathname;
}

/** The files that would be published. */
async function packed(): Promise<string[]> {
  const out = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts']);
  const [pack] = JSON.parse(out) as { files: { path: string }[] }[];
  return pack?.files.map(({ path }) => path) ?? [];
}

function tsc(project: string): Promise<string> {
  const compiler = pathOf('node_modules/typescript/bin/tsc');
  return run(process.execPath, [compiler, '--pretty', 'false', '-p', project]);
}

/** What a program prints, whatever its exit status. */
function run(program: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { cwd: pathOf('.') }, (error, out, err) => {
      if (error && out === '') reject(new Error(`${program}: ${error.message}${err}`));
      else resolve(out);
    });
  });
}
