/** Serial ports on sockets: `tcp=ADDRESS:PORT` and `unix=PATH` listen, the path of a socket is connected to. */
import { lstat, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { CharacterBackend, CharacterPort } from '../../devices/backends/character.ts';
import { LinkBackend, type FarEnd } from './link.ts';

/**
 * A further client is turned away after this long, so that one that takes the place of another need not be the slower. It waits on
 * while the guest takes no input: the end of the client before cannot be seen behind input that nobody has read.
 */
const GRACE_MS = 200;
/** Between attempts to reach a far end that is not there. */
const REDIAL_MS = 250;
/** A serial line has one far end: others are told at once that it is busy. */
const ONE_CLIENT = 1;

/**
 * A socket as a far end. A failed write must not take away what was received and not yet read. `wholeWrites`: the system takes a write as a
 * whole or not at all.
 */
export function socketEnd(socket: Socket, wholeWrites: boolean): FarEnd {
  const write = socket._write.bind(socket);
  let failed: Error | undefined;
  // Streams destroy themselves at an error of their _write(), input and all; so it never hears of one. A write that destroy() cut off
  // is reported as done.
  socket._write = (chunk, encoding, done): void => {
    write(chunk, encoding, (error) => {
      if (error) failed = error;
      else if (socket.destroyed) failed = new Error('closed before the system took the bytes');
      done();
    });
  };
  socket.on('error', () => undefined);
  return {
    input: socket,
    write: (bytes, done) => {
      socket.write(bytes, (error) => {
        const refused = error ?? failed;
        done(refused, refused && wholeWrites ? 0 : bytes.length);
      });
    },
    destroy: () => socket.destroy(),
  };
}

/** Connects to a listening UNIX socket; undefined when nobody listens there. */
export function dialUnix(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('error', () => resolve(undefined));
    socket.once('connect', () => {
      // Errors from here on are the link's to see; until it listens they must not be fatal.
      socket.on('error', () => undefined);
      resolve(socket);
    });
    socket.pause();
  });
}

/** Listens at a path; `backlog` clients may connect before one is taken. A socket that a killed process left there is replaced; any other file is not touched. */
export async function listenAtPath(path: string, backlog = ONE_CLIENT): Promise<Server> {
  try {
    return await listening({ path }, backlog);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'EADDRINUSE') throw error;
    const live = await dialUnix(path);
    live?.destroy();
    if (live || !(await lstat(path)).isSocket()) throw error;
    await rm(path, { force: true });
    return listening({ path }, backlog);
  }
}

async function listening(
  where: { host: string; port: number } | { path: string },
  backlog = ONE_CLIENT,
): Promise<Server> {
  const server = createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...where, backlog }, () => {
      server.off('error', reject);
      // Errors after listening began concern single connections; the listener stays.
      server.on('error', () => undefined);
      resolve();
    });
  });
  return server;
}

/** Gives a link one client of a listener at a time. */
export class ClientDoor {
  readonly #waiting: Socket[] = [];

  constructor(
    readonly server: Server,
    private readonly link: LinkBackend,
    private readonly wholeWrites: boolean,
  ) {
    server.on('connection', (socket: Socket) => this.#connected(socket));
  }

  #connected(socket: Socket): void {
    socket.on('error', () => undefined);
    if (!this.link.attached) {
      this.#attach(socket);
      return;
    }
    if (this.#waiting.length > 0) {
      socket.destroy();
      return;
    }
    this.#waiting.push(socket);
    const timer = setInterval(() => {
      if (this.link.held && !socket.destroyed) return;
      clearInterval(timer);
      const index = this.#waiting.indexOf(socket);
      if (index === -1) return;
      this.#waiting.splice(index, 1);
      socket.destroy();
    }, GRACE_MS);
    timer.unref();
  }

  #attach(socket: Socket): void {
    socket.setNoDelay(true);
    this.link.attach(socketEnd(socket, this.wholeWrites));
  }

  /** The link's far end went: who waits is next. */
  next(): void {
    const socket = this.#waiting.shift();
    if (socket) this.#attach(socket);
  }

  async close(): Promise<void> {
    for (const socket of this.#waiting.splice(0)) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

/** A listening serial port: one client at a time, who may go and come again. */
export class SocketServerBackend implements CharacterBackend {
  readonly #door: ClientDoor;
  readonly #link: LinkBackend;

  private constructor(server: Server, wholeWrites: boolean) {
    // Node removes the socket's file when the server closes.
    this.#link = new LinkBackend(
      () => this.#door.next(),
      () => this.#door.close(),
    );
    this.#door = new ClientDoor(server, this.#link, wholeWrites);
  }

  static async listenTcp(host: string, port: number): Promise<SocketServerBackend> {
    return new SocketServerBackend(await listening({ host, port }), false);
  }

  static async listenUnix(path: string): Promise<SocketServerBackend> {
    return new SocketServerBackend(await listenAtPath(path), true);
  }

  /** Port that was bound, for a server asked to listen on port 0. */
  get port(): number {
    const address = this.#door.server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
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

/** Keeps a link attached to a far end that has to be opened, again and again when it goes. */
export class Dialer {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(
    private readonly link: LinkBackend,
    private readonly dial: () => Promise<FarEnd | undefined>,
  ) {}

  /** Tries until the link has a far end. */
  async start(): Promise<void> {
    if (this.#stopped || this.link.attached) return;
    const end = await this.dial();
    if (!end) {
      this.later();
      return;
    }
    // Somebody else may have come meanwhile; attach() then closes this one.
    if (this.#stopped) end.destroy();
    else this.link.attach(end);
  }

  later(): void {
    if (this.#timer !== undefined || this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.start();
    }, REDIAL_MS);
    this.#timer.unref();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}

/** A backend whose far end is there and can be dialed again when it goes. */
export function redialing(first: FarEnd, dial: () => Promise<FarEnd | undefined>): CharacterBackend {
  const link: LinkBackend = new LinkBackend(
    () => dialer.later(),
    () => {
      dialer.stop();
      return Promise.resolve();
    },
  );
  const dialer = new Dialer(link, dial);
  link.attach(first);
  return link;
}

/** The path of a socket that somebody else listens at. */
export async function connectUnix(path: string): Promise<CharacterBackend> {
  const dial = async (): Promise<FarEnd | undefined> => {
    const socket = await dialUnix(path);
    return socket ? socketEnd(socket, true) : undefined;
  };
  const first = await dial();
  if (!first) throw new Error(`${path}: nobody listens at this socket`);
  return redialing(first, dial);
}
