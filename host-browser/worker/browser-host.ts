/** The MachineHost of a browser: Workers, the browser's clock, files by address, consoles in the page. */
import type { BackendOpeners } from '../../devices/backends/kinds.ts';
import type { MachineHost } from '../../devices/machine/host.ts';
import type { FlashStore } from '../../devices/firmware/variable-flash.ts';
import type { ReadFile } from '../../devices/machine/kernel-source.ts';
import { clockSince, makeClockOrigin, sharedClock } from '../clock.ts';
import { makeYield } from '../event-loop.ts';
import type { WaitingVcpus } from './waiting-vcpu.ts';

export interface BrowserHostOptions {
  readonly core: WebAssembly.Module;
  /** Workers for vCPUs; undefined: the machine runs inline. */
  readonly vcpuWorkers: WaitingVcpus | undefined;
  readonly readFile: ReadFile;
  readonly message: (text: string) => void;
  readonly backends: BackendOpeners;
  /** The file of a boot ROM's variables. */
  readonly openFlash: (path: string) => Promise<FlashStore>;
}

export function createBrowserHost(options: BrowserHostOptions): MachineHost {
  const clockOrigin = makeClockOrigin();
  const { vcpuWorkers, message, backends } = options;
  const nowNs = clockSince(clockOrigin);
  const lastReading = vcpuWorkers && new Int32Array(new SharedArrayBuffer(4));
  return {
    core: options.core,
    clockOrigin,
    nowNs: lastReading ? sharedClock(nowNs, lastReading) : nowNs,
    yieldNow: makeYield(),
    spawnVcpu:
      vcpuWorkers && lastReading ? (start, failed) => vcpuWorkers.run({ start, lastReading }, failed) : undefined,
    // A Worker lives as long as its page lets it.
    keepAlive: () => () => undefined,
    message,
    readFile: options.readFile,
    backends,
    openFlash: options.openFlash,
    // Takes part in the machine's UUID: a page has no name that lasts but its origin.
    hostName: globalThis.location.host || 'browser',
  };
}
