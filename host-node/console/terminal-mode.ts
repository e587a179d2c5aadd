/** Raw mode of the user's terminal, given back on every way out of the process. */
import type { ReadStream } from 'node:tty';

/** Signals whose default action ends the process without an 'exit' event. */
const DEADLY: readonly NodeJS.Signals[] = ['SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGTERM'];

/**
 * Puts a terminal into raw mode. The returned function restores it; it also runs when the process exits, dies of an
 * exception, or gets a deadly signal that nobody else handles.
 */
export function enterRawMode(terminal: ReadStream): () => void {
  terminal.setRawMode(true);
  let raw = true;
  const restore = (): void => {
    if (!raw) return;
    raw = false;
    terminal.setRawMode(false);
    process.off('exit', restore);
    for (const signal of DEADLY) process.off(signal, onSignal);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    // Another listener means that the program decides (SIGTERM as power button); it exits through 'exit'.
    if (process.listenerCount(signal) > 1) return;
    restore();
    process.kill(process.pid, signal);
  };
  process.on('exit', restore);
  for (const signal of DEADLY) process.on(signal, onSignal);
  return restore;
}
