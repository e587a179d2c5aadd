/** Where the files that go with the library lie. */
import type { AssetUrls } from './port/protocol.ts';

/**
 * The workers and the core, as absolute addresses: beside this module unless told otherwise. The addresses are written out, so that
 * bundlers see them.
 */
export function defaultAssets(given: string | URL | Partial<AssetUrls> | undefined): AssetUrls {
  const page = globalThis.document?.baseURI ?? globalThis.location.href;
  if (typeof given === 'string' || given instanceof URL) {
    const folder = new URL(given, page).href.replace(/\/?$/, '/');
    return {
      core: new URL('core.wasm', folder).href,
      machineWorker: new URL('machine-worker.js', folder).href,
      vcpuWorker: new URL('vcpu-worker.js', folder).href,
      audioWorklet: new URL('audio-worklet.js', folder).href,
    };
  }
  const absolute = (own: string | undefined, fallback: URL): string =>
    own === undefined ? fallback.href : new URL(own, page).href;
  return {
    core: absolute(given?.core, new URL('./core.wasm', import.meta.url)),
    machineWorker: absolute(given?.machineWorker, new URL('./machine-worker.js', import.meta.url)),
    vcpuWorker: absolute(given?.vcpuWorker, new URL('./vcpu-worker.js', import.meta.url)),
    audioWorklet: absolute(given?.audioWorklet, new URL('./audio-worklet.js', import.meta.url)),
  };
}
