/**
 * A relay: a virtual switch over WebSocket. Every message is one Ethernet frame, as in v86's websockproxy, and the path of the address names
 * the room: `ws://HOST:PORT/ROOM`. Rooms share nothing. Behind each there may be a user-mode network, whose guests reach the world through
 * this host.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { NO_OFFLOAD, type NetworkFrame } from '../../devices/backends/network.ts';
import { MAX_FRAME_BYTES } from '../../devices/net/ethernet.ts';
import { UserNetwork } from '../../devices/net/nat/network.ts';
import type { NatSettings } from '../../devices/net/nat/settings.ts';
import { DEFAULT_SWITCH_LIMITS, VirtualSwitch, type SwitchPort } from '../../devices/net/switch.ts';
import { joined } from '../../devices/net/wire.ts';
import { createNodeNatHost } from './nat-host.ts';

export interface RelayLimits {
  readonly rooms: number;
  readonly clientsPerRoom: number;
  /** Connections of one address at once. */
  readonly clientsPerAddress: number;
  /** Bytes a second that a client may send. */
  readonly bytesPerSecond: number;
}

export const DEFAULT_RELAY_LIMITS: RelayLimits = {
  rooms: 64,
  clientsPerRoom: 32,
  clientsPerAddress: 16,
  bytesPerSecond: 16 * 1024 * 1024,
};

export interface RelayOptions {
  readonly address: string;
  /** 0: the system chooses. */
  readonly port: number;
  readonly limits: RelayLimits;
  /** The network behind every room; absent: rooms are switches alone. */
  readonly nat?: NatSettings | undefined;
  /** Web pages that may connect, by their origin; absent: all. Programs that are no pages send none. */
  readonly origins?: readonly string[] | undefined;
}

/** What a client may have to be sent; frames beyond it are lost. */
const MAX_BUFFERED_BYTES = 2 * 1024 * 1024;
const ROOM_NAME = /^\/([\w.-]{0,64})$/;
const PING_MS = 30_000;

class Room {
  readonly hub: VirtualSwitch;
  readonly #network: UserNetwork | undefined;
  #networkPort: SwitchPort | undefined;

  constructor(limits: RelayLimits, nat: NatSettings | undefined) {
    // One socket more: the network's.
    this.hub = new VirtualSwitch(() => performance.now(), {
      ...DEFAULT_SWITCH_LIMITS,
      ports: limits.clientsPerRoom + 1,
      bytesPerSecond: limits.bytesPerSecond,
    });
    if (!nat) return;
    const network = new UserNetwork(createNodeNatHost(), nat);
    this.#network = network;
    this.#networkPort = this.hub.plug(
      { offload: network.offload, deliver: (frame) => network.send(frame) },
      Number.POSITIVE_INFINITY,
    );
    network.open({
      offload: NO_OFFLOAD,
      receive: (frame) => {
        this.#networkPort?.send(frame);
        return true;
      },
      drained: () => undefined,
      linkChanged: () => undefined,
    });
  }

  /** Cables of clients. */
  get clients(): number {
    return this.hub.portCount - (this.#network ? 1 : 0);
  }

  async close(): Promise<void> {
    await this.#network?.close();
  }
}

export class Relay {
  readonly #server: Server;
  readonly #sockets: WebSocketServer;
  readonly #rooms = new Map<string, Room>();
  readonly #perAddress = new Map<string, number>();
  readonly #heartbeat: NodeJS.Timeout;
  readonly #silent = new WeakSet<WebSocket>();

  private constructor(private readonly options: RelayOptions) {
    this.#server = createServer((_request, response) => {
      response.writeHead(426, { 'content-type': 'text/plain' });
      response.end('This is a relay for Ethernet frames over WebSocket (webhyve-switch).\n');
    });
    this.#sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_FRAME_BYTES, perMessageDeflate: false });
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#heartbeat = setInterval(() => this.#ping(), PING_MS);
    this.#heartbeat.unref();
  }

  /** Listens. Rejects when the address cannot be had. */
  static async listen(options: RelayOptions): Promise<Relay> {
    const relay = new Relay(options);
    await new Promise<void>((resolve, reject) => {
      relay.#server.once('error', reject);
      relay.#server.listen(options.port, options.address, () => {
        relay.#server.off('error', reject);
        resolve();
      });
    });
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  get roomCount(): number {
    return this.#rooms.size;
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const refuse = (status: string): void => {
      socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\n\r\n`);
    };
    const { limits, origins } = this.options;
    const name = ROOM_NAME.exec(new URL(request.url ?? '/', 'ws://relay').pathname)?.[1];
    const { origin } = request.headers;
    const peer = request.socket.remoteAddress ?? '';
    if (name === undefined) return refuse('404 Not Found');
    if (origins && origin !== undefined && !origins.includes(origin)) return refuse('403 Forbidden');
    const room = this.#rooms.get(name);
    const tooMany =
      (!room && this.#rooms.size >= limits.rooms) ||
      (room?.clients ?? 0) >= limits.clientsPerRoom ||
      (this.#perAddress.get(peer) ?? 0) >= limits.clientsPerAddress;
    if (tooMany) return refuse('429 Too Many Requests');
    this.#sockets.handleUpgrade(request, socket, head, (client) => this.#admit(name, peer, client));
  }

  #admit(name: string, peer: string, client: WebSocket): void {
    let room = this.#rooms.get(name);
    if (!room) this.#rooms.set(name, (room = new Room(this.options.limits, this.options.nat)));
    const { hub } = room;
    const port = hub.plug({
      offload: NO_OFFLOAD,
      deliver: ({ parts }: NetworkFrame) => {
        if (client.readyState !== client.OPEN || client.bufferedAmount > MAX_BUFFERED_BYTES) return false;
        client.send(joined(parts));
        return true;
      },
    });
    if (!port) {
      client.close(1013);
      return;
    }
    this.#perAddress.set(peer, (this.#perAddress.get(peer) ?? 0) + 1);
    client.on('message', (data, isBinary) => {
      if (isBinary && Buffer.isBuffer(data)) port.send({ parts: [data] });
    });
    client.on('pong', () => this.#silent.delete(client));
    client.on('error', () => undefined);
    client.once('close', () => {
      port.unplug();
      const left = (this.#perAddress.get(peer) ?? 1) - 1;
      if (left > 0) this.#perAddress.set(peer, left);
      else this.#perAddress.delete(peer);
      this.#leave(name);
    });
  }

  /** The last client's room goes with it, connections of its network included. */
  #leave(name: string): void {
    const room = this.#rooms.get(name);
    if (!room || room.clients > 0) return;
    this.#rooms.delete(name);
    void room.close();
  }

  /** Clients that vanished without a word are found by their silence. */
  #ping(): void {
    for (const client of this.#sockets.clients) {
      if (this.#silent.has(client)) client.terminate();
      else {
        this.#silent.add(client);
        client.ping();
      }
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeat);
    for (const client of this.#sockets.clients) client.terminate();
    await Promise.all([...this.#rooms.values()].map((room) => room.close()));
    this.#rooms.clear();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
