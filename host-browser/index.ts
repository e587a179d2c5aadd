/** The library for pages: virtual machines in Workers. `import { Machine } from 'webhyve/browser'`. */
export { BhyveExit } from '../devices/config/index.ts';
export { ControlError, type ControlCommand, type ControlCommands } from '../devices/machine/control.ts';
export type { ExitKind, ExitReason } from '../devices/machine/exit-reason.ts';
export type { Source } from '../devices/machine/kernel-source.ts';
export { formatRegisters, type Registers } from '../devices/machine/registers.ts';
export { SnapshotError } from '../devices/snapshot.ts';
export {
  ConsoleError,
  type ConsoleMatch,
  type ExpectOptions,
  type RunOptions,
  type RunResult,
} from '../devices/serial/console.ts';
export type { LoadProgress } from '../devices/block/remote/download.ts';
export { Machine, MachineError, prepareMachine, type BhyveConfig, type HostOptions } from './machine.ts';
export type {
  AssetUrls,
  DiskActivity,
  DisplayDescription,
  DisplayPicture,
  MachineCommands,
  MachineDescription,
  MachineNotes,
  MachinePort,
  MachineState,
  MachineStatus,
  NetworkActivity,
  PageNotes,
} from './port/protocol.ts';
export { ConsoleFont, ConsoleFontError } from '../devices/display/console-font.ts';
export type { TextOptions } from '../devices/display/screen-text.ts';
export { DisplayTimeoutError, type Image, type WaitOptions } from '../devices/display/display-user.ts';
export { RemoteDisplay } from './remote-display.ts';
export { RemoteFileTree } from './remote-fs.ts';
export { RemoteConsole, type OutputSink } from './remote-console.ts';
