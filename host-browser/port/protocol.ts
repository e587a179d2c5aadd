/** What a page and the Worker with its machine say to each other. */
import type { LoadProgress } from '../../devices/block/remote/download.ts';
import type { ControlCommand, ControlCommands } from '../../devices/machine/control.ts';
import type { ExitReason } from '../../devices/machine/exit-reason.ts';
import type { Registers } from '../../devices/machine/registers.ts';
import type { PortEnd } from './endpoint.ts';

/** Where the files of this package lie, as absolute URLs. */
export interface AssetUrls {
  readonly core: string;
  readonly machineWorker: string;
  readonly vcpuWorker: string;
}

/** A machine to build. */
export interface MachineRecipe {
  /** Words of a bhyve(8) command line, without the program's name; or variables of bhyve_config(5). */
  readonly argv?: readonly string[] | undefined;
  readonly config?: Readonly<Record<string, string>> | undefined;
  /** A kernel without firmware: a name as in the command line, or the bytes. */
  readonly kernel?: string | Uint8Array | undefined;
  readonly initrd?: string | Uint8Array | undefined;
  readonly cmdline?: string | undefined;
  /** What relative names are resolved against: the page's address. */
  readonly base: string;
  /** Files by the name under which the command line has them; changes to them stay in memory. */
  readonly files: Readonly<Record<string, Blob>>;
  readonly assets: AssetUrls;
  readonly backend?: 'thread' | 'inline' | undefined;
  readonly deterministic?: { readonly seed: number; readonly insnsPerSecond: number } | undefined;
  readonly timeLimit?: number | undefined;
  /** A snapshot will be restored into the machine before it starts: no kernel is needed, and none is loaded. */
  readonly restored?: boolean | undefined;
}

/** A machine that was built. */
export interface MachineDescription {
  readonly name: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
  /** Names of the ports whose far end is here, in the order of the command line. */
  readonly consoles: readonly string[];
  readonly backend: 'thread' | 'inline';
  /** Why it runs inline although nobody asked for that. */
  readonly inlineReason: string | undefined;
  /** Hot code is compiled. */
  readonly jit: boolean;
  readonly disks: readonly string[];
}

export type MachineState = 'created' | 'running' | 'paused' | 'ended';

export interface DiskActivity {
  readonly path: string;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** What came over the network for it. */
  readonly fetchedBytes: number;
}

export interface MachineStatus {
  readonly state: MachineState;
  /** Instructions retired by each vCPU. */
  readonly instructions: readonly bigint[];
  /** Machine time in nanoseconds. */
  readonly machineNs: number;
  readonly residentBytes: number;
  readonly disks: readonly DiskActivity[];
}

type Nothing = Record<never, never>;

/** What the page asks. */
export type MachineCommands = {
  create: { arguments: MachineRecipe; result: MachineDescription };
  start: { arguments: Nothing; result: Nothing };
  pause: { arguments: Nothing; result: Nothing };
  resume: { arguments: Nothing; result: Nothing };
  /** False: no operating system listens to the button. */
  'power-button': { arguments: Nothing; result: boolean };
  reset: { arguments: Nothing; result: Nothing };
  destroy: { arguments: Nothing; result: Nothing };
  snapshot: { arguments: Nothing; result: Uint8Array };
  /** Before the start. */
  restore: { arguments: { readonly bytes: Uint8Array }; result: Nothing };
  status: { arguments: Nothing; result: MachineStatus };
  registers: { arguments: { readonly vcpu: number }; result: Registers };
  statistics: { arguments: { readonly vcpu: number }; result: Readonly<Record<string, bigint>> };
  /** What bhyvectl(8) asks. */
  control: {
    arguments: { readonly command: ControlCommand; readonly [field: string]: unknown };
    result: ControlCommands[ControlCommand]['result'];
  };
  /** Bytes of a disk as the guest sees it. */
  'read-disk': {
    arguments: { readonly path: string; readonly offset: number; readonly lengthBytes: number };
    result: Uint8Array;
  };
  'disk-size': { arguments: { readonly path: string }; result: number };
};

/** What the page tells. */
export type PageNotes = {
  /** Typed bytes. */
  input: { readonly console: string; readonly bytes: Uint8Array };
  /** So many bytes of output have been dealt with. */
  taken: { readonly console: string; readonly lengthBytes: number };
};

/** What the machine tells. */
export type MachineNotes = {
  output: { readonly console: string; readonly bytes: Uint8Array };
  /** A line for the user. */
  message: string;
  progress: LoadProgress;
  exited: ExitReason;
};

/** The page's end of the port. */
export type MachinePort = PortEnd<MachineCommands, PageNotes, Record<never, never>, MachineNotes>;
/** The machine's end. */
export type PagePort = PortEnd<Record<never, never>, MachineNotes, MachineCommands, PageNotes>;
