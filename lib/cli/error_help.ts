import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

// docs/errors.md is in the package, and says of each reason and each code what it means and what to do.

/** What errors are explained: reasons, and codes of the package. */
export interface ErrorHelp {
  /** Every reason, in the order of the page. */
  reasons: string[];
  /** What is said of a reason or a code; undefined for anything else. */
  of: (word: string, width?: number) => string | undefined;
}

/** Of the page as it is in the package; where it is absent nothing is explained. */
export function errorHelp(file: string = inPackage()): ErrorHelp {
  const markdown = textOf(file);
  const entries = new Map(
    markdown
      .split(/^(?=#{2,3} )/m)
      .map((part) => /^### ([\w-]+)\n(.*)$/s.exec(part))
      .filter((found) => found !== null)
      .map(([, reason = '', text = '']) => [reason, text.trim()]),
  );
  const of = (word: string, width = 100): string | undefined => {
    const entry = entries.get(word.toLowerCase());
    if (entry !== undefined) return plain(`${word.toLowerCase()}\n\n${entry}`, width);
    const row = rowOf(markdown, word.toUpperCase()) ?? reasonsWith(entries, word.toUpperCase());
    return row === undefined ? undefined : plain(row, width);
  };
  return { reasons: [...entries.keys()], of };
}

function inPackage(): string {
  const require = createRequire(import.meta.url);
  return join(dirname(require.resolve('vfio/package.json')), 'docs', 'errors.md');
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}

/** A code's line in the table of codes; two codes can have one in common. */
function rowOf(markdown: string, code: string): string | undefined {
  if (!code.startsWith('ERR_VFIO_')) return undefined;
  for (const [, names = '', text = ''] of markdown.matchAll(/^\| (`ERR_[^|]*) \| (.*) \|$/gm)) {
    if (!names.split(', ').includes(`\`${code}\``)) continue;
    const reasons = [...text.matchAll(/\]\(#([\w-]+)\)/g)].map(([, reason]) => reason);
    const more = reasons.map((reason) => `\nvfio help ${reason} says more.`).join('');
    return `${code}\n\n${text}${more && `\n${more}`}`;
  }
  return undefined;
}

/** Which reasons an errno comes with: their entries begin the kernel's words with it. */
function reasonsWith(entries: ReadonlyMap<string, string>, errno: string): string | undefined {
  if (!/^E[A-Z0-9]+$/.test(errno)) return undefined;
  const names = [...entries]
    .filter(([, text]) => new RegExp(`\`${errno}\\b`).test(text))
    .map(([name]) => name);
  if (names.length === 0) return undefined;
  const lines = names.map((name) => `\nvfio help ${name}`).join('');
  return `${errno}\n\nAn errno of the kernel. The error of vfio says why, by one of these reasons:\n${lines}`;
}

/** Markdown as a terminal shows it: paragraphs as wide as it is, commands as they are typed. */
function plain(markdown: string, width: number): string {
  return markdown
    .split(/(^```[^]*?^```$)/m)
    .map((part) => (part.startsWith('```') ? commandsOf(part) : proseOf(part, width)))
    .filter((part) => part !== '')
    .join('\n\n');
}

function commandsOf(fenced: string): string {
  const lines = fenced.split('\n').slice(1, -1);
  return lines.map((line) => (line === '' ? '' : `  ${line}`)).join('\n');
}

function proseOf(markdown: string, width: number): string {
  return unmarked(markdown.trim())
    .split(/\n{2,}/)
    .map((paragraph) => blockOf(paragraph, width))
    .join('\n\n');
}

/** Rows of tables and points of lists keep their lines. */
function blockOf(paragraph: string, width: number): string {
  const lines = paragraph
    .split('\n')
    .filter((line) => !/^\|[-|: ]+\|$/.test(line) && !/^\|( *\|)+$/.test(line))
    .map((line) => line.replace(/^\| (.*) \|$/, (_, row: string) => `- ${row.replaceAll(' | ', ': ')}`)); // prettier-ignore
  const items = lines.join('\n').split(/\n(?=- |vfio help )/);
  return items
    .map((item) => wrapped(item.replaceAll('\n', ' '), width, item.startsWith('- ') ? '  ' : ''))
    .join('\n');
}

function unmarked(markdown: string): string {
  return markdown
    .replace(/\[([^\]]+)\]\((#[^)]*)\)/g, '$1')
    .replace(/\[([^\]]+)\]\(([^)#]+)(#[^)]*)?\)/g, (_, text: string, file: string) =>
      text === file ? `docs/${file}` : `${text} (docs/${file})`,
    )
    .replaceAll('**', '')
    .replaceAll('`', '');
}

function wrapped(text: string, width: number, indent: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/ +/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent + word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}
