/** Starts generate.ts: bundles it, since the Node versions that this project supports do not run TypeScript. */
import { fileURLToPath } from 'node:url';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../..', import.meta.url));
const out = join(root, 'build/vectors/generate.mjs');
mkdirSync(join(root, 'build/vectors'), { recursive: true });
await build({
  entryPoints: [join(root, 'tests/vectors/generate.ts')],
  bundle: true,
  platform: 'node',
  format: 'esm',
  packages: 'external',
  outfile: out,
  logLevel: 'warning',
});
const { generate } = await import(out);
await generate(root, process.argv.slice(2));
