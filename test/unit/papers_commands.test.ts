import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import type { Output } from '../../lib/cli/command.ts';
import { commands } from '../../lib/cli/commands.ts';
import { parse } from '../../lib/cli/parse.ts';
import { lanes } from '../../scripts/test/lanes.ts';
import { type Block, blocksIn, pages } from '../support/papers.ts';
import { root } from '../support/root.ts';

const textOf = (file: string): string => readFileSync(new URL(file, root), 'utf8');
const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };

/** A simple command of a shell: its words, without what is before its program and its files. */
function simpleCommands(line: string): string[][] {
  const bare = line
    .replace(/(^|\s)#.*$/, '')
    // What is read from a command is a command as well.
    .replaceAll(/<\(([^)]*)\)/g, '; $1 ;')
    .replaceAll(/\d?>>?\s*\S+/g, '');
  return bare.split(/&&|\|\||[;|&]/).map((part) => {
    const words = [...part.matchAll(/"[^"]*"|'[^']*'|[^\s"']+/g)].map(([word]) =>
      word.replaceAll(/^["']|["']$/g, ''),
    );
    const isBefore = (word: string): boolean => /^[A-Z_]+=|^(?:sudo|npx|pnpm|exec)$/.test(word);
    const first = words.findIndex((word) => !isBefore(word));
    return first < 0 ? [] : words.slice(first);
  });
}

/** What a page has one type in a shell, line by line. */
function typedIn(block: Block): string[][] {
  return block.code
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .flatMap(simpleCommands)
    .filter((words) => words.length > 0);
}

const silent: Output = { print: () => undefined, note: () => undefined } as unknown as Output;

/** Why this is no command line of `vfio`; nothing where it is one. */
function mistakeIn(words: readonly string[], more: readonly string[] = []): string | undefined {
  const line = words.join(' ');
  if (['help', '--help', '--version'].includes(words[0] ?? '')) return undefined;
  const command = commands.find(({ name }) => line === name || line.startsWith(`${name} `));
  if (command === undefined) return `there is no command: vfio ${line}`;
  const rest = words.slice(command.name.split(' ').length);
  try {
    parse(command, [...rest, ...more], commands, silent);
  } catch (error) {
    return `vfio ${line}: ${String(error)}`;
  }
  return undefined;
}

/** The same of what a sentence names, where what it is done to may be left out. */
function mistakeInSentence(words: readonly string[]): string | undefined {
  const mistakes = [[], ['x'], ['x', 'x'], ['x', 'x', 'x']].map((more) => mistakeIn(words, more));
  return mistakes.includes(undefined) ? undefined : mistakes[0];
}

describe('the commands of the papers', () => {
  const blocks = pages.flatMap(blocksIn).filter(({ language }) => language === 'sh');
  const typed = blocks.flatMap((block) =>
    typedIn(block).map((words) => ({ place: `${block.page}:${block.line}`, words })),
  );

  it('are found', () => {
    assert.ok(typed.length > 100, `${typed.length} commands`);
    assert.ok(typed.filter(({ words }) => words[0] === 'vfio').length > 40);
  });

  it('of vfio are what its own parser takes', () => {
    for (const { place, words } of typed) {
      if (words[0] === 'vfio') assert.equal(mistakeIn(words.slice(1)), undefined, place);
    }
  });

  it('of npm are scripts of package.json, and lanes of its tests', () => {
    const names = lanes.map(({ name }) => name);
    for (const { place, words } of typed) {
      const [program, run, script = ''] = words;
      if (program !== 'npm') continue;
      if (run === 'run') assert.ok(script in scripts, `${place}: npm run ${script}`);
      if (run !== 'test') continue;
      for (const lane of words.slice(3)) assert.ok(names.includes(lane), `${place}: ${lane}`);
    }
  });

  it('name programs and tests whose sources are there', () => {
    for (const { place, words } of typed) {
      for (const word of words) {
        if (!/^(?:build-test|test|bench|examples|lab|scripts)\/[\w/.-]+\.[jt]s$/.test(word))
          continue;
        const source = word.replace(/^build-test\/(.*)\.js$/, '$1.ts');
        assert.ok(existsSync(new URL(source, root)), `${place}: ${word}`);
      }
    }
  });

  for (const page of pages) {
    it(`that a sentence names are there, with these options: ${page}`, () => {
      // Code in a line; in blocks the lines above are looked at.
      const prose = textOf(page).replaceAll(/^( *)```[^]*?^\1```$/gm, '');
      for (const [, line = ''] of prose.matchAll(/`(?:sudo )?(?:npx )?vfio ([a-z-][^`|]+)/g)) {
        const words = line.trim().split(/\s+/);
        const known = words.filter((word) => !/^[[…]/.test(word));
        assert.equal(mistakeInSentence(known), undefined);
      }
    });
  }
});
