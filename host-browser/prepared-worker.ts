/**
 * The Worker of a machine that nobody has asked for yet. A browser takes a tenth of a second to start it and to compile the core; a page whose
 * user is about to start a machine has that done meanwhile.
 */
import { tellOver } from './port/endpoint.ts';
import type { AssetUrls, PageNotes } from './port/protocol.ts';
import { spawnWorker } from './spawn-worker.ts';

interface PreparedWorker {
  readonly assets: AssetUrls;
  readonly worker: Worker;
}

let prepared: PreparedWorker | undefined;

function discard(): void {
  prepared?.worker.terminate();
  prepared = undefined;
}

function spawnMachineWorker(assets: AssetUrls): Worker {
  return spawnWorker(new URL(assets.machineWorker), 'webhyve machine');
}

/** Starts a Worker with these files, unless one waits already. */
export function prepareWorker(assets: AssetUrls): void {
  if (prepared && sameAssets(prepared.assets, assets)) return;
  discard();
  const worker = spawnMachineWorker(assets);
  const mine = { assets, worker };
  // Whoever asks for a machine gets another Worker, and hears why that one fails.
  worker.addEventListener('error', () => {
    if (prepared === mine) discard();
  });
  tellOver<PageNotes, 'prepare'>(worker, 'prepare', { core: assets.core, vcpuWorker: assets.vcpuWorker });
  prepared = mine;
}

/** The Worker that waits, or a new one. */
export function takeWorker(assets: AssetUrls): Worker {
  const taken = prepared;
  if (!taken || !sameAssets(taken.assets, assets)) return spawnMachineWorker(assets);
  prepared = undefined;
  return taken.worker;
}

function sameAssets(a: AssetUrls, b: AssetUrls): boolean {
  return a.core === b.core && a.machineWorker === b.machineWorker && a.vcpuWorker === b.vcpuWorker;
}
