/** The MachineHost of Node: worker threads, the process's clock, messages on standard error. */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { MachineHost } from '../devices/machine/host.ts';
import type { BackendOpeners } from '../devices/backends/kinds.ts';
import { nodeBackends } from './backends.ts';
import { openDisk } from './disk/open-disk.ts';
import { openDisplay } from './display/open-display.ts';
import { CAN_PIN } from './affinity.ts';
import { openFlashFile } from './flash-file.ts';
import { clockSince, makeClockOrigin } from './clock.ts';
import { collectGarbage } from './garbage.ts';
import { openSwapFile } from './swap-file.ts';
import { WaitingThread } from './waiting-thread.ts';
import { wire } from './wire.ts';

export interface NodeHostOptions {
  readonly core: WebAssembly.Module;
  /** Entry of the vCPU workers; absent: the machine runs inline. */
  readonly workerUrl?: URL | undefined;
  /** A thread for vCPU 0 that was started already. */
  readonly firstThread?: WaitingThread | undefined;
  /** Where messages for the user go; standard error by default. */
  readonly message?: ((text: string) => void) | undefined;
  /**
   * Openers of backends by kind, instead of this host's own: `block` opens files. The far ends of serial ports (`character`) are opened
   * only if the program gives an opener; it uses the machine's consoles otherwise.
   */
  readonly backends?: BackendOpeners | undefined;
  readonly readFile?: ((path: string) => Promise<Uint8Array>) | undefined;
}

/** A timer that only keeps the process alive may be as long as timers get. */
const KEEP_ALIVE_MS = 0x7fff_ffff;

/** Standard error in raw terminal mode needs the carriage return that cooked mode would add. */
export function writeMessage(text: string): void {
  const raw = process.stdin.isTTY && process.stdin.isRaw;
  process.stderr.write(raw ? `${text.replaceAll('\n', '\r\n')}\r\n` : `${text}\n`);
}

/** A reader that went away (`bhyve -h | head -1`) or a full disk loses output; the program's status stays what it is. */
export function ignoreLostReaders(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}

export function createNodeHost(options: NodeHostOptions): MachineHost {
  const clockOrigin = makeClockOrigin();
  const { workerUrl } = options;
  const message = options.message ?? writeMessage;
  let { firstThread } = options;
  return {
    core: options.core,
    clockOrigin,
    nowNs: clockSince(clockOrigin),
    yieldNow: () => new Promise((resolve) => setImmediate(resolve)),
    collectGarbage,
    spawnVcpu: workerUrl
      ? (start, failed) => {
          const thread = firstThread ?? new WaitingThread(workerUrl, `vcpu${start.vcpu}`, message);
          firstThread = undefined;
          return thread.run(start, failed);
        }
      : undefined,
    pinsVcpus: CAN_PIN,
    wire,
    keepAlive: () => {
      const timer = setInterval(() => undefined, KEEP_ALIVE_MS);
      return () => clearInterval(timer);
    },
    message,
    readFile: options.readFile ?? ((path) => readFile(path)),
    openFlash: openFlashFile,
    openSwap: openSwapFile,
    backends: {
      ...nodeBackends,
      block: (settings) => openDisk(settings, message),
      display: (settings) => openDisplay(settings, message),
      ...options.backends,
    },
    hostName: hostname(),
  };
}
