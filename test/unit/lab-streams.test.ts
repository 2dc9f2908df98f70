import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

import fc from 'fast-check';
import { describe, it } from 'mocha';

import { EndMark } from '../../lab/end-mark.ts';
import { assignments, quoted } from '../../lab/job.ts';

async function passed(
  chunks: Buffer[],
  mark: string,
): Promise<{ data: Buffer; complete: boolean }> {
  const filter = new EndMark(Buffer.from(mark));
  const data = await buffer(Readable.from(chunks).pipe(filter));
  return { data, complete: filter.complete };
}

function cut(bytes: Buffer, at: number[]): Buffer[] {
  const places = [0, ...at.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b)];
  return places.map((from, index) => bytes.subarray(from, places[index + 1] ?? bytes.length));
}

describe('lab end mark', () => {
  it('passes every byte before the mark, wherever the stream is cut', () =>
    fc.assert(
      fc.asyncProperty(
        // Few letters, so that beginnings of the mark are common.
        fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 40 }),
        fc.array(fc.nat(60), { maxLength: 8 }),
        async (letters, places) => {
          const text = letters.join('').replaceAll('abca', '');
          fc.pre(!`${text}abca`.slice(0, -1).includes('abca'));
          const whole = Buffer.from(`${text}abca`);
          const { data, complete } = await passed(cut(whole, places), 'abca');
          assert.equal(data.toString(), text);
          assert(complete);
        },
      ),
    ));

  it('keeps what looked like the mark when the stream breaks off', async () => {
    const { data, complete } = await passed([Buffer.from('data MA'), Buffer.from('R')], 'MARK');
    assert.equal(data.toString(), 'data MAR');
    assert(!complete);
  });

  it('passes no byte back after the mark', async () => {
    const { data } = await passed([Buffer.from('xMARKy'), Buffer.from('z')], 'MARK');
    assert.equal(data.toString(), 'x');
  });

  it('does not hold ordinary bytes back', async () => {
    const filter = new EndMark(Buffer.from('MARK'));
    filter.write('prompt> ');
    const [chunk] = (await filter.take(1).toArray()) as [Buffer];
    assert.equal(chunk.toString(), 'prompt> ');
  });
});

describe('lab job', () => {
  it('quotes any word for a shell', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (word) => {
        // A process has no argument with a zero byte.
        fc.pre(!word.includes('\0') && Buffer.from(word).toString() === word);
        const printed = execFileSync('sh', ['-c', `printf %s ${quoted(word)}`]);
        assert.deepEqual(printed, Buffer.from(word));
      }),
      { numRuns: 25 },
    );
  });

  it('survives two rounds of quoting on its way to the command', () => {
    const script = assignments({
      command: ['printf', '%s|%s|%s', "it's", 'a\nb', '$HOME `x` "y"'],
      cwd: '/',
      env: { GREETING: "don't" },
      devices: "o'ne\ntwo",
      modules: '/m',
      mark: 'mark',
    });
    const probe = 'printf "%s\\n" "$LAB_DEVICES"; sh -c "$LAB_COMMAND"';
    const printed = execFileSync('sh', ['-c', script + probe], { encoding: 'utf8' });
    assert.equal(printed, `o'ne\ntwo\nit's|a\nb|$HOME \`x\` "y"`);
  });
});
