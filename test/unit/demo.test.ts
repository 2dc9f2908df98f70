import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { DOMParser, type Element } from '@xmldom/xmldom';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';

interface Scene {
  typed: string;
  said: { stream: 'out' | 'err'; text: string }[];
}

const { drawTerminal } = (await import(new URL('scripts/demo-svg.mjs', root).href)) as {
  drawTerminal: (scenes: Scene[], title: string) => string;
};

/** What stands in the picture's rows, from the top; of a command without its prompt. */
function rowsOf(svg: string): { kind: string; text: string }[] {
  const document = new DOMParser({ onError: (_, message) => assert.fail(message) });
  const texts = document.parseFromString(svg, 'image/svg+xml').getElementsByTagName('text');
  return Array.from(texts as Iterable<Element>)
    .map((each) => ({ kind: each.getAttribute('class') ?? '', text: each.textContent ?? '' }))
    .filter(({ kind }) => kind !== 'prompt');
}

describe('the picture of a terminal', () => {
  it('has what was typed and printed, as it was, with long lines broken', () => {
    const long = 'x'.repeat(150);
    const scenes: Scene[] = [
      { typed: 'one <two>', said: [{ stream: 'err', text: 'a & b\n' }] },
      { typed: 'three', said: [{ stream: 'out', text: `  c\n\n${long}\n` }] },
      { typed: 'nothing', said: [] },
    ];
    assert.deepEqual(rowsOf(drawTerminal(scenes, 'A & B')), [
      { kind: 'typed', text: 'one <two>' },
      { kind: 'err', text: 'a & b' },
      { kind: 'typed', text: 'three' },
      { kind: 'out', text: '  c' },
      { kind: 'out', text: long.slice(0, 100) },
      { kind: 'out', text: long.slice(100) },
      { kind: 'typed', text: 'nothing' },
    ]);
  });
});

describe('docs/demo.svg', () => {
  const svg = readFileSync(new URL('docs/demo.svg', root), 'utf8');

  it('shows a device that is held, by whom, and one that answers', () => {
    const rows = rowsOf(svg);
    const errors = rows.filter(({ kind }) => kind === 'err').map(({ text }) => text);
    const [, pid] = /by process (\d+) \(node\)/.exec(errors.join('')) ?? [];
    assert.ok(rows.some(({ kind, text }) => kind === 'typed' && text === `kill ${pid}`));
    assert.ok(rows.some(({ kind, text }) => kind === 'out' && text.trim() === 'Regions'));
    assert.equal(rows.at(-1)?.text, '0x00010400');
  });

  it('is small, runs nothing, loads nothing, and names no place of the machine that made it', () => {
    assert.ok(svg.length < 60_000);
    assert.doesNotMatch(svg, /<script|href|url\((?!#)|@import|foreignObject|\son\w+=/i);
    assert.doesNotMatch(svg, /\/(?:home|root|tmp|usr|work|opt|mnt)\b/);
  });

  it('can be read where it is light and where it is dark, and without animations', () => {
    assert.match(svg, /@media \(prefers-color-scheme: dark\)/);
    assert.match(svg, /@media \(prefers-reduced-motion: reduce\)/);
  });
});
