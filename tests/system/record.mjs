/** Starts record.ts: bundles it, since the Node versions that this project supports do not run TypeScript. */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../..', import.meta.url));
mkdirSync(join(root, 'build'), { recursive: true });
// In this directory, as the bundle finds the guests by its own place.
const out = fileURLToPath(new URL('record.bundle.mjs', import.meta.url));
await build({
  entryPoints: [fileURLToPath(new URL('record.ts', import.meta.url))],
  bundle: true,
  platform: 'node',
  format: 'esm',
  write: false,
}).then(async ({ outputFiles }) => {
  const { writeFileSync, rmSync } = await import('node:fs');
  writeFileSync(out, outputFiles[0].contents);
  try {
    const { record } = await import(out);
    record(process.argv.slice(2));
  } finally {
    rmSync(out);
  }
});
