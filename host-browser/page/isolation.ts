/** Shared memory on servers that send no headers: a service worker adds them to what the page loads. */

/** Set for the reload that puts the page under its service worker, so that there is only one. */
const TRIED = 'webhyve-isolation';

/**
 * Resolves to true when the page may go on: it has shared memory, or cannot have it. Otherwise the page is being loaded again, under the
 * service worker.
 */
export async function isolate(script: string | undefined): Promise<boolean> {
  if (globalThis.crossOriginIsolated) sessionStorage.removeItem(TRIED);
  if (globalThis.crossOriginIsolated || script === undefined || !('serviceWorker' in navigator)) return true;
  if (sessionStorage.getItem(TRIED) !== null) return true;
  try {
    const registration = await navigator.serviceWorker.register(script);
    await navigator.serviceWorker.ready;
    if (!registration.active) return true;
  } catch {
    // Not allowed here (no secure context, a private window): one thread does it as well.
    return true;
  }
  sessionStorage.setItem(TRIED, '1');
  location.reload();
  return false;
}
