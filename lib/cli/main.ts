#!/usr/bin/env node
import { commands } from './commands.ts';
import { withProcessOutput } from './output.ts';
import { run } from './run.ts';

process.exitCode = await withProcessOutput((out) => run(process.argv.slice(2), commands, out));
