/** `rundir`: a folder in which other programs find a running machine, by its name. */
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** NAME.pid holds the process's number, NAME.sock leads to the control socket (docs/bhyvectl.md). */
export class RunFolder {
  readonly #pidFile: string;
  readonly #socket: string;

  private constructor(
    folder: string,
    name: string,
    private readonly pid: number,
  ) {
    this.#pidFile = join(folder, `${name}.pid`);
    this.#socket = join(folder, `${name}.sock`);
  }

  /** Makes the folder and its entries, in the place of those of an earlier run. Throws what the host says. */
  static enter(folder: string, name: string, controlSocket: string | undefined, pid = process.pid): RunFolder {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const run = new RunFolder(folder, name, pid);
    // Renamed into place: who reads it reads a whole number.
    writeFileSync(`${run.#pidFile}.new`, `${pid}\n`, { mode: 0o644 });
    renameSync(`${run.#pidFile}.new`, run.#pidFile);
    rmSync(run.#socket, { force: true });
    if (controlSocket !== undefined) symlinkSync(controlSocket, run.#socket);
    return run;
  }

  /** The machine has ended. A later run may have taken the names over. */
  leave(): void {
    try {
      if (readFileSync(this.#pidFile, 'utf8').trim() !== String(this.pid)) return;
    } catch {
      return;
    }
    rmSync(this.#pidFile, { force: true });
    rmSync(this.#socket, { force: true });
  }
}
