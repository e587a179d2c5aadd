/** What the set-up scripts share. Node's own modules only: they run before anything is installed. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** A failure that is explained by its message alone: no stack trace is shown. */
export class SetupError extends Error {
  name = 'SetupError';
}

/** One progress line. stdout belongs to the job. */
export function progress(text) {
  process.stderr.write(`webhyve: ${text}\n`);
}

/** Runs a command with this process's own stdio; resolves to its exit status (128 + n when signal n ended it). */
export function runInherited(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit', cwd: root, ...options });
    // Signals of the terminal reach the child as well: it decides when to end, and we wait for it.
    const ignore = () => {};
    const forward = (signal) => child.kill(signal);
    process.on('SIGINT', ignore);
    process.on('SIGTERM', forward);
    process.on('SIGHUP', forward);
    const done = () => {
      process.off('SIGINT', ignore);
      process.off('SIGTERM', forward);
      process.off('SIGHUP', forward);
    };
    child.once('error', (error) => {
      done();
      reject(error);
    });
    child.once('exit', (status, signal) => {
      done();
      resolve(signal === null ? (status ?? 1) : 128 + (signalNumbers[signal] ?? 0));
    });
  });
}

const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

/** Runs a command and returns { status, stdout (a Buffer), stderr (text) }; status is undefined when it does not exist. */
export function runCaptured(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1 << 30,
    ...options,
  });
  if (error) return { status: undefined, stdout: Buffer.alloc(0), stderr: error.message };
  return { status: status ?? 1, stdout, stderr: stderr.toString() };
}

/** The latest modification time of a file, or of all files below a directory that the filter takes; 0 when missing. */
export function newestMs(path, filter = () => true) {
  if (!existsSync(path)) return 0;
  const status = statSync(path);
  if (!status.isDirectory()) return filter(path) ? status.mtimeMs : 0;
  let newest = 0;
  for (const name of readdirSync(path)) newest = Math.max(newest, newestMs(join(path, name), filter));
  return newest;
}

/** Runs a script's main function and ends the process with the status it returns. */
export async function runMain(main) {
  try {
    process.exitCode = (await main(process.argv.slice(2))) ?? 0;
  } catch (error) {
    progress(error instanceof SetupError ? error.message : (error?.stack ?? String(error)));
    process.exitCode = 1;
  }
}
