// Are the classes of `import` and `require` the same? Says as JSON which there are, and which
// differ.
import { createRequire } from 'node:module';
import * as imported from 'vfio';

const required = createRequire(import.meta.url)('vfio');
const names = Object.keys(imported);
const differing = names.filter((name) => imported[name] !== required[name]);
console.log(JSON.stringify({ names, differing }));
