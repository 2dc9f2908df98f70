import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import { afterEach, describe, it } from 'mocha';

import { CHECKOUT, qemuOf } from './vm.ts';

/** For how many milliseconds anything is waited for; a busy machine boots in a minute. */
const PATIENCE = 200_000;

/** The lab in a terminal of 101 by 33, which script(1) makes; its name comes first. */
class TerminalSession {
  readonly #script: ChildProcessWithoutNullStreams;
  #seen = '';

  constructor(args: string) {
    const lab = `${join(CHECKOUT, 'node_modules/.bin/tsx')} lab/main.ts ${args}`;
    const command = `tty; stty rows 33 cols 101; ${lab}`;
    const options = ['--quiet', '--return', '--command', command, '/dev/null'];
    this.#script = spawn('script', options, {
      cwd: CHECKOUT,
      env: { ...process.env, TERM: 'vt100' },
    });
    this.#script.stdout.on('data', (bytes: Buffer) => (this.#seen += bytes.toString()));
  }

  type(keys: string): void {
    this.#script.stdin.write(keys);
  }

  /** Waits for text on the screen, and forgets the screen up to its end. */
  async expect(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#seen);
      if (match) {
        this.#seen = this.#seen.slice(match.index + match[0].length);
        return match;
      }
      // The error says what was there instead; mocha's own would not.
      await once(this.#script.stdout, 'data', { signal: AbortSignal.timeout(PATIENCE) }).catch(
        (error: unknown) => {
          throw new Error(`no ${String(pattern)} in ${JSON.stringify(this.#seen)}`, {
            cause: error,
          });
        },
      );
    }
  }

  /** Waits until the VM has begun. */
  async boots(): Promise<void> {
    await qemuOf(this.#script);
  }

  /** What a failed test leaves behind would keep mocha from ending. */
  close(): void {
    this.#script.kill('SIGKILL');
  }

  async status(): Promise<unknown> {
    const { exitCode } = this.#script;
    return exitCode ?? ((await once(this.#script, 'exit')) as [unknown])[0];
  }
}

describe('the lab in a terminal', () => {
  let session: TerminalSession;

  afterEach(() => {
    session.close();
  });

  it('gives the command one, with size, signals and job control', async () => {
    session = new TerminalSession("--env PS1='next: ' sh");
    const name = (await session.expect(/\/dev\/pts\/\d+/))[0];
    // Keys typed before the prompt would be echoed anywhere.
    await session.expect(/next: $/);
    session.type('tty; stty size; echo $TERM; [ -t 2 ] && echo errors too\r');
    await session.expect(/\/dev\/hvc0\s+33 101\s+vt100\s+errors too\s+next: $/);
    session.type('cat\r');
    session.type('one\r');
    await session.expect(/one\s+one\s/);
    session.type('\x1a');
    await session.expect(/Stopped[^]*next: $/);
    session.type('fg\r');
    // Only what answers is in the foreground already, and hears Ctrl-C.
    session.type('two\r');
    await session.expect(/two[^]*two\s/);
    session.type('\x03');
    await session.expect(/next: $/);
    execFileSync('stty', ['-F', name, 'rows', '20', 'cols', '80']);
    session.type('until stty size | grep "20 80"; do sleep 0.1; done\r');
    await session.expect(/\n20 80\s+next: $/);
    session.type('exit 5\r');
    assert.equal(await session.status(), 5);
  });

  it('lets Ctrl-C stop the lab while it boots', async () => {
    session = new TerminalSession('true');
    await session.expect(/\/dev\/pts\/\d+/);
    await session.boots();
    session.type('\x03');
    assert.equal(await session.status(), 130);
  });
});
