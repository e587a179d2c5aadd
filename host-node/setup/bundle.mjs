/**
 * Bundles the programs into dist/: dist/bin/*.js, dist/index.js, dist/vcpu-worker.js, with dist/core.wasm beside them; and what browsers
 * load into dist/browser/.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bundleBrowser } from './bundle-browser.mjs';
import { progress, root, runMain, SetupError } from './common.mjs';

const ENTRIES = [
  'host-node/bin/bhyve.ts',
  'host-node/bin/bhyvectl.ts',
  'host-node/bin/bhyveload.ts',
  'host-node/bin/grub-bhyve.ts',
  'host-node/bin/webhyve-web.ts',
  'host-node/bin/webhyve-site.ts',
  'host-node/bin/webhyve-switch.ts',
  'host-node/vcpu-worker.ts',
  'host-node/network/tap-reader.mjs',
  'host-node/index.ts',
  'host-node/vitest.ts',
];
const REQUIRE =
  "import { createRequire as nodeCreateRequire } from 'node:module';\nconst require = nodeCreateRequire(import.meta.url);";
const REQUIRED = new Set(['host-node/bin/bhyve.ts', 'host-node/vcpu-worker.ts']);

export async function bundle() {
  const entryPoints = ENTRIES.filter((entry) => {
    const present = existsSync(join(root, entry));
    if (!present && REQUIRED.has(entry)) throw new SetupError(`${entry} is missing: there is nothing to bundle`);
    return present;
  });
  const core = join(root, 'build/core.wasm');
  if (!existsSync(core)) throw new SetupError('build/core.wasm is missing: run "npm run build:core" first');
  const esbuild = await import('esbuild');
  const dist = join(root, 'dist');
  mkdirSync(dist, { recursive: true });
  // Chunks carry a hash in their names: those of earlier builds would stay for ever.
  for (const name of readdirSync(dist)) if (/^chunk-.*\.js(\.map)?$/.test(name)) rmSync(join(dist, name));
  await esbuild.build({
    absWorkingDir: root,
    entryPoints,
    outbase: 'host-node',
    outdir: 'dist',
    bundle: true,
    splitting: true,
    chunkNames: 'chunk-[hash]',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    logLevel: 'warning',
    // The fixture belongs to the vitest of whoever imports it; koffi is a binary that may be missing.
    external: ['vitest', 'koffi'],
    // Workers and assets are found by new URL(..., import.meta.url), which esbuild leaves as written.
    // ws is a CommonJS package: what it requires of Node needs a require() in these modules.
    banner: { js: `#!/usr/bin/env node\n${REQUIRE}` },
  });
  await esbuild.build({
    absWorkingDir: root,
    entryPoints: ['host-node/display/viewer.ts'],
    outfile: 'dist/viewer.js',
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    // noVNC's licence, the MPL 2.0, wants to stay with its code.
    legalComments: 'inline',
    logLevel: 'warning',
  });
  copyFileSync(core, join(dist, 'core.wasm'));
  await bundleBrowser({ core, outdir: join(dist, 'browser') });
  for (const name of readdirSync(join(dist, 'bin')))
    if (name.endsWith('.js')) chmodSync(join(dist, 'bin', name), 0o755);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await runMain(async () => {
    await bundle();
    progress('dist/ is ready');
  });
}
