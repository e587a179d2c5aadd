/**
 * Snapshots as bhyve(8) keeps them: F holds the whole machine in webhyve's own format; F.meta has the name, the number of vCPUs and the
 * memory size where bhyve's own snapshots have them, so that `bhyve -r F` can build the machine before it reads F. There is no F.kern.
 */
import { BhyveExit, errnoText, type ConfigTree } from '../config/index.ts';
import { SnapshotError, type SnapshotPart, type SnapshotSource } from '../snapshot.ts';
import type { Machine } from './machine.ts';
import type { RestoreStep } from './snapshot.ts';

/** What the machine must have before a snapshot fits into it: the `basic metadata` of bhyve's F.meta. */
export interface CheckpointMeta {
  readonly name: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
}

/** An open F, read from its beginning. */
export interface Checkpoint extends SnapshotSource {
  readonly path: string;
  close(): Promise<void>;
}

/** How F and F.meta are read. */
export interface CheckpointReader {
  open(): Promise<Checkpoint>;
  /** Undefined: there is no F.meta, and the command line says everything that it would. */
  meta(): Promise<string | undefined>;
}

const RESTORE_FAILED_STATUS = 1;
const TOPOLOGY = ['cpus', 'sockets', 'cores', 'threads'] as const;

/** The text of F.meta. */
export function formatCheckpointMeta(meta: CheckpointMeta): string {
  const document = {
    'basic metadata': { ncpus: meta.vcpus, vmname: meta.name, memsize: meta.memoryBytes, memflags: 0 },
    structs: [],
    devices: [],
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** Throws when the text is not that of an F.meta. */
export function parseCheckpointMeta(text: string): CheckpointMeta {
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
export async function openCheckpoint(file: string, tree: ConfigTree, reader: CheckpointReader): Promise<Checkpoint> {
  try {
    const text = await reader.meta();
    const meta = text === undefined ? undefined : parseCheckpointMeta(text);
    const checkpoint = await reader.open();
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
  checkpoint: Checkpoint,
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
