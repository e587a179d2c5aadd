/** Starting Workers, also from scripts of another origin. */

/** The part of a worker's own global scope that is used here. TypeScript's DOM library has only a page's. */
export interface WorkerScope {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void;
}

/** The global scope of the worker that runs this. */
export const workerScope = globalThis as unknown as WorkerScope;

/**
 * Starts a module worker. Browsers refuse a worker script of another origin (a package on a CDN): such a script is imported by a small one
 * of this origin, which the other origin must allow (CORS) and the page's policy too (`worker-src blob:`).
 */
export function spawnWorker(url: URL, name: string): Worker {
  if (url.origin === globalThis.location.origin || url.protocol === 'blob:' || url.protocol === 'data:') {
    return new Worker(url, { type: 'module', name });
  }
  const script = new Blob([`import ${JSON.stringify(url.href)};`], { type: 'text/javascript' });
  const scriptUrl = URL.createObjectURL(script);
  const worker = new Worker(scriptUrl, { type: 'module', name });
  const revoke = (): void => URL.revokeObjectURL(scriptUrl);
  worker.addEventListener('message', revoke, { once: true });
  worker.addEventListener('error', revoke, { once: true });
  return worker;
}
