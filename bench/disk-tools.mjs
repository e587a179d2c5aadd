/** The tests' image of Debian's programs for guests (tests/support/guest-tools.ts), for a benchmark that Node runs as it is. */
import { mkdirSync } from 'node:fs';
import { join, resolve, dirname } from 'node:path';
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

const outfile = join(root, 'build/bench/guest-tools.mjs');
mkdirSync(dirname(outfile), { recursive: true });
await build({
  entryPoints: [join(root, 'tests/support/guest-tools.ts')],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  plugins: [leaveModules],
});

export const { diskTools, diskToolsMissing, mountTools } = await import(pathToFileURL(outfile).href);
