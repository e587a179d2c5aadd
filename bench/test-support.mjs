/** Modules of tests/support, which are TypeScript, for benchmarks that Node runs as they are. */
import { mkdirSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { root } from '../host-node/setup/common.mjs';

/** Modules that are JavaScript already stay where they are, and know their own places. */
const leaveModules = {
  name: 'leave-modules',
  setup({ onResolve }) {
    onResolve({ filter: /\.mjs$/ }, ({ path, importer }) => {
      return { path: pathToFileURL(resolve(dirname(importer), path)).href, external: true };
    });
  },
};

/** Resolves to what the module `name` (guest-tools.ts) of tests/support exports. */
export async function testSupport(name) {
  const outfile = join(root, 'build/bench', `${basename(name, '.ts')}.mjs`);
  mkdirSync(dirname(outfile), { recursive: true });
  await build({
    entryPoints: [join(root, 'tests/support', name)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    plugins: [leaveModules],
  });
  return import(pathToFileURL(outfile).href);
}
