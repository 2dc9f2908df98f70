#!/usr/bin/env node
import { commands } from './commands.ts';
import { run } from './run.ts';

const noColour = (process.env['NO_COLOR'] ?? '') !== '';

/** Back to the line's begin, and nothing on it. */
const emptyLine = '\r\u001b[K';

process.exitCode = await run(process.argv.slice(2), commands, {
  print: (text) => process.stdout.write(`${text}\n`),
  note: (text) => process.stderr.write(`${text}\n`),
  colour: process.stdout.isTTY && !noColour,
  progress: process.stderr.isTTY
    ? (text) => process.stderr.write(`${emptyLine}${text}`)
    : undefined,
  width: process.stdout.columns > 0 ? process.stdout.columns : undefined,
});
