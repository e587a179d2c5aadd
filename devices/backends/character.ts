/** What a serial port talks to on the host: a terminal, a socket, a pseudo-terminal. */

/** Where the far end of a serial line is. */
export type CharacterAddress =
  | { readonly kind: 'stdio' }
  /** Listens; `host` is a name or an address without brackets. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | WebSocketAddress
  /** Listens at the path. */
  | { readonly kind: 'unix'; readonly path: string }
  /** A terminal, a UNIX socket to connect to, or one end of a null modem (`/dev/nmdmNA`). */
  | { readonly kind: 'path'; readonly path: string };

/** Listens for WebSockets; `host` is a name or an address without brackets. */
export interface WebSocketAddress {
  readonly kind: 'websocket';
  readonly host: string;
  readonly port: number;
  /** What clients must know; undefined: made up, and told to the user. */
  readonly token: string | undefined;
  /** Origins of pages that may connect, besides those of the host itself. */
  readonly origins: readonly string[];
}

/** `ADDRESS:PORT`, the address in brackets when it holds colons. Throws with the whole text in the message. */
function parseHostPort(text: string, whole: string, anyHost: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535) throw new Error(`${whole}: not ADDRESS:PORT`);
  return { host: (match[1] ?? match[2]) || anyHost, port };
}

function parseWebSocketAddress(text: string): WebSocketAddress {
  const [where = '', query = ''] = text.slice('ws='.length).split(/\?(.*)/s);
  const parameters = new URLSearchParams(query);
  return {
    kind: 'websocket',
    ...parseHostPort(where, text, '127.0.0.1'),
    token: parameters.get('token') ?? undefined,
    origins: parameters.getAll('origin'),
  };
}

/**
 * Reads `stdio`, `tcp=ADDRESS:PORT`, `ws=ADDRESS:PORT[?token=TOKEN][&origin=ORIGIN]...`, `unix=PATH` or a path, as consoles are spelled on the
 * command line. Throws with bhyve's reason.
 */
export function parseCharacterAddress(text: string): CharacterAddress {
  if (text === 'stdio') return { kind: 'stdio' };
  if (text.startsWith('unix=')) return { kind: 'unix', path: text.slice('unix='.length) };
  if (text.startsWith('ws=')) return parseWebSocketAddress(text);
  if (!text.startsWith('tcp=')) return { kind: 'path', path: text };
  return { kind: 'tcp', ...parseHostPort(text.slice('tcp='.length), text, '0.0.0.0') };
}

/** A character device of the host at the far end of a serial port. */
export interface CharacterBackend {
  /** Starts delivering input to `port`. Called once. */
  open(port: CharacterPort): void;
  /**
   * Bytes from the guest, to be copied or sent before this returns. False: the backend holds enough unsent bytes; the port
   * sends no more before {@link CharacterPort.drained}.
   */
  write(bytes: Uint8Array): boolean;
  /** The guest takes no more input for now (true), or takes it again (false). */
  hold(held: boolean): void;
  /** Sends what it still has and gives the host's resource back (terminal mode, socket). */
  close(): Promise<void>;
}

/** The port's side, as its backend sees it. */
export interface CharacterPort {
  receive(bytes: Uint8Array): void;
  drained(): void;
  /**
   * The far end came (true) or went (false). Backends whose far end comes and goes call it in open() with the present state; others
   * never do. A port that has this method wants nothing kept for a far end that stays away.
   */
  carrier?(present: boolean): void;
}

/** A cable that leads nowhere: output is lost, no input comes, and its port knows that nobody is there. */
export const unplugged: CharacterBackend = {
  open: (port) => port.carrier?.(false),
  write: () => true,
  hold: () => undefined,
  close: () => Promise.resolve(),
};
