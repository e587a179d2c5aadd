/**
 * The service worker of published pages (webhyve-site): adds the headers that shared memory needs to what comes from this folder, for servers
 * that send none, and keeps chunks, whose names say what they hold. Nothing from elsewhere passes through it.
 */

/** The part of a service worker's scope that is used here; TypeScript's DOM library has only a page's. */
interface ServiceWorkerScope {
  readonly location: Location;
  readonly registration: { readonly scope: string };
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: 'install' | 'activate', listener: (event: ExtendableEvent) => void): void;
  addEventListener(type: 'fetch', listener: (event: FetchEvent) => void): void;
}

interface ExtendableEvent extends Event {
  waitUntil(until: Promise<unknown>): void;
}

interface FetchEvent extends ExtendableEvent {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

const scope = globalThis as unknown as ServiceWorkerScope;
const CHUNK_CACHE = 'webhyve-chunks-1';
const CHUNK = /\/[0-9a-f]{16,64}\.chunk$/;

function withHeaders(response: Response): Response {
  // Opaque answers cannot be changed, and a null-body status takes no body.
  if (response.type === 'opaque' || response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  const body = [101, 204, 205, 304].includes(response.status) ? null : response.body;
  return new Response(body, { status: response.status, statusText: response.statusText, headers });
}

async function chunk(event: FetchEvent): Promise<Response> {
  const { request } = event;
  const cache = await caches.open(CHUNK_CACHE);
  const kept = await cache.match(request);
  if (kept) return kept;
  const response = await fetch(request);
  // The page has its answer before the cache has it on a disk. A full quota costs the cache, not the page.
  if (response.ok) event.waitUntil(cache.put(request, response.clone()).catch(() => undefined));
  return response;
}

scope.addEventListener('install', (event) => event.waitUntil(scope.skipWaiting()));
scope.addEventListener('activate', (event) => event.waitUntil(scope.clients.claim()));
scope.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || !request.url.startsWith(scope.registration.scope)) return;
  event.respondWith(CHUNK.test(url.pathname) ? chunk(event) : fetch(request).then(withHeaders));
});
