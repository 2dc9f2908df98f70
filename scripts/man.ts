// Prints man/vfio.1, which is made from the commands' own words. npm run man:accept writes it.
import { readFileSync } from 'node:fs';
import { commands } from '../lib/cli/commands.ts';
import { manual } from '../lib/cli/manual.ts';

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

const { version } = JSON.parse(read('package.json')) as { version: string };
// Of the last release: a page that changed from day to day could not be compared.
const [, date = ''] = /^## \S+ - (\d{4}-\d\d-\d\d)$/m.exec(read('CHANGELOG.md')) ?? [];
process.stdout.write(manual(commands, version, date));
