import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { root } from '../support/root.ts';

const source = `
/** A door. */
export class Door {
  /** How far it is open. */
  width = 0;
  depth = 0;
  /** Its colour. @throws nobody knows what */
  get colour(): string { return ''; }
  /**
   * Opens it.
   *
   * @param degrees - how far
   * @returns how far it went
   * @throws RangeError beyond 90
   * @throws the signal's reason
   */
  async open(degrees: number): Promise<number> { return degrees; }
  /** The blocking form of {@link open}. */
  openSync(degrees: number): number { return degrees; }
  /** Slams it. */
  slam(force: number): void { void force; }
  /** What is inside. @internal */
  hidden(): void {}
  undocumented(): void {}
}
`;

/** Part of what typedoc writes of a member. */
interface Reflection {
  name: string;
  comment?: { blockTags?: { tag: string; content: { text: string }[] }[] };
  signatures?: Reflection[];
  parameters?: Reflection[];
  children?: Reflection[];
}

describe('the check of the API reference', () => {
  let folder: string;
  let said: string;
  let made: Reflection;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'vfio-reference-'));
    writeFileSync(join(folder, 'door.ts'), source);
    const config = { compilerOptions: { target: 'es2022', types: [] }, files: ['door.ts'] };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const options = {
      extends: [new URL('typedoc.json', root).pathname],
      plugin: [new URL('scripts/reference/plugin.mjs', root).pathname],
      entryPoints: ['door.ts'],
      packagesRequiringDocumentation: ['door'],
      tsconfig: 'tsconfig.json',
      out: 'html',
      json: 'door.json',
      // Or nothing would be written.
      treatWarningsAsErrors: false,
      treatValidationWarningsAsErrors: false,
    };
    writeFileSync(join(folder, 'package.json'), '{ "name": "door" }');
    writeFileSync(join(folder, 'typedoc.json'), JSON.stringify(options));
    const typedoc = new URL('node_modules/typedoc/bin/typedoc', root).pathname;
    const child = spawnSync(process.execPath, [typedoc], { cwd: folder, encoding: 'utf8' });
    said = child.stdout + child.stderr;
    assert.equal(child.status, 0, said);
    const whole = readJson(join(folder, 'door.json'));
    made = whole.children?.find(({ name }) => name === 'Door') ?? whole;
  });

  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('is one: what it names makes it fail', () => {
    const text = readFileSync(new URL('typedoc.json', root), 'utf8');
    const options = JSON.parse(text) as Record<string, unknown>;
    assert.equal(options['treatWarningsAsErrors'], true);
    assert.equal(options['treatValidationWarningsAsErrors'], true);
  });

  it('names what has no comment, no @throws, and a number of which nobody says what it is', () => {
    assert.match(said, /Door\.depth has no comment/);
    assert.match(said, /Door\.slam does not say what its parameter force is/);
    assert.match(said, /Door\.slam has no @throws and is not among what throws nothing/);
    assert.match(said, /Door\.undocumented.* does not have any documentation/);
    assert.doesNotMatch(said, /Door\.(width|colour|open|openSync|hidden|constructor)\b/);
  });

  it('names what is said to throw nothing and is not there', () => {
    assert.match(said, /vfio\.VfioCdev\.device is among what throws nothing; it is not there/);
  });

  it('gives a blocking form what its promise form says, but for the signal', () => {
    const form = made.children?.find(({ name }) => name === 'openSync')?.signatures?.[0];
    const throws = form?.comment?.blockTags?.filter(({ tag }) => tag === '@throws');
    assert.deepEqual(
      throws?.map(({ content }) => content.map(({ text }) => text).join('')),
      ['RangeError beyond 90'],
    );
    assert.ok(form?.parameters?.[0]?.comment);
  });
});

function readJson(file: string): Reflection {
  return JSON.parse(readFileSync(file, 'utf8')) as Reflection;
}
