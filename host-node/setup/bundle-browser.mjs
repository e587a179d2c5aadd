/**
 * Bundles what browsers load: the library and the custom element (with what they share in chunks), the page, each worker as one file,
 * and the core. The folder works from any address.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './common.mjs';

const MODULES = {
  index: 'host-browser/index.ts',
  element: 'host-browser/element.ts',
  page: 'host-browser/page/entry.ts',
};
const WORKERS = {
  'machine-worker': 'host-browser/worker/machine-worker.ts',
  'vcpu-worker': 'host-browser/worker/vcpu-worker.ts',
  'service-worker': 'host-browser/service-worker.ts',
  'audio-worklet': 'host-browser/audio/audio-worklet.ts',
};
const STYLES = { page: 'host-browser/page/page.css' };
/** Copied as they are. */
const FILES = ['host-browser/page/index.html', 'host-browser/page/icon.svg'];

const present = (entries) =>
  Object.entries(entries)
    .filter(([, path]) => existsSync(join(root, path)))
    .map(([out, path]) => ({ out, in: join(root, path) }));

export async function bundleBrowser({ core, outdir }) {
  const esbuild = await import('esbuild');
  mkdirSync(outdir, { recursive: true });
  for (const name of readdirSync(outdir)) if (/^chunk-.*\.js(\.map)?$/.test(name)) rmSync(join(outdir, name));
  const options = {
    absWorkingDir: root,
    outdir,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: ['chrome111', 'firefox115', 'safari16.4'],
    sourcemap: true,
    logLevel: 'warning',
    // The element puts style sheets into its shadow root itself.
    loader: { '.css': 'text' },
  };
  await Promise.all([
    esbuild.build({ ...options, entryPoints: present(MODULES), splitting: true, chunkNames: 'chunk-[hash]' }),
    esbuild.build({ ...options, entryPoints: present(WORKERS) }),
    esbuild.build({ ...options, entryPoints: present(STYLES), loader: {} }),
  ]);
  for (const path of FILES) copyFileSync(join(root, path), join(outdir, path.split('/').at(-1)));
  copyFileSync(core, join(outdir, 'core.wasm'));
}
