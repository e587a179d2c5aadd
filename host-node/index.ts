/** The library: virtual machines in a Node program. */
import { readFileSync } from 'node:fs';
import { BhyveExit, parseCommandLine, type ConfigTree } from '../devices/config/index.ts';
import type { MachineHost } from '../devices/machine/host.ts';
import { Machine as GenericMachine, type MachineOptions } from '../devices/machine/machine.ts';
import { restoreMachine, saveMachine } from '../devices/machine/snapshot.ts';
import { loadCore, vcpuWorkerUrl } from './assets.ts';
import { createNodeHost, type NodeHostOptions } from './node-host.ts';

export { BhyveExit } from '../devices/config/index.ts';
export type { ExitKind, ExitReason } from '../devices/machine/exit-reason.ts';
export type { MachineHost } from '../devices/machine/host.ts';
export type { MachineOptions } from '../devices/machine/machine.ts';
export {
  ConsoleError,
  type Console,
  type ConsoleMatch,
  type ExpectOptions,
  type RunOptions,
  type RunResult,
} from '../devices/serial/console.ts';
export type { CharacterBackend, CharacterPort } from '../devices/serial/character-backend.ts';
export type { BlockBackend } from '../devices/storage/block-backend.ts';
export { FileBackend } from './files.ts';
export { createNodeHost } from './node-host.ts';

/** A virtual machine: `consoles`, `start`, `pause`, `resume`, `powerButton`, `destroy`, `exited`. */
export type Machine = GenericMachine;
/** Makes machines, from a configuration tree or from the words of a bhyve(8) command line. None is started yet. */
export const Machine = { create: createMachine, fromArgs: machineFromArgs } as const;

/** How a machine is run on this host; everything has a default. */
export interface HostOptions extends MachineOptions, Partial<Omit<NodeHostOptions, 'core'>> {
  /** The compiled core, or where it lies; by default the one that came with this package. */
  readonly core?: WebAssembly.Module | URL | undefined;
  /** Destroys the machine when aborted. */
  readonly signal?: AbortSignal | undefined;
}

async function nodeHost(options: HostOptions): Promise<MachineHost> {
  const core = options.core instanceof WebAssembly.Module ? options.core : await loadCore(options.core);
  return createNodeHost({ ...options, core, workerUrl: options.workerUrl ?? vcpuWorkerUrl() });
}

/** A machine from a configuration tree. Rejects with {@link BhyveExit} when it cannot be built. It is not started. */
export async function createMachine(tree: ConfigTree, options: HostOptions = {}): Promise<Machine> {
  options.signal?.throwIfAborted();
  const machine = await GenericMachine.create(tree, await nodeHost(options), options);
  options.signal?.addEventListener('abort', () => void machine.destroy(), { once: true });
  return machine;
}

/**
 * A machine from the words of a bhyve(8) command line, without the program's name. Rejects with {@link BhyveExit}, whose
 * status and text are what bhyve would have ended with.
 */
export async function machineFromArgs(argv: readonly string[], options: HostOptions = {}): Promise<Machine> {
  const parsed = parseCommandLine(argv, {
    programName: 'bhyve',
    readTextFile: (path) => readFileSync(path, 'utf8'),
  });
  const machine = await createMachine(parsed.tree, { fwCfgItems: parsed.fwCfgItems, ...options });
  if (parsed.restoreFile !== undefined) {
    try {
      await restoreMachine(machine, readFileSync(parsed.restoreFile));
    } catch (error) {
      await machine.destroy();
      throw new BhyveExit(1, `Failed to read checkpoint info from file: '${parsed.restoreFile}'.\n${String(error)}\n`);
    }
  }
  return machine;
}

/** The paused or running machine as bytes; it goes on afterwards if it was running. */
export function snapshot(machine: Machine): Promise<Uint8Array> {
  return saveMachine(machine);
}

/** Puts a snapshot into a machine of the same configuration that was not started yet. */
export function restore(machine: Machine, bytes: Uint8Array): Promise<void> {
  return restoreMachine(machine, bytes);
}
