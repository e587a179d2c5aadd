/** Snapshots as files of this host (devices/machine/checkpoint.ts). */
import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm, type FileHandle } from 'node:fs/promises';
import { errnoText, type ConfigTree } from '../../devices/config/index.ts';
import {
  formatCheckpointMeta,
  openCheckpoint as openCheckpointWith,
  type Checkpoint,
  type CheckpointMeta,
} from '../../devices/machine/checkpoint.ts';
import { SnapshotError, type SnapshotSink } from '../../devices/snapshot.ts';

/** All bytes, in as many calls as the system wants. */
async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await handle.write(bytes, at)).bytesWritten;
}

/** Writes a file that appears under its name only when it is complete. Guest memory holds secrets: mode 0600. */
async function writeWhole(path: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new Error(`${path}: ${errnoText(error)}`, { cause: error });
  }
}

/** Writes F as `save` makes it, and F.meta. Resolves to the length of F in bytes. */
export async function writeCheckpoint(
  file: string,
  save: (sink: SnapshotSink) => Promise<void>,
  meta: CheckpointMeta,
): Promise<number> {
  let fileBytes = 0;
  await writeWhole(file, (handle) =>
    save({
      begin: (lengthBytes) => {
        fileBytes = lengthBytes;
      },
      write: (bytes) => writeAll(handle, bytes),
    }),
  );
  const text = new TextEncoder().encode(formatCheckpointMeta(meta));
  await writeWhole(`${file}.meta`, (handle) => writeAll(handle, text));
  return fileBytes;
}

/** An open snapshot file, read from its beginning. */
export class CheckpointFile implements Checkpoint {
  #at = 0;

  private constructor(
    readonly path: string,
    readonly lengthBytes: number,
    private readonly handle: FileHandle,
  ) {}

  static async open(path: string): Promise<CheckpointFile> {
    const handle = await open(path, 'r');
    try {
      return new CheckpointFile(path, (await handle.stat()).size, handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async read(into: Uint8Array): Promise<void> {
    for (let at = 0; at < into.length;) {
      const { bytesRead } = await this.handle.read(into, at, into.length - at, this.#at);
      if (bytesRead === 0) throw new SnapshotError('the snapshot is cut short');
      at += bytesRead;
      this.#at += bytesRead;
    }
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

async function readMeta(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** `-r FILE`, before the machine is built: the snapshot; the tree takes over what F.meta says. Rejects with BhyveExit. */
export function openCheckpoint(file: string, tree: ConfigTree): Promise<Checkpoint> {
  return openCheckpointWith(file, tree, {
    open: () => CheckpointFile.open(file),
    meta: () => readMeta(`${file}.meta`),
  });
}
