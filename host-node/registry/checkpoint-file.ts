/**
 * Snapshots as files. F holds the whole machine in webhyve's own format; F.meta has the name, the number of vCPUs and the memory
 * size where bhyve's own snapshots have them, so that `bhyve -r F` can build the machine before it reads F. There is no F.kern.
 */
import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm, type FileHandle } from 'node:fs/promises';
import { BhyveExit, errnoText, type ConfigTree } from '../../devices/config/index.ts';
import type { Machine } from '../../devices/machine/machine.ts';
import type { RestoreStep } from '../../devices/machine/snapshot.ts';
import { SnapshotError, type SnapshotPart, type SnapshotSink, type SnapshotSource } from '../../devices/snapshot.ts';

/** What the machine must have before a snapshot fits into it: the `basic metadata` of bhyve's F.meta. */
export interface CheckpointMeta {
  readonly name: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
}

const RESTORE_FAILED_STATUS = 1;
const TOPOLOGY = ['cpus', 'sockets', 'cores', 'threads'] as const;

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
  const document = {
    'basic metadata': { ncpus: meta.vcpus, vmname: meta.name, memsize: meta.memoryBytes, memflags: 0 },
    structs: [],
    devices: [],
  };
  const text = new TextEncoder().encode(`${JSON.stringify(document, undefined, 2)}\n`);
  await writeWhole(`${file}.meta`, (handle) => writeAll(handle, text));
  return fileBytes;
}

/** An open snapshot file, read from its beginning. */
export class CheckpointFile implements SnapshotSource {
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

/** What F.meta says; undefined without it: such a snapshot fits a machine whose command line says the same things. */
async function readMeta(file: string): Promise<CheckpointMeta | undefined> {
  let text: string;
  try {
    text = await readFile(`${file}.meta`, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  return parseMeta(text);
}

function parseMeta(text: string): CheckpointMeta {
  const document = JSON.parse(text) as { 'basic metadata'?: Record<string, unknown> } | null;
  const { ncpus, vmname, memsize } = document?.['basic metadata'] ?? {};
  if (typeof ncpus !== 'number' || typeof vmname !== 'string' || typeof memsize !== 'number') {
    throw new Error('the basic metadata is incomplete');
  }
  return { name: vmname, vcpus: ncpus, memoryBytes: memsize };
}

/** bhyve takes memory size and vCPUs from the snapshot, and the name unless one was given. */
function applyCheckpointMeta(tree: ConfigTree, meta: CheckpointMeta): void {
  if (tree.getRaw('name') === undefined) tree.set('name', meta.name);
  if (TOPOLOGY.every((key) => tree.getRaw(key) === undefined)) tree.set('cpus', String(meta.vcpus));
  if (!tree.findNode('domains')) tree.set('memory.size', `${meta.memoryBytes}B`);
}

/** bhyve's words; the processors, with what is in vmm(4) besides them, are its kernel structs. */
const FAILED: Readonly<Record<SnapshotPart, string>> = {
  memory: 'Failed to restore VM memory.',
  devices: 'Failed to restore PCI device state.',
  processors: 'Failed to restore kernel structs.',
};
const BEGINS: Readonly<Record<RestoreStep, string>> = {
  pausing: 'Pausing pci devs...',
  memory: 'Restoring vm mem...',
  devices: 'Restoring pci devs...',
  processors: 'Restoring kernel structs...',
  resuming: 'Resuming pci devs...',
};

function restoreFailed(file: string, error: unknown): BhyveExit {
  const part = error instanceof SnapshotError ? error.part : undefined;
  const what = part === undefined ? `Failed to read checkpoint info from file: '${file}'.` : FAILED[part];
  return new BhyveExit(RESTORE_FAILED_STATUS, `${what}\n${errnoText(error)}\n`);
}

/** `-r FILE`, before the machine is built: the snapshot; the tree takes over what F.meta says. Rejects with BhyveExit. */
export async function openCheckpoint(file: string, tree: ConfigTree): Promise<CheckpointFile> {
  try {
    const meta = await readMeta(file);
    const checkpoint = await CheckpointFile.open(file);
    if (meta) applyCheckpointMeta(tree, meta);
    else if (tree.getRaw('name') === undefined) {
      await checkpoint.close();
      throw new Error(`${file}.meta: ${errnoText({ code: 'ENOENT' })}`);
    }
    return checkpoint;
  } catch (error) {
    throw restoreFailed(file, error);
  }
}

/** `-r FILE`, before the machine is started; `print` is given bhyve's lines about it. Closes the file. Rejects with BhyveExit. */
export async function restoreCheckpoint(
  machine: Machine,
  checkpoint: CheckpointFile,
  print: (line: string) => void = () => undefined,
): Promise<void> {
  try {
    await machine.restore(checkpoint, (step) => print(BEGINS[step]));
  } catch (error) {
    throw restoreFailed(checkpoint.path, error);
  } finally {
    await checkpoint.close();
  }
  for (let vcpu = 0; vcpu < machine.plan.vcpus; vcpu++) print(`spinning up vcpu no ${vcpu}...`);
}
