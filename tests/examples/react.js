// Type-checks examples/react with the client's own types, bundles it, and prints where the bundle is. The directory in
// the only argument gets everything that somebody has who followed the example.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const directory = `${process.argv[2]}/react`;
mkdirSync(directory, { recursive: true });
for (const path of [
  '../../examples/react/VideoCall.tsx',
  '../../examples/react/tsconfig.json',
  '../../src/api/web/iceway.js',
  '../../src/api/web/iceway.d.ts',
  'react/main.tsx',
]) copyFileSync(here(path), `${directory}/${path.split('/').at(-1)}`);
symlinkSync(here('node_modules'), `${directory}/node_modules`);
// A mistake must be one: otherwise nothing was checked.
execFileSync(here('node_modules/.bin/tsc'), ['--project', directory], { stdio: 'inherit' });
writeFileSync(`${directory}/wrong.ts`, "import { connect } from './iceway.js';\nconnect({ tokn: '' });\n");
try {
  execFileSync(here('node_modules/.bin/tsc'), ['--project', directory], { stdio: 'pipe' });
  throw new Error('a misspelt option passes for right');
} catch (error) {
  if (!/tokn/.test(String(error.stdout))) throw error;
}
const outfile = `${directory}/bundle.js`;
await build({ entryPoints: [`${directory}/main.tsx`], bundle: true, format: 'esm', minify: true, jsx: 'automatic', outfile,
  define: { 'process.env.NODE_ENV': '"development"' } });
console.log(JSON.stringify({ bundle: outfile }));
