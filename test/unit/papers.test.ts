import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { parseAllDocuments } from 'yaml';
import { isForTypesOnly, programOf, runsOverFake } from '../support/paper_programs.ts';
import { type Block, blocksIn, isProgram, pages, programs } from '../support/papers.ts';
import { linksOf } from '../support/readme.ts';
import { root } from '../support/root.ts';

const placeOf = ({ page, line }: Block): string => `${page}:${line}`;
const textOf = (file: string): string => readFileSync(new URL(file, root), 'utf8');

/** As the programs of users are compiled. */
const compilerOptions = {
  ...{ target: 'es2023', lib: ['es2023', 'esnext.disposable'], types: ['node'] },
  ...{ module: 'nodenext', strict: true, noEmit: true, skipLibCheck: true },
  allowImportingTsExtensions: true,
};

describe('the programs of the papers', () => {
  const all = programs();
  const compiled = all.filter(({ note }) => !['in', 'by', 'unchecked'].includes(note?.kind ?? ''));
  let folder: string;

  before(() => {
    // Below the checkout, where its own name is the package.
    folder = mkdtempSync(join(root.pathname, 'build-types/papers-'));
  });

  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('are found', () => {
    assert.ok(all.length > 40, `${all.length} programs`);
    assert.ok(compiled.length > 20, `${compiled.length} programs are compiled`);
  });

  it('stand in the files that they are said to be in', () => {
    for (const block of all) {
      if (block.note?.kind !== 'in') continue;
      const texts = block.note.files.map((file) => `\n${textOf(file)}`);
      const where = `${placeOf(block)}: neither ${block.note.files.join(' nor ')} has it`;
      assert.ok(texts.some((text) => text.includes(`\n${block.code}`)), where); // prettier-ignore
    }
  });

  it('are run by the tests that are said to run them', () => {
    for (const block of all) {
      if (block.note?.kind !== 'by') continue;
      assert.ok(textOf(block.note.test).includes(`'${block.page}'`), placeOf(block));
    }
  });

  it('name in the reason why they are not run only tests and examples that are there', () => {
    for (const block of all) {
      if (block.note?.kind !== 'types') continue;
      for (const [path] of block.note.why.matchAll(/(?:test|examples)\/[\w/.]*\w/g))
        assert.ok(existsSync(new URL(path, root)), `${placeOf(block)}: ${path}`);
    }
  });

  it('take for granted nothing that is not there when they are run', () => {
    for (const block of compiled) {
      if (block.note?.kind === 'types') continue;
      assert.ok(!isForTypesOnly(programOf(block)), placeOf(block));
    }
  });

  it('compile', () => {
    const names = new Map<string, Block>();
    for (const [at, block] of compiled.entries()) {
      const program = programOf(block).replaceAll(`from '../`, `from '../../`);
      writeFileSync(join(folder, `${at}.mts`), program);
      names.set(`${at}.mts`, block);
    }
    const files = [...names.keys()];
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
    const compiler = new URL('node_modules/typescript/bin/tsc', root).pathname;
    const args = [compiler, '--pretty', 'false', '-p', folder];
    const { stdout } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
    const told = stdout.replaceAll(/^(\d+\.mts)/gm, (name) => {
      const block = names.get(name);
      return block ? placeOf(block) : name;
    });
    assert.equal(told, '');
  });

  for (const block of compiled) {
    if (block.note?.kind === 'types' || !runsOverFake(programOf(block))) continue;
    it(`runs over the fake kernel side: ${placeOf(block)}`, () => {
      const file = join(folder, 'over_fake.mts');
      writeFileSync(file, programOf(block));
      const args = ['--import=tsx', file];
      const { status, stderr } = spawnSync(process.execPath, args, {
        cwd: root.pathname,
        encoding: 'utf8',
      });
      assert.deepEqual([status, stderr], [0, '']);
    });
  }
});

describe('the pages', () => {
  /** The anchor that a heading of Markdown has. */
  function anchorsOf(page: string): string[] {
    return [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    );
  }

  /** What a test reads, or what is to be looked at alone. */
  const known = ['sh', 'json', 'yaml', 'dockerfile', 'udev', 'mermaid', 'text', ''];

  it('say of each block in what language it is, as one that is known', () => {
    for (const block of pages.flatMap(blocksIn)) {
      assert.ok(isProgram(block) || known.includes(block.language), placeOf(block));
    }
  });

  it('have data that can be read', () => {
    for (const block of pages.flatMap(blocksIn)) {
      if (block.language === 'json')
        assert.doesNotThrow(() => JSON.parse(block.code) as unknown, placeOf(block));
      if (block.language !== 'yaml') continue;
      const errors = parseAllDocuments(block.code).flatMap((document) => document.errors);
      assert.deepEqual(errors, [], placeOf(block));
    }
  });

  for (const page of pages) {
    it(`links to files and chapters that are there: ${page}`, () => {
      for (const link of linksOf(page)) assert.ok(existsSync(new URL(link, root)), link);
      for (const [, target = '', anchor = ''] of textOf(page).matchAll(
        /\]\(([^)#:\s]*)#([^)]+)\)/g,
      )) {
        const at = new URL(target === '' ? page : new URL(target, new URL(page, root)), root);
        const path = at.pathname.slice(root.pathname.length);
        assert.ok(anchorsOf(path).includes(anchor), `${target}#${anchor}`);
      }
    });
  }
});
