/** Where the files that go with this program lie, bundled (dist/) or run from the sources (tests). */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

function firstExisting(names: readonly string[], what: string): URL {
  for (const name of names) {
    const url = new URL(name, import.meta.url);
    if (existsSync(fileURLToPath(url))) return url;
  }
  throw new Error(`${what} is missing from this installation (looked for ${names.join(', ')})`);
}

/** The compiled core module. */
export function coreUrl(): URL {
  return firstExisting(['./core.wasm', '../core.wasm', '../build/core.wasm'], 'core.wasm');
}

/** The bundled entry of a vCPU's worker thread; undefined when running from sources, which workers cannot load. */
export function vcpuWorkerUrl(): URL | undefined {
  try {
    return firstExisting(['./vcpu-worker.js', '../vcpu-worker.js', './vcpu-worker.mjs'], 'vcpu-worker');
  } catch {
    return undefined;
  }
}

/** The bundled code of the page that shows a display. */
export function viewerScript(): URL {
  return firstExisting(['./viewer.js', '../viewer.js', '../dist/viewer.js'], 'viewer.js');
}

/** Compiles the core. */
export async function loadCore(url: URL = coreUrl()): Promise<WebAssembly.Module> {
  return WebAssembly.compile(await readFile(url));
}
