/** The MachineHost of a browser: Workers, the browser's clock, files by address, consoles in the page. */
import type { BackendOpeners } from '../../devices/backends/kinds.ts';
import type { MachineHost, VcpuThread } from '../../devices/machine/host.ts';
import type { FlashStore } from '../../devices/firmware/variable-flash.ts';
import type { ReadFile } from '../../devices/machine/kernel-source.ts';
import { clockSince, makeClockOrigin, sharedClock } from '../clock.ts';
import { makeYield } from '../event-loop.ts';
import { spawnWorker } from '../spawn-worker.ts';
import type { VcpuWorkerStart } from './vcpu-worker.ts';

export interface BrowserHostOptions {
  readonly core: WebAssembly.Module;
  /** Entry of the vCPUs' Workers; undefined: the machine runs inline. */
  readonly vcpuWorker: URL | undefined;
  readonly readFile: ReadFile;
  readonly message: (text: string) => void;
  readonly backends: BackendOpeners;
  /** The file of a boot ROM's variables. */
  readonly openFlash: (path: string) => Promise<FlashStore>;
}

function spawn(url: URL, start: VcpuWorkerStart, failed: (error: Error) => void): VcpuThread {
  const worker = spawnWorker(url, `vcpu${start.start.vcpu}`);
  worker.addEventListener('error', (event) => {
    failed(new Error(event.message || `the vCPU's worker ${url.href} could not be started`));
  });
  worker.postMessage(start);
  return {
    terminate: () => {
      worker.terminate();
      return Promise.resolve();
    },
  };
}

export function createBrowserHost(options: BrowserHostOptions): MachineHost {
  const clockOrigin = makeClockOrigin();
  const { vcpuWorker, message, backends } = options;
  const nowNs = clockSince(clockOrigin);
  const lastReading = vcpuWorker && new Int32Array(new SharedArrayBuffer(4));
  return {
    core: options.core,
    clockOrigin,
    nowNs: lastReading ? sharedClock(nowNs, lastReading) : nowNs,
    yieldNow: makeYield(),
    spawnVcpu:
      vcpuWorker && lastReading ? (start, failed) => spawn(vcpuWorker, { start, lastReading }, failed) : undefined,
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
