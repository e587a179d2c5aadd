/** Starts compare.ts: bundles it, since the Node versions that this project supports do not run TypeScript. */
import { fileURLToPath } from 'node:url';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../../..', import.meta.url));
// Two directories down, as compile-core.ts finds the root by its own place.
const out = join(root, 'build/vectors/compare.mjs');
mkdirSync(join(root, 'build/vectors'), { recursive: true });
await build({
  entryPoints: [fileURLToPath(new URL('compare.ts', import.meta.url))],
  bundle: true,
  platform: 'node',
  format: 'esm',
  packages: 'external',
  outfile: out,
  logLevel: 'warning',
});
const { compare } = await import(out);
await compare(root, process.argv.slice(2));
