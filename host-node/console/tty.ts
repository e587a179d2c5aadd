/** A terminal device of the host (a pseudo-terminal, nmdm(4), a real line) as a serial port. */
import { close, closeSync, constants, open, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { isatty, ReadStream } from 'node:tty';
import type { CharacterBackend } from '../../devices/backends/character.ts';
import type { FarEnd } from './link.ts';
import { redialing, socketEnd } from './socket.ts';
import { handleOf, makeRaw } from './terminal-mode.ts';

/** Writes what a device that does not block takes at once. Throws when it is gone. */
function writeAtOnce(fd: number, bytes: Uint8Array): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return 0;
    throw error;
  }
}

/** Opens the device in raw mode. Throws when it cannot be opened or is no terminal. */
async function openTerminal(path: string): Promise<FarEnd> {
  const flags = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY;
  const fd = await promisify(open)(path, flags);
  if (!isatty(fd)) {
    await promisify(close)(fd);
    throw new Error(`${path} is not a terminal`);
  }
  // Both directions, whatever its name; it opens the device again for itself where it can.
  const terminal = new ReadStream(fd);
  terminal.pause();
  makeRaw(terminal, fd);
  // A single byte is taken or not: with it the stream waits for room, and it is known where a write ended that the device's end cut off.
  const single = socketEnd(terminal, true);
  let closed = false;
  return {
    input: terminal,
    write: (bytes, done) => {
      const go = (from: number): void => {
        let taken = from;
        try {
          if (closed) throw new Error('closed before the system took the bytes');
          taken += writeAtOnce(fd, bytes.subarray(taken));
        } catch (error) {
          done(error instanceof Error ? error : new Error(String(error)), taken);
          return;
        }
        if (taken === bytes.length) {
          done(undefined, taken);
          return;
        }
        single.write(bytes.subarray(taken, taken + 1), (error) => {
          if (error) done(error, taken);
          else go(taken + 1);
        });
      };
      go(0);
    },
    destroy: () => {
      if (closed) return;
      closed = true;
      const shared = handleOf(terminal).fd === fd;
      try {
        terminal.setRawMode(false);
      } catch {
        // The device is gone, and its mode with it.
      }
      terminal.destroy();
      if (!shared) closeSync(fd);
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
