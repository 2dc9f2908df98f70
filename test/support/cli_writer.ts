// Run as a child: a command that writes so many bytes of results, then as many of remarks.
import { withProcessOutput } from '../../lib/cli/output.ts';

const [results = 0, remarks = 0] = process.argv.slice(2).map(Number);
const line = 'x'.repeat(1023);
process.exitCode = await withProcessOutput(async (out) => {
  for (let written = 0; written < results; written += 1024) out.print(line);
  await Promise.resolve();
  for (let written = 0; written < remarks; written += 1024) out.note(line);
  return 0;
});
