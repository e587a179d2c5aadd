/** Opens the far ends of serial lines on this host. */
import { stat } from 'node:fs/promises';
import type { CharacterAddress, CharacterBackend } from '../../devices/backends/character.ts';
import { openStdio } from './stdio.ts';
import { openNmdm, parseNmdm } from './nmdm.ts';
import { connectUnix, SocketServerBackend } from './socket.ts';
import { openTty } from './tty.ts';
import { WebSocketBackend } from './websocket.ts';

/** Hosts that listen(2) takes for every address: the unspecified ones of IPv4 and IPv6, and none. */
const EVERY_ADDRESS: ReadonlySet<string> = new Set(['', '0.0.0.0', '::']);

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}

/** Opens serial backends for one machine; `stdio` can be had once. */
export class SerialOpener {
  #stdioTaken = false;

  /** `leave`: what Ctrl-A x does on an interactive terminal. `nmdmFolder`: instead of the user's own. */
  constructor(
    private readonly leave: () => void,
    private readonly nmdmFolder?: string,
    /** Takes lines for the user: the address of a WebSocket, whose token is in it; a port that everybody reaches. */
    private readonly message: (text: string) => void = () => undefined,
  ) {}

  /** Opens the far end of a line. Throws when that cannot be done. */
  async open(address: CharacterAddress): Promise<CharacterBackend> {
    switch (address.kind) {
      case 'stdio':
        if (this.#stdioTaken) throw new Error('stdio is in use by another port');
        this.#stdioTaken = true;
        return openStdio(this.leave);
      case 'tcp':
        return this.#listenTcp(address.host, address.port);
      case 'websocket': {
        const backend = await WebSocketBackend.listen(address);
        this.message(`ws=${address.host}:${address.port}: the console is at ${backend.url}`);
        return backend;
      }
      case 'unix':
        return SocketServerBackend.listenUnix(address.path);
      case 'path':
        return this.#openPath(address.path);
    }
  }

  async #listenTcp(host: string, port: number): Promise<CharacterBackend> {
    const backend = await SocketServerBackend.listenTcp(host, port);
    // As bhyve does; but neither a console nor a debugger's port asks who is there.
    if (EVERY_ADDRESS.has(host)) {
      this.message(
        `port ${port} is open on all addresses of this host, without a password; 127.0.0.1:${port} is this host's own`,
      );
    }
    return backend;
  }

  async #openPath(path: string): Promise<CharacterBackend> {
    const nmdm = parseNmdm(path);
    // Where the host has null modems of its own, its devices are what is meant.
    if (nmdm && !(await exists(path))) return openNmdm(nmdm, this.nmdmFolder);
    if ((await stat(path)).isSocket()) return connectUnix(path);
    return openTty(path);
  }
}
