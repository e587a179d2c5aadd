/** The MachineHost of a browser: Workers, the browser's clock, files by address, consoles in the page. */
import type { BackendOpeners } from '../../devices/backends/kinds.ts';
import type { MachineHost, VcpuThread, VcpuThreadStart } from '../../devices/machine/host.ts';
import type { ReadFile } from '../../devices/machine/kernel-source.ts';
import { clockSince, makeClockOrigin } from '../clock.ts';
import { makeYield } from '../event-loop.ts';
import { spawnWorker } from '../spawn-worker.ts';

export interface BrowserHostOptions {
  readonly core: WebAssembly.Module;
  /** Entry of the vCPUs' Workers; undefined: the machine runs inline. */
  readonly vcpuWorker: URL | undefined;
  readonly readFile: ReadFile;
  readonly message: (text: string) => void;
  readonly backends: BackendOpeners;
}

function spawn(url: URL, start: VcpuThreadStart, failed: (error: Error) => void): VcpuThread {
  const worker = spawnWorker(url, `vcpu${start.vcpu}`);
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
  return {
    core: options.core,
    clockOrigin,
    nowNs: clockSince(clockOrigin),
    yieldNow: makeYield(),
    spawnVcpu: vcpuWorker ? (start, failed) => spawn(vcpuWorker, start, failed) : undefined,
    // A Worker lives as long as its page lets it.
    keepAlive: () => () => undefined,
    message,
    readFile: options.readFile,
    backends,
    // Takes part in the machine's UUID: a page has no name that lasts but its origin.
    hostName: globalThis.location.host || 'browser',
  };
}
