/** What the path of a serial port means on this host. */
import { stat } from 'node:fs/promises';
import type { CharacterBackend } from '../../devices/serial/character-backend.ts';
import { openStdio } from './stdio.ts';
import { nmdmDirectory, openNmdm, parseNmdm } from './nmdm.ts';
import { connectUnix, SocketServerBackend } from './socket.ts';
import { openTty } from './tty.ts';

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
  ) {}

  /**
   * `stdio`; `tcp=ADDRESS:PORT` and `unix=PATH` (listening); the path of a UNIX socket (connected to) or of a terminal;
   * `/dev/nmdmNA` and `/dev/nmdmNB` (null modem between machines).
   * Throws when that cannot be opened.
   */
  async open(path: string): Promise<CharacterBackend> {
    if (path === 'stdio') {
      if (this.#stdioTaken) throw new Error('stdio is in use by another port');
      this.#stdioTaken = true;
      return openStdio(this.leave);
    }
    if (path.startsWith('tcp=')) {
      const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(path.slice('tcp='.length));
      const port = Number(match?.[3]);
      if (!match || port > 65535) throw new Error(`${path}: not ADDRESS:PORT`);
      return SocketServerBackend.listenTcp((match[1] ?? match[2]) || '0.0.0.0', port);
    }
    if (path.startsWith('unix=')) return SocketServerBackend.listenUnix(path.slice('unix='.length));
    const nmdm = parseNmdm(path);
    // Where the host has null modems of its own, its devices are what is meant.
    if (nmdm && !(await exists(path))) return openNmdm(nmdm, this.nmdmFolder ?? (await nmdmDirectory()));
    if ((await stat(path)).isSocket()) return connectUnix(path);
    return openTty(path);
  }
}
