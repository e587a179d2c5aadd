/** A terminal device of the host (a pseudo-terminal, nmdm(4), a real line) as a serial port. */
import { close, constants, open } from 'node:fs';
import { promisify } from 'node:util';
import { isatty, ReadStream, WriteStream } from 'node:tty';
import type { CharacterBackend } from '../../devices/serial/character-backend.ts';
import { StreamBackend } from './stream-backend.ts';

/** Opens the device in raw mode. Throws when it cannot be opened or is no terminal. */
export async function openTty(path: string): Promise<CharacterBackend> {
  const flags = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY;
  const fd = await promisify(open)(path, flags);
  if (!isatty(fd)) {
    await promisify(close)(fd);
    throw new Error(`${path} is not a terminal`);
  }
  const input = new ReadStream(fd);
  const output = new WriteStream(fd);
  input.setRawMode(true);
  return new StreamBackend(input, output, {
    closed: () => {
      input.setRawMode(false);
      input.destroy();
      output.destroy();
    },
  });
}
