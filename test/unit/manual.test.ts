import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import type { Command } from '../../lib/cli/command.ts';
import { commands } from '../../lib/cli/commands.ts';
import { manual } from '../../lib/cli/manual.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';
import { tree } from '../support/tree.ts';

const page = fileURLToPath(new URL('man/vfio.1', root));

interface Ran {
  status: number | null;
  out: string;
  err: string;
}

/** undefined where the machine has no such program. */
function ran(program: string, args: string[]): Ran | undefined {
  const env = { ...process.env, MANWIDTH: '100', LC_ALL: 'C.UTF-8' };
  const { error, status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env });
  if (error && 'code' in error && error.code === 'ENOENT') return undefined;
  assert.ifError(error);
  return { status, out: stdout, err: stderr };
}

/** A page without what makes letters bold or underlined. */
const plain = (text: string): string => text.replace(/.[\b]/gu, '').replace(/\s+/g, ' ');

describe('the manual page', () => {
  it('is what the table of commands makes: npm run man:accept', () => {
    const args = ['--import', 'tsx', 'scripts/man.ts'];
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    assert.equal(stderr, '');
    assert.equal(readFileSync(page, 'utf8'), stdout, 'npm run man:accept, and look at the page');
  });

  it('has no warning of groff', function () {
    const shown = ran('groff', ['-man', '-Tutf8', '-ww', '-z', page]) ?? skip(this, 'groff');
    assert.deepEqual(shown, { status: 0, out: '', err: '' });
  });

  it('has no warning of man', function () {
    const args = ['--warnings', '--encoding=UTF-8', '--local-file', page];
    const shown = ran('man', args) ?? skip(this, 'man');
    // Where its formatter is not installed, and in containers that leave manual pages out.
    if (shown.status !== 0 || shown.out === '') skip(this, 'man, with groff');
    assert.equal(shown.err, '');
    const text = plain(shown.out);
    for (const { name, summary, options } of commands) {
      assert.ok(text.includes(`vfio ${name}`), name);
      assert.ok(text.includes(plain(summary)), summary);
      for (const option of Object.keys(options)) assert.ok(text.includes(`--${option}`), option);
    }
  });

  it('has no warning of mandoc', function () {
    const shown = ran('mandoc', ['-T', 'lint', '-W', 'warning', page]) ?? skip(this, 'mandoc');
    assert.deepEqual(shown, { status: 0, out: '', err: '' });
  });

  it('shows what roff would take for its own', function () {
    const odd: Command = {
      ...{ name: 'odd', positionals: ['device…'], optional: true, run: () => Promise.resolve(0) },
      summary: "It's a \\-back`slash~ ^and more",
      options: { path: { type: 'string', description: '.hidden', values: 'file' } },
      details: ".first line is no request\n'nor this -- one\n\n  .EE  columns\n  'quotes'",
    };
    const file = join(tree({}), 'odd.1');
    writeFileSync(file, manual([odd], '1.2.3', '2026-01-31'));
    const args = ['-man', '-Tutf8', '-ww', '-P-cbou', file];
    const shown = ran('groff', args) ?? skip(this, 'groff');
    assert.deepEqual([shown.status, shown.err], [0, '']);
    const text = plain(shown.out);
    for (const part of [
      "It's a \\-back`slash~ ^and more.",
      'vfio odd [device…] [--path <file>]',
      '.hidden.',
      ".first line is no request 'nor this -- one .EE columns 'quotes'",
    ]) {
      assert.ok(text.includes(part), part);
    }
  });
});
