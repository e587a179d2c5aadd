/** Sockets, names and files of this host for the user-mode network. */
import { randomFillSync } from 'node:crypto';
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { open } from 'node:fs/promises';
import { createServer, connect, type Socket } from 'node:net';
import { resolve, sep } from 'node:path';
import { realpath } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import type {
  BootFile,
  ConnectFailure,
  HostDatagramEvents,
  HostDatagrams,
  HostStream,
  HostStreamEvents,
  NatHost,
} from '../../devices/net/nat/host.ts';
import { resolveDns } from './dns-resolver.ts';
import { ping } from './ping.ts';

/** One connection attempt; the system's own limit is minutes. */
const CONNECT_TIMEOUT_MS = 60_000;

function failureOf(error: NodeJS.ErrnoException): ConnectFailure | 'reset' {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'refused';
    case 'ETIMEDOUT':
      return 'timeout';
    case 'ENETUNREACH':
    case 'EHOSTUNREACH':
    case 'EADDRNOTAVAIL':
      return 'unreachable';
    default:
      return 'reset';
  }
}

class NodeStream implements HostStream {
  #events: HostStreamEvents | undefined;
  #failure: ConnectFailure | 'reset' | undefined;

  constructor(private readonly socket: Socket) {
    socket.setNoDelay(true);
  }

  deliverTo(events: HostStreamEvents): void {
    this.#events = events;
    const { socket } = this;
    socket.on('connect', () => {
      socket.setTimeout(0);
      this.#events?.connected();
    });
    socket.on('timeout', () => socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
    socket.on('data', (bytes: Buffer) => this.#events?.data(bytes));
    socket.on('end', () => this.#events?.ended());
    socket.on('error', (error: NodeJS.ErrnoException) => (this.#failure = failureOf(error)));
    socket.on('close', () => {
      const events = this.#events;
      this.#events = undefined;
      events?.closed(this.#failure);
    });
  }

  get pendingBytes(): number {
    return this.socket.writableLength;
  }

  write(bytes: Uint8Array): void {
    if (this.socket.writable) this.socket.write(bytes, this.#sent);
  }

  readonly #sent = (): void => this.#events?.sent();

  end(): void {
    this.socket.end();
  }

  hold(held: boolean): void {
    if (held) this.socket.pause();
    else this.socket.resume();
  }

  destroy(reset: boolean): void {
    this.#events = undefined;
    if (reset && !this.socket.connecting) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }
}

class NodeDatagrams implements HostDatagrams {
  #closed = false;

  constructor(
    private readonly socket: DatagramSocket,
    events: HostDatagramEvents,
  ) {
    socket.on('message', (bytes, { address, port }) => events.received(bytes, address.replace(/%.*$/, ''), port));
    socket.on('error', () => {
      if (this.#closed) return;
      this.close();
      events.failed();
    });
  }

  send(bytes: Uint8Array, address: string, port: number): void {
    if (this.#closed || port === 0) return;
    // Errors of one datagram (no route, too long) are losses.
    this.socket.send(bytes, port, address, () => undefined);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.socket.close();
  }
}

/** A folder's files for TFTP. Links that lead out of it are not followed. */
function bootFolder(folder: string): (name: string) => Promise<BootFile | undefined> {
  return async (name) => {
    const root = await realpath(folder);
    const path = await realpath(resolve(root, name));
    if (!path.startsWith(root.endsWith(sep) ? root : root + sep)) return undefined;
    const file = await open(path, 'r');
    const { size, isFile } = await file.stat().then((stat) => ({ size: stat.size, isFile: stat.isFile() }));
    if (!isFile) {
      await file.close();
      return undefined;
    }
    return {
      sizeBytes: size,
      read: async (offset, lengthBytes) => {
        const into = new Uint8Array(lengthBytes);
        const { bytesRead } = await file.read(into, 0, lengthBytes, offset);
        return into.subarray(0, bytesRead);
      },
      close: () => void file.close().catch(() => undefined),
    };
  };
}

export interface NodeNatOptions {
  /** Folder whose files TFTP serves. */
  readonly tftpFolder?: string | undefined;
}

export function createNodeNatHost({ tftpFolder }: NodeNatOptions = {}): NatHost {
  return {
    nowMs: () => performance.now(),
    after: (delayMs, callback) => {
      const timer = setTimeout(callback, Math.max(1, delayMs));
      // The network by itself keeps no program alive.
      timer.unref();
      return () => clearTimeout(timer);
    },
    random: (into) => void randomFillSync(into),
    connectTcp: (address, port, events) => {
      const socket = connect({ host: address, port, allowHalfOpen: true });
      socket.setTimeout(CONNECT_TIMEOUT_MS);
      const stream = new NodeStream(socket);
      stream.deliverTo(events);
      return stream;
    },
    listenTcp: (address, port, accept) =>
      new Promise((resolveListening, reject) => {
        const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
          const stream = new NodeStream(socket);
          stream.deliverTo(accept(stream, socket.remoteAddress ?? '', socket.remotePort ?? 0));
        });
        server.once('error', reject);
        server.listen(port, address, () => {
          server.off('error', reject);
          server.on('error', () => undefined);
          resolveListening(() => new Promise((closed) => server.close(() => closed())));
        });
      }),
    openUdp: (family, events) => new NodeDatagrams(createSocket(family === 4 ? 'udp4' : 'udp6'), events),
    listenUdp: (address, port, events) =>
      new Promise((resolveBound, reject) => {
        const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
        socket.once('error', reject);
        socket.bind(port, address, () => {
          socket.off('error', reject);
          resolveBound(new NodeDatagrams(socket, events));
        });
      }),
    resolveDns,
    ping,
    ...(tftpFolder === undefined ? {} : { openBootFile: bootFolder(tftpFolder) }),
  };
}
