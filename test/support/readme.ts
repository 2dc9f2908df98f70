import { readFileSync } from 'node:fs';
import { root } from './root.ts';

/** The blocks of this language in a file of Markdown, in their order. */
export function blocksOf(file: string, language: string): string[] {
  const text = readFileSync(new URL(file, root), 'utf8');
  const blocks = text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'));
  return [...blocks].map(([, code = '']) => code);
}

/** The files that a file of Markdown links to, as paths in the checkout. */
export function linksOf(file: string): string[] {
  const from = new URL(file, root);
  const text = readFileSync(from, 'utf8');
  const targets = [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(([, target = '']) => target);
  return targets
    .filter((target) => !/^\w+:/.test(target))
    .map((target) => new URL(target, from).pathname.slice(root.pathname.length));
}
