/** What a machine asks of the host that it runs on (Node, a page, a test). */
import type { BackendOpeners } from '../backends/kinds.ts';
import type { SwapFile } from './swap-slots.ts';
import type { FlashStore } from '../firmware/variable-flash.ts';

/** A vCPU's thread, as the machine sees it. */
export interface VcpuThread {
  /** Ends the thread wherever it is. */
  terminate(): Promise<void>;
}

/** Everything a vCPU's thread needs to start; can be posted to a Worker. */
export interface VcpuThreadStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly vcpu: number;
  /** What the host's clock of another thread needs to agree with this one; made by {@link MachineHost.clockOrigin}. */
  readonly clockOrigin: string;
  readonly rtcUtc: boolean;
  /** Processors of the host that it may run on, as in `0,2-4` (-p); undefined: any. */
  readonly hostCpus?: string | undefined;
}

/** What a host says of guest memory that must stay in its memory (-S). */
export interface WiringOutcome {
  /** It cannot be done: why. */
  readonly refusal?: string;
  /** It can be done but for this. */
  readonly warning?: string;
}

export interface MachineHost {
  /** The compiled core. */
  readonly core: WebAssembly.Module;
  /** Monotonic nanoseconds since this host object was made. */
  nowNs(): number;
  readonly clockOrigin: string;
  /** Lets the event loop serve everything that is ready, then continues. */
  yieldNow(): Promise<void>;
  /** Starts a thread for a vCPU; undefined where the host has no threads (the machine then runs inline). */
  readonly spawnVcpu?: ((start: VcpuThreadStart, failed: (error: Error) => void) => VcpuThread) | undefined;
  /** {@link VcpuThreadStart.hostCpus} has an effect here. */
  readonly pinsVcpus?: boolean | undefined;
  /** Whether so much guest memory can be kept from being swapped; absent where nobody can say. */
  readonly wire?: ((lengthBytes: number) => WiringOutcome) | undefined;
  /** Frees what nothing refers to any more, where the host can be asked to (RegionModules). */
  readonly collectGarbage?: (() => void) | undefined;
  /** Keeps the process alive until the returned function is called. */
  keepAlive(): () => void;
  /** Something the user should read: one line, no newline. */
  message(text: string): void;
  /** The whole of a file: kernels, initial RAM disks, boot ROMs. */
  readFile(path: string): Promise<Uint8Array>;
  /**
   * The file in which a boot ROM keeps its variables, for reading and writing; absent where nothing can be kept. Rejects when it cannot
   * be opened.
   */
  readonly openFlash?: ((path: string) => Promise<FlashStore>) | undefined;
  /**
   * A file for guest memory that does not fit the pool: at this path or in this folder, or where the host keeps such files (undefined). It is
   * gone when it is closed. Absent where there are none; rejects when it cannot be opened.
   */
  readonly openSwap?: ((path: string | undefined) => Promise<SwapFile>) | undefined;
  /**
   * Openers of backends by kind. A character backend may be undefined: the machine's console object alone is then attached to the port.
   */
  readonly backends: BackendOpeners;
  /** Takes part in the UUID that SMBIOS shows. */
  readonly hostName: string;
}
