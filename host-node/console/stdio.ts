/** The process's own terminal, or pipes, as a serial port: `-l com1,stdio`. */
import type { CharacterBackend } from '../../devices/backends/character.ts';
import { ESCAPE_HELP, EscapeFilter } from './escape.ts';
import { StreamBackend } from './stream-backend.ts';
import { enterRawMode, writeWithoutBlocking } from './terminal-mode.ts';

/** Opens standard input and output; `leave` is what Ctrl-A x does. Piped input is passed on byte for byte. */
export function openStdio(leave: () => void): CharacterBackend {
  const { stdin, stdout } = process;
  if (!stdin.isTTY) {
    return new StreamBackend(stdin, stdout, { closed: () => stdin.unref?.() });
  }
  const restore = enterRawMode(stdin, stdin.fd);
  if (stdout.isTTY) writeWithoutBlocking(stdout);
  const escape = new EscapeFilter({
    leave,
    help: () => {
      process.stderr.write(`\r\n${ESCAPE_HELP.join('\r\n')}\r\n`);
    },
  });
  return new StreamBackend(stdin, stdout, {
    filter: (bytes) => escape.filter(bytes),
    closed: () => {
      restore();
      stdin.unref();
    },
  });
}
