/** Raw mode of terminals; that of the user's own is given back on every way out of the process. */
import { spawnSync } from 'node:child_process';
import type { ReadStream, WriteStream } from 'node:tty';

/** Signals whose default action ends the process without an 'exit' event. */
const DEADLY: readonly NodeJS.Signals[] = ['SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGTERM'];

const STTY_PATIENCE_MS = 2000;

/** What Node's terminal streams have and do not declare. */
interface TerminalHandle {
  readonly fd?: number;
  setBlocking?(blocking: boolean): number;
}

export function handleOf(terminal: ReadStream | WriteStream): TerminalHandle {
  return (terminal as { readonly _handle?: TerminalHandle | null })._handle ?? {};
}

/** Node writes to standard output synchronously when it is a terminal: one that is not read would stop every device of the machine. */
export function writeWithoutBlocking(terminal: ReadStream | WriteStream): void {
  handleOf(terminal).setBlocking?.(false);
}

/**
 * Makes a terminal pass every byte on, as cfmakeraw(3) does. Node's own raw mode, which also remembers what to restore, goes on
 * sending CR LF for LF; the rest is stty(1)'s to do. Where there is no stty that remains.
 */
export function makeRaw(terminal: ReadStream, fd: number): void {
  terminal.setRawMode(true);
  spawnSync('stty', ['raw', '-echo'], { stdio: [fd, 'ignore', 'ignore'], timeout: STTY_PATIENCE_MS });
  // A terminal that becomes a child's input is made to block, for whoever shares it.
  writeWithoutBlocking(terminal);
}

/**
 * Puts a terminal into raw mode. The returned function restores it; it also runs when the process exits, dies of an
 * exception, or gets a deadly signal that nobody else handles.
 */
export function enterRawMode(terminal: ReadStream, fd: number): () => void {
  makeRaw(terminal, fd);
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
