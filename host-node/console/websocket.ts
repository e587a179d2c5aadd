/**
 * A serial port on a WebSocket (RFC 6455): `ws=ADDRESS:PORT[?token=TOKEN][&origin=ORIGIN]...` listens, for a page that is its terminal.
 *
 * - Any page that the user visits can connect to a port of the user's own machine: a client needs the token, which is made up unless one is
 *   given; and a page must come from an allowed origin, those of this machine by default.
 * - Binary messages are bytes of the line, both ways. Text messages are a client's acknowledgements: how many bytes it has shown, in decimal.
 *   They count for clients that speak the subprotocol `webhyve-console`: one that does not show what it is sent makes the guest wait.
 * - One client at a time, who may go and come again.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { WebSocketServer, type RawData, type WebSocket } from 'ws';
import type { CharacterBackend, CharacterPort, WebSocketAddress } from '../../devices/backends/character.ts';
import { LinkBackend, type FarEnd } from './link.ts';

/** Its clients acknowledge what they have shown. */
export const CONSOLE_PROTOCOL = 'webhyve-console';
const TOKEN_BYTES = 16;
/** Longest message of a client; a paste comes in several. */
const MAX_MESSAGE_BYTES = 1024 * 1024;
/** Sent and not acknowledged: beyond this the guest waits. */
const WINDOW_BYTES = 256 * 1024;
/** Close codes (RFC 6455, 7.4.1, and the registry of 11.7). */
const CLOSE_NORMAL = 1000;
const CLOSE_TRY_AGAIN = 1013;

function isToken(given: string | null, token: string): boolean {
  const bytes = Buffer.from(given ?? '');
  const wanted = Buffer.from(token);
  return bytes.length === wanted.length && timingSafeEqual(bytes, wanted);
}

/** Pages of this machine; programs other than browsers send no origin. */
function isAllowedOrigin(origin: string | undefined, allowed: readonly string[]): boolean {
  if (origin === undefined || allowed.includes(origin)) return true;
  return /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(origin);
}

/** A client as a link's far end. */
function clientEnd(client: WebSocket): FarEnd {
  const acknowledges = client.protocol === CONSOLE_PROTOCOL;
  let unacknowledgedBytes = 0;
  let waiting: (() => void) | undefined;
  let sentAll = false;
  const input = new Readable({ read: () => client.resume() });
  const proceed = (): void => {
    if (!waiting || !sentAll || (acknowledges && unacknowledgedBytes > WINDOW_BYTES)) return;
    const done = waiting;
    waiting = undefined;
    done();
  };
  client.on('message', (data: RawData, isBinary: boolean) => {
    const bytes = Buffer.concat(Array.isArray(data) ? data : [Buffer.from(data as Buffer)]);
    if (isBinary) {
      if (!input.push(bytes)) client.pause();
      return;
    }
    const count = Number(bytes.toString('latin1'));
    if (Number.isSafeInteger(count) && count > 0) unacknowledgedBytes = Math.max(0, unacknowledgedBytes - count);
    proceed();
  });
  client.on('error', () => undefined);
  client.on('close', () => {
    input.push(null);
    // What was sent was sent; nobody will acknowledge it.
    unacknowledgedBytes = 0;
    proceed();
  });
  return {
    input,
    write: (bytes, done) => {
      if (client.readyState !== client.OPEN) {
        done(new Error('the client is gone'), 0);
        return;
      }
      sentAll = false;
      waiting = () => done(undefined, bytes.length);
      unacknowledgedBytes += bytes.length;
      client.send(bytes, { binary: true }, (error) => {
        sentAll = true;
        if (error && waiting) {
          waiting = undefined;
          done(error, 0);
        } else proceed();
      });
    },
    destroy: () => {
      input.destroy();
      client.close(CLOSE_NORMAL);
    },
  };
}

export class WebSocketBackend implements CharacterBackend {
  readonly #link: LinkBackend;

  private constructor(
    private readonly server: Server,
    private readonly sockets: WebSocketServer,
    /** What a page connects to; the token is in it. */
    readonly url: string,
  ) {
    this.#link = new LinkBackend(
      () => undefined,
      () => this.#release(),
    );
  }

  /** Listens. Rejects when it cannot. */
  static async listen(address: WebSocketAddress): Promise<WebSocketBackend> {
    const { host, port, origins } = address;
    const token = address.token ?? randomBytes(TOKEN_BYTES).toString('hex');
    const server = createServer((_request, response) => {
      response
        .writeHead(426, { 'Content-Type': 'text/plain', Upgrade: 'websocket' })
        .end('a WebSocket is spoken here\n');
    });
    const sockets = new WebSocketServer({
      noServer: true,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has(CONSOLE_PROTOCOL) ? CONSOLE_PROTOCOL : false),
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        server.on('error', () => undefined);
        resolve();
      });
    });
    const actual = (server.address() as AddressInfo).port;
    const shown = host.includes(':') ? `[${host}]` : host;
    const backend = new WebSocketBackend(
      server,
      sockets,
      `ws://${shown}:${actual}/?token=${encodeURIComponent(token)}`,
    );
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      socket.on('error', () => undefined);
      const given = new URL(request.url ?? '/', 'http://localhost').searchParams.get('token');
      if (!isToken(given, token) || !isAllowedOrigin(request.headers.origin, origins)) {
        socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
        return;
      }
      sockets.handleUpgrade(request, socket, head, (client) => backend.#connected(client));
    });
    return backend;
  }

  #connected(client: WebSocket): void {
    if (this.#link.attached || this.#link.closed) {
      client.on('error', () => undefined);
      client.close(CLOSE_TRY_AGAIN, 'another client has the line');
    } else this.#link.attach(clientEnd(client));
  }

  async #release(): Promise<void> {
    for (const client of this.sockets.clients) client.terminate();
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  open(port: CharacterPort): void {
    this.#link.open(port);
  }

  write(bytes: Uint8Array): boolean {
    return this.#link.write(bytes);
  }

  hold(held: boolean): void {
    this.#link.hold(held);
  }

  close(): Promise<void> {
    return this.#link.close();
  }
}
