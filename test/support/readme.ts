import { readFileSync } from 'node:fs';
import { root } from './root.ts';

/** The blocks of this language in README.md, in their order. */
export function readmeBlocks(language: string): string[] {
  return blocksOf('README.md', language);
}

/** The blocks of this language in a file of Markdown, in their order. */
export function blocksOf(file: string, language: string): string[] {
  const text = readFileSync(new URL(file, root), 'utf8');
  const blocks = text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'));
  return [...blocks].map(([, code = '']) => code);
}
