/** What a page and the Worker with its machine say to each other. */
import type { LoadProgress } from '../../devices/block/remote/download.ts';
import type { ControlCommand, ControlCommands } from '../../devices/machine/control.ts';
import type { ExitReason } from '../../devices/machine/exit-reason.ts';
import type { Registers } from '../../devices/machine/registers.ts';
import type { Rectangle } from '../../devices/display/tile-map.ts';
import type { TreeStatus } from '../../devices/share/memory-tree.ts';
import type { PortEnd } from './endpoint.ts';

/** Where the files of this package lie, as absolute URLs. */
export interface AssetUrls {
  readonly core: string;
  readonly machineWorker: string;
  readonly vcpuWorker: string;
  /** What runs in the page's audio thread. */
  readonly audioWorklet: string;
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
  /** Present when there is a display adapter. */
  readonly display: DisplayDescription | undefined;
}

export interface DisplayDescription {
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  /** The keyboard layout of -K. */
  readonly keyboardLayout: string;
}

/** What a display shows: pixels 0x00RRGGBB, `width` a row. Pictures with the same serial number are the same. */
export interface DisplayPicture {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint32Array;
  readonly serial: number;
}

export type MachineState = 'created' | 'running' | 'paused' | 'ended';

export interface DiskActivity {
  readonly path: string;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** What came over the network for it. */
  readonly fetchedBytes: number;
}

/** Bytes of Ethernet frames. */
export interface NetworkActivity {
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

export interface MachineStatus {
  readonly state: MachineState;
  /** Instructions retired by each vCPU. */
  readonly instructions: readonly bigint[];
  /** Machine time in nanoseconds. */
  readonly machineNs: number;
  readonly residentBytes: number;
  readonly disks: readonly DiskActivity[];
  /** Cards with a backend, in the order of the command line. */
  readonly networks: readonly NetworkActivity[];
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
  /** Draws the display on a canvas from now on; the canvas is transferred. */
  'attach-canvas': { arguments: { readonly canvas: OffscreenCanvas }; result: Nothing };
  /** With `changedSince`, the serial number of a picture, only when the display shows something else. */
  'display-picture': {
    arguments: { readonly part?: Rectangle | undefined; readonly changedSince?: number | undefined };
    result: DisplayPicture;
  };
  /** A PNG file. */
  'display-png': { arguments: Nothing; result: Uint8Array };
  /** Types text with the layout of -K; answers when the last key was sent. */
  'type-text': { arguments: { readonly text: string }; result: Nothing };
  /** Files in memory that the guest mounts with `-s N,virtio-9p,NAME=memory:`. */
  'fs-write': { arguments: { readonly path: string; readonly content: Uint8Array | string }; result: Nothing };
  'fs-read': { arguments: { readonly path: string }; result: Uint8Array };
  'fs-list': { arguments: { readonly path: string }; result: readonly string[] };
  'fs-status': { arguments: { readonly path: string }; result: TreeStatus | undefined };
  'fs-remove': { arguments: { readonly path: string }; result: Nothing };
  'fs-make-directory': { arguments: { readonly path: string }; result: Nothing };
};

/** What the page tells. */
export type PageNotes = {
  /** A machine is likely to be asked for soon: what every one needs may be loaded. */
  prepare: Pick<AssetUrls, 'core' | 'vcpuWorker'>;
  /** Typed bytes. */
  input: { readonly console: string; readonly bytes: Uint8Array };
  /** So many bytes of output have been dealt with. */
  taken: { readonly console: string; readonly lengthBytes: number };
  /** A key: an X11 keysym, and an XT code where the key's place is known (0 otherwise), which then decides. */
  key: { readonly keysym: number; readonly code: number; readonly down: boolean };
  /** The pointer on the display in pixels, and POINTER_* buttons. */
  pointer: { readonly buttons: number; readonly x: number; readonly y: number };
  /** The user looks elsewhere: keys and buttons that are held come up. */
  'release-input': Nothing;
};

/** What the machine tells. */
export type MachineNotes = {
  output: { readonly console: string; readonly bytes: Uint8Array };
  /** A line for the user. */
  message: string;
  progress: LoadProgress;
  exited: ExitReason;
  /** The display has another size. */
  /** The guest plays or records: the port is joined to the page's speakers or microphone (host-browser/audio/protocol.ts). */
  audio: { readonly direction: 'play' | 'record'; readonly port: MessagePort };
  'display-resized': { readonly width: number; readonly height: number };
};

/** The page's end of the port. */
export type MachinePort = PortEnd<MachineCommands, PageNotes, Record<never, never>, MachineNotes>;
/** The machine's end. */
export type PagePort = PortEnd<Record<never, never>, MachineNotes, MachineCommands, PageNotes>;
