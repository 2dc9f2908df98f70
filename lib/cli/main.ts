#!/usr/bin/env node
import { commands } from './commands.ts';
import { run } from './run.ts';

const noColour = (process.env['NO_COLOR'] ?? '') !== '';

process.exitCode = await run(process.argv.slice(2), commands, {
  print: (text) => process.stdout.write(`${text}\n`),
  note: (text) => process.stderr.write(`${text}\n`),
  colour: process.stdout.isTTY && !noColour,
  width: process.stdout.columns > 0 ? process.stdout.columns : undefined,
});
