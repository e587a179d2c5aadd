/** A terminal device of the host (a pseudo-terminal, nmdm(4), a real line) as a serial port. */
import { close, constants, open } from 'node:fs';
import { promisify } from 'node:util';
import { isatty, ReadStream, WriteStream } from 'node:tty';
import type { CharacterBackend } from '../../devices/serial/character-backend.ts';
import type { FarEnd } from './link.ts';
import { redialing } from './socket.ts';
import { makeRaw } from './terminal-mode.ts';

/** What Node's terminal streams have and do not declare. */
interface StreamHandle {
  readonly _handle?: { setBlocking?(blocking: boolean): number };
}

/** Opens the device in raw mode. Throws when it cannot be opened or is no terminal. */
async function openTerminal(path: string): Promise<FarEnd> {
  const flags = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY;
  const fd = await promisify(open)(path, flags);
  if (!isatty(fd)) {
    await promisify(close)(fd);
    throw new Error(`${path} is not a terminal`);
  }
  const input = new ReadStream(fd);
  const output = new WriteStream(fd);
  // Node writes to terminals synchronously: one that is not read would stop every device of the machine.
  (output as StreamHandle)._handle?.setBlocking?.(false);
  makeRaw(input, fd);
  input.pause();
  // The input hears of it as well, and after everything that could still be read.
  output.on('error', () => undefined);
  return {
    input,
    write: (bytes, done) => {
      output.write(bytes, (error) => done(error ?? undefined));
    },
    wholeWrites: false,
    destroy: () => {
      try {
        input.setRawMode(false);
      } catch {
        // The device is gone, and its mode with it.
      }
      input.destroy();
      output.destroy();
    },
  };
}

/** A terminal that vanishes (the other end of a pseudo-terminal was closed) is opened again when its path is there again. */
export async function openTty(path: string): Promise<CharacterBackend> {
  return redialing(await openTerminal(path), async () => {
    try {
      return await openTerminal(path);
    } catch {
      return undefined;
    }
  });
}
