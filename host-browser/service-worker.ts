/**
 * The service worker of published pages (webhyve-site): adds the headers that shared memory needs to what comes from this folder, for servers
 * that send none. Nothing from elsewhere passes through it.
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
/** What the machine's Worker loads most of: it needs no headers, and the detour through this Worker would take as long as the way itself. */
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

scope.addEventListener('install', (event) => event.waitUntil(scope.skipWaiting()));
scope.addEventListener('activate', (event) => event.waitUntil(scope.clients.claim()));
scope.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || !request.url.startsWith(scope.registration.scope)) return;
  if (CHUNK.test(url.pathname)) return;
  event.respondWith(fetch(request).then(withHeaders));
});
