import { readdirSync, readFileSync } from 'node:fs';
import { root } from './root.ts';

/** What users and developers read. The reference that is made from the sources is not among it. */
export const pages: readonly string[] = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...readdirSync(new URL('docs', root))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/**
 * How a program of a page is proved. One without a note is run in the lab, with what it names and
 * does not make of {@link given}.
 */
type Note =
  /** It stands in one of these files, word for word, which tests of their own run. */
  | { kind: 'in'; files: string[] }
  /** That test runs it. */
  | { kind: 'by'; test: string }
  /** It is run over the fake kernel side, without a lab. */
  | { kind: 'fake' }
  /** It is compiled and not run. */
  | { kind: 'types'; why: string }
  /** Nobody looks at it. */
  | { kind: 'unchecked'; why: string };

/** A fenced block of a page. */
export interface Block {
  page: string;
  /** The line of its fence, from 1. */
  line: number;
  language: string;
  code: string;
  note: Note | undefined;
}

export function isProgram({ language }: Block): boolean {
  return ['ts', 'js', 'typescript', 'javascript', 'mjs', 'mts'].includes(language);
}

/** The fenced blocks of a page, in their order; indented ones without what they are indented by. */
export function blocksIn(page: string): Block[] {
  const lines = readFileSync(new URL(page, root), 'utf8').split('\n');
  const ofPage = lines.map((line) => noteIn(line, 'blocks')).find(Boolean);
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at++) {
    const [, indent = '', language] = /^( *)```(\S*)$/.exec(lines[at] ?? '') ?? [];
    if (language === undefined) continue;
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    if (end < 0) throw new Error(`${page}:${at + 1}: this block has no end`);
    const body = lines.slice(at + 1, end).map((line) => line.slice(indent.length));
    const code = `${body.join('\n')}\n`;
    const note = noteBefore(lines, at) ?? ofPage ?? notesElsewhere.get(body[0] ?? '');
    blocks.push({ page, line: at + 1, language, code, note });
    at = end;
  }
  return blocks;
}

/** Every program of every page. */
export function programs(): Block[] {
  return pages.flatMap(blocksIn).filter(isProgram);
}

function noteBefore(lines: string[], fence: number): Note | undefined {
  const last = lines.slice(0, fence).findLast((line) => line.trim() !== '');
  return noteIn(last ?? '', 'block');
}

/** `<!-- block: … -->` tells of the block after it, `<!-- blocks: … -->` of all of the page. */
function noteIn(line: string, key: 'block' | 'blocks'): Note | undefined {
  const [, found, text = ''] = /^\s*<!-- (blocks?): (.+) -->$/.exec(line) ?? [];
  return found === key ? parseNote(text) : undefined;
}

function parseNote(text: string): Note {
  const [, files] = /^in (.+)$/.exec(text) ?? [];
  if (files !== undefined) return { kind: 'in', files: files.split(', ') };
  const [, test] = /^run by (.+)$/.exec(text) ?? [];
  if (test !== undefined) return { kind: 'by', test };
  if (text === 'over vfio/testing') return { kind: 'fake' };
  const [, why] = /^only its types are checked: (.+)$/.exec(text) ?? [];
  if (why !== undefined) return { kind: 'types', why };
  throw new Error(`papers.ts: a note that nobody understands: ${text}`);
}

/** Of blocks that have no note in their page, by their first line, whatever page they are in. */
const notesElsewhere = new Map<string, Note>([
  [
    "const [vector] = await device.interrupt('msix').enable();",
    { kind: 'types', why: 'it listens for ever' },
  ],
  [
    'const { args, fds } = qemuArguments({ cdev, iommufd }); // an unbound cdev: QEMU binds by itself',
    { kind: 'types', why: 'examples/vmm/qemu.ts is the whole program' },
  ],
  [
    'const { description, fds } = packDevice(device, [ioas]);',
    { kind: 'types', why: 'it is one of two programs, which test/device/handover.test.ts has' },
  ],
  [
    'await using message = await channel.receive();',
    { kind: 'types', why: 'it is one of two programs, which test/device/handover.test.ts has' },
  ],
]);
