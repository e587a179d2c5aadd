/** What the path of a serial port means on this host. */
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import type { CharacterBackend } from '../../devices/serial/character-backend.ts';
import { openStdio } from './stdio.ts';
import { SocketServerBackend } from './socket.ts';
import { StreamBackend } from './stream-backend.ts';
import { openTty } from './tty.ts';

async function connectUnix(path: string): Promise<CharacterBackend> {
  const socket = connect({ path });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  return new StreamBackend(socket, socket, { closed: () => socket.destroy() });
}

/** Opens serial backends for one machine; `stdio` can be had once. */
export class SerialOpener {
  #stdioTaken = false;

  /** `leave`: what Ctrl-A x does on an interactive terminal. */
  constructor(private readonly leave: () => void) {}

  /**
   * `stdio`; `tcp=ADDRESS:PORT` and `unix=PATH` (listening); the path of a UNIX socket (connected to) or of a terminal.
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
    if ((await stat(path)).isSocket()) return connectUnix(path);
    return openTty(path);
  }
}
