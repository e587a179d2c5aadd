/**
 * Snapshots as files. F holds the whole machine in webhyve's own format; F.meta has the name, the number of vCPUs and the memory
 * size where bhyve's own snapshots have them, so that `bhyve -r F` can build the machine before it reads F. There is no F.kern.
 */
import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { BhyveExit, errnoText, type ConfigTree } from '../../devices/config/index.ts';
import type { Machine } from '../../devices/machine/machine.ts';
import type { RestoreStep } from '../../devices/machine/snapshot.ts';
import { SnapshotError, type SnapshotPart } from '../../devices/snapshot.ts';

/** What the machine must have before a snapshot fits into it: the `basic metadata` of bhyve's F.meta. */
export interface CheckpointMeta {
  readonly name: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
}

/** Some systems refuse to move 2 GiB or more in one call. */
const PIECE_BYTES = 64 * 1024 * 1024;
const RESTORE_FAILED_STATUS = 1;
const TOPOLOGY = ['cpus', 'sockets', 'cores', 'threads'] as const;

/** Writes a file that appears under its name only when it is complete. Guest memory holds secrets: mode 0600. */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await handle.write(bytes, at, Math.min(PIECE_BYTES, bytes.length - at));
        at += bytesWritten;
      }
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

async function readWhole(path: string): Promise<Uint8Array> {
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    const bytes = new Uint8Array(size);
    let at = 0;
    while (at < size) {
      const { bytesRead } = await handle.read(bytes, at, Math.min(PIECE_BYTES, size - at), at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return bytes.subarray(0, at);
  } finally {
    await handle.close();
  }
}

export async function writeCheckpoint(file: string, snapshot: Uint8Array, meta: CheckpointMeta): Promise<void> {
  await writeWhole(file, snapshot);
  const document = {
    'basic metadata': { ncpus: meta.vcpus, vmname: meta.name, memsize: meta.memoryBytes, memflags: 0 },
    structs: [],
    devices: [],
  };
  await writeWhole(`${file}.meta`, new TextEncoder().encode(`${JSON.stringify(document, undefined, 2)}\n`));
}

/** The snapshot, and what F.meta says; a snapshot without it fits a machine whose command line says the same things. */
export async function readCheckpoint(
  file: string,
): Promise<{ readonly snapshot: Uint8Array; readonly meta: CheckpointMeta | undefined }> {
  let text: string | undefined;
  try {
    text = await readFile(`${file}.meta`, 'utf8');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  return { snapshot: await readWhole(file), meta: text === undefined ? undefined : parseMeta(text) };
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
export function applyCheckpointMeta(tree: ConfigTree, meta: CheckpointMeta): void {
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
export async function openCheckpoint(file: string, tree: ConfigTree): Promise<Uint8Array> {
  try {
    const { snapshot, meta } = await readCheckpoint(file);
    if (meta) applyCheckpointMeta(tree, meta);
    else if (tree.getRaw('name') === undefined) throw new Error(`${file}.meta: ${errnoText({ code: 'ENOENT' })}`);
    return snapshot;
  } catch (error) {
    throw restoreFailed(file, error);
  }
}

/** `-r FILE`, before the machine is started; `print` is given bhyve's lines about it. Rejects with BhyveExit. */
export async function restoreCheckpoint(
  machine: Machine,
  file: string,
  snapshot: Uint8Array,
  print: (line: string) => void = () => undefined,
): Promise<void> {
  try {
    await machine.restore(snapshot, (step) => print(BEGINS[step]));
  } catch (error) {
    throw restoreFailed(file, error);
  }
  for (let vcpu = 0; vcpu < machine.plan.vcpus; vcpu++) print(`spinning up vcpu no ${vcpu}...`);
}
