// Sees to strace, which the lab's guest runs from the host's files.
import { ensurePackages } from '../lab/packages.ts';

await ensurePackages([{ package: 'strace', shows: 'strace' }]);
