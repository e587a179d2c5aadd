/** The library: virtual machines in a Node program. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { ConfigTree, machineSettings, parseCommandLine, treeFromVariables } from '../devices/config/index.ts';
import { restoreCheckpoint } from '../devices/machine/checkpoint.ts';
import type { MachineHost } from '../devices/machine/host.ts';
import { useKernel, type KernelOptions } from '../devices/machine/kernel-source.ts';
import { limitMachine, type MachineLimits } from '../devices/machine/limits.ts';
import { Machine as GenericMachine, type MachineOptions } from '../devices/machine/machine.ts';
import { loadCore, vcpuWorkerUrl } from './assets.ts';
import { readUrl } from './read-url.ts';
import { createNodeHost, writeMessage, type NodeHostOptions } from './node-host.ts';
import { openCheckpoint } from './registry/checkpoint-file.ts';
import { register } from './registry/registration.ts';

/**
 * The names that declarations of this package use, for programs whose compiler has no DOM library; where it has one, these add
 * nothing to it.
 */
declare global {
  namespace WebAssembly {
    interface Module {}
    interface Memory {}
  }
}

export { BhyveExit } from '../devices/config/index.ts';
export type { ExitKind, ExitReason } from '../devices/machine/exit-reason.ts';
export type { MachineHost } from '../devices/machine/host.ts';
export { MachineError, type MachineOptions } from '../devices/machine/machine.ts';
export { formatRegisters, type Registers } from '../devices/machine/registers.ts';
export { SnapshotError, type SnapshotSink, type SnapshotSource } from '../devices/snapshot.ts';
export {
  ConsoleError,
  Console,
  type ConsoleMatch,
  type ExpectOptions,
  type RunOptions,
  type RunResult,
} from '../devices/serial/console.ts';
export { ConsoleFont, ConsoleFontError } from '../devices/display/console-font.ts';
export { DisplayTimeoutError, type Image, type WaitOptions } from '../devices/display/display-user.ts';
export { type MachineDisplay } from '../devices/display/machine-display.ts';
export type { TextOptions } from '../devices/display/screen-text.ts';
export type { CharacterBackend, CharacterPort } from '../devices/backends/character.ts';
export type { BlockBackend } from '../devices/backends/block.ts';
export type { NetworkBackend, NetworkFrame, NetworkPort } from '../devices/backends/network.ts';
export type { ShareBackend } from '../devices/backends/share.ts';
export { MemoryTree, type MemoryTreeOptions, type TreeStatus } from '../devices/share/memory-tree.ts';
export { FileBackend } from './disk/file-backend.ts';
export { FolderShare } from './share/folder.ts';
export type { KernelOptions, Source } from '../devices/machine/kernel-source.ts';
export { createNodeHost } from './node-host.ts';

/**
 * A virtual machine: `consoles`, `start`, `pause`, `resume`, `powerButton`, `registers`, `snapshot`, `restore`, `destroy`, `exited`,
 * `waitForExit`. `await using` destroys it.
 */
export type Machine = GenericMachine;
/** Makes machines, from a configuration tree or from the words of a bhyve(8) command line. None is started yet. */
export const Machine = { create: createMachine, fromArgs: machineFromArgs } as const;

/** How a machine is run on this host; everything has a default. */
export interface HostOptions
  extends MachineOptions, MachineLimits, KernelOptions, Partial<Omit<NodeHostOptions, 'core'>> {
  /** The compiled core, or where it lies; by default the one that came with this package. */
  readonly core?: WebAssembly.Module | URL | undefined;
  /** bhyvectl finds the machine by its name, which no other running machine may have then. */
  readonly register?: boolean | undefined;
}

async function nodeHost(tree: ConfigTree, options: HostOptions): Promise<MachineHost> {
  const readPath = options.readFile ?? ((path: string) => readFile(path));
  const core = options.core instanceof WebAssembly.Module ? options.core : await loadCore(options.core);
  return createNodeHost({
    ...options,
    readFile: useKernel(tree, options, readPath, readUrl),
    core,
    workerUrl: options.workerUrl ?? vcpuWorkerUrl(),
  });
}

/** bhyve_config(5): variables by name, such as `{ name: 'vm', 'memory.size': '1G', 'pci.0.4.0.device': 'virtio-rnd' }`. */
export type BhyveConfig = Readonly<Record<string, string>>;

/** A machine from its variables. Rejects with {@link BhyveExit} when it cannot be built. It is not started. */
export async function createMachine(config: BhyveConfig | ConfigTree, options: HostOptions = {}): Promise<Machine> {
  options.signal?.throwIfAborted();
  const tree = config instanceof ConfigTree ? config : treeFromVariables(config);
  const registration = options.register
    ? await register(machineSettings(tree).name, 'bhyve', options.message ?? writeMessage)
    : undefined;
  let machine: Machine;
  try {
    machine = await GenericMachine.create(tree, await nodeHost(tree, options), options);
  } catch (error) {
    await registration?.abandon();
    throw error;
  }
  registration?.attach(machine);
  limitMachine(machine, options);
  void machine.exited.then((reason) => registration?.finish(reason, true));
  return machine;
}

/**
 * A machine from the words of a bhyve(8) command line, without the program's name. Rejects with {@link BhyveExit}, whose
 * status and text are what bhyve would have ended with.
 */
export async function machineFromArgs(argv: readonly string[], options: HostOptions = {}): Promise<Machine> {
  const { tree, fwCfgItems, restoreFile } = parseCommandLine(argv, {
    programName: 'bhyve',
    readTextFile: (path) => readFileSync(path, 'utf8'),
  });
  const checkpoint = restoreFile === undefined ? undefined : await openCheckpoint(restoreFile, tree);
  let machine: Machine;
  try {
    machine = await createMachine(tree, { fwCfgItems, restored: checkpoint !== undefined, ...options });
  } catch (error) {
    await checkpoint?.close();
    throw error;
  }
  try {
    if (checkpoint) await restoreCheckpoint(machine, checkpoint);
  } catch (error) {
    await machine.destroy();
    throw error;
  }
  return machine;
}

/** The paused or running machine as bytes; it goes on afterwards if it was running. */
export function snapshot(machine: Machine): Promise<Uint8Array> {
  return machine.snapshot();
}

/** Puts a snapshot into a machine of the same configuration that was not started yet. */
export function restore(machine: Machine, bytes: Uint8Array): Promise<void> {
  return machine.restore(bytes);
}
