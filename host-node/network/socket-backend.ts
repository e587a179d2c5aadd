/**
 * The backend `socket=NAME`: machines of this user that name the same network are joined by a switch. The first of them keeps the switch
 * and listens on a UNIX socket; when it goes, another takes its place. A QEMU of the user's can join as well
 * (`-netdev stream,addr.type=unix,addr.path=...`).
 */
import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import {
  NO_OFFLOAD,
  type NetworkBackend,
  type NetworkFrame,
  type NetworkPort,
} from '../../devices/backends/network.ts';
import { framedEthernet, FrameReader } from '../../devices/net/frame-stream.ts';
import { ReceiveQueue } from '../../devices/net/receive-queue.ts';
import { VirtualSwitch, type SwitchPort } from '../../devices/net/switch.ts';
import { openRuntimeDir, socketPath } from '../registry/runtime-dir.ts';

/** Bytes that a cable to another machine holds; what is more is lost, as on a wire. */
const MAX_PENDING_BYTES = 4 * 1024 * 1024;
const RETRY_MS = 100;
const START_TRIES = 20;

/** Where the network's switch listens. */
export function networkSocketPath(name: string): string {
  return socketPath(openRuntimeDir(), `net-${name}`);
}

/** Sends frames and receives them on a stream. */
class FrameLink {
  readonly #reader = new FrameReader();

  constructor(
    private readonly socket: Socket,
    received: (frame: Uint8Array) => void,
    closed: () => void,
  ) {
    socket.on('data', (bytes: Buffer) => {
      try {
        for (const frame of this.#reader.push(bytes)) received(frame);
      } catch {
        socket.destroy();
      }
    });
    socket.on('error', () => undefined);
    socket.once('close', closed);
  }

  send({ parts }: NetworkFrame): boolean {
    if (this.socket.writableLength > MAX_PENDING_BYTES) return false;
    this.socket.write(framedEthernet(parts));
    return true;
  }

  close(): void {
    this.socket.destroy();
  }
}

export class SocketBackend implements NetworkBackend {
  readonly offload = NO_OFFLOAD;
  readonly #path: string;
  readonly #received = new ReceiveQueue();
  #port: NetworkPort | undefined;
  #lost = 0;
  /** Either we keep the switch, or somebody else does. */
  #hub: { readonly server: Server; readonly hub: VirtualSwitch; readonly own: SwitchPort | undefined } | undefined;
  readonly #members = new Set<FrameLink>();
  #link: FrameLink | undefined;
  #closed = false;
  #retry: NodeJS.Timeout | undefined;

  private constructor(name: string) {
    this.#path = networkSocketPath(name);
  }

  /** Joins the network. Rejects when neither a switch can be reached nor one be made. */
  static async open(name: string): Promise<SocketBackend> {
    const backend = new SocketBackend(name);
    for (let tries = 0; tries < START_TRIES; tries++) {
      if (await backend.#join()) return backend;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    throw new Error(`socket=${name}: ${backend.#path} can be neither reached nor made`);
  }

  async #join(): Promise<boolean> {
    return (await this.#dial()) || (await this.#listen());
  }

  #dial(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.#path);
      socket.once('connect', () => {
        this.#link = new FrameLink(
          socket,
          (frame) => this.#received.push({ parts: [frame] }),
          () => this.#lostSwitch(),
        );
        this.#port?.linkChanged(true);
        resolve(true);
      });
      socket.once('error', (error: NodeJS.ErrnoException) => {
        // Nobody listens there any more.
        if (error.code === 'ECONNREFUSED') rmSync(this.#path, { force: true });
        resolve(false);
      });
    });
  }

  #listen(): Promise<boolean> {
    return new Promise((resolve) => {
      const hub = new VirtualSwitch(() => performance.now());
      const server = createServer((socket) => this.#admit(hub, socket));
      server.once('error', () => resolve(false));
      server.listen(this.#path, () => {
        server.unref();
        const own = hub.plug({
          offload: NO_OFFLOAD,
          deliver: ({ parts }) => {
            this.#received.push({ parts: parts.map((part) => part.slice()) });
            return true;
          },
        });
        this.#hub = { server, hub, own };
        this.#port?.linkChanged(true);
        resolve(true);
      });
    });
  }

  #admit(hub: VirtualSwitch, socket: Socket): void {
    const member = { offload: NO_OFFLOAD, deliver: (frame: NetworkFrame): boolean => link.send(frame) };
    const port = hub.plug(member);
    const link = new FrameLink(
      socket,
      (frame) => port?.send({ parts: [frame] }),
      () => {
        this.#members.delete(link);
        port?.unplug();
      },
    );
    if (port) this.#members.add(link);
    else link.close();
  }

  #lostSwitch(): void {
    this.#link = undefined;
    if (this.#closed) return;
    this.#port?.linkChanged(false);
    const again = (): void => {
      void this.#join().then((joined) => {
        if (!joined && !this.#closed) this.#retry = setTimeout(again, RETRY_MS).unref();
      });
    };
    // Not all who lost it at the same moment try at the same moment.
    this.#retry = setTimeout(again, Math.random() * RETRY_MS).unref();
  }

  open(port: NetworkPort): void {
    this.#port = port;
    this.#received.attach(port);
  }

  send(frame: NetworkFrame): boolean {
    if (this.#hub) this.#hub.own?.send(frame);
    else if (!this.#link?.send(frame)) this.#lost++;
    return true;
  }

  receiveReady(): void {
    this.#received.ready();
  }

  counters(): Record<string, number> {
    return {
      'frames lost': this.#lost,
      'receive queue drops': this.#received.dropped,
      ...(this.#hub ? this.#hub.hub.counters() : {}),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#link?.close();
    for (const member of this.#members) member.close();
    const server = this.#hub?.server;
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}
