// Node's modules whose import would cost: `import` of one reads all that it exports, and with that
// loads what lies behind its getters (of node:fs the streams, of node:util the MIME types). What is
// needed at few places and not at the start (node:os, node:worker_threads) is taken there, when
// needed.

export const fs: typeof import('node:fs') = process.getBuiltinModule('node:fs');

export const util: typeof import('node:util') = process.getBuiltinModule('node:util');
