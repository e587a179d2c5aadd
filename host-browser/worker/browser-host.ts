/** The MachineHost of a browser: Workers, the browser's clock, files by address, consoles in the page. */
import type { MachineHost, VcpuThread, VcpuThreadStart } from '../../devices/machine/host.ts';
import type { ReadFile } from '../../devices/machine/kernel-source.ts';
import type { CharacterBackend } from '../../devices/serial/character-backend.ts';
import { clockSince, makeClockOrigin } from '../clock.ts';
import { makeYield } from '../event-loop.ts';
import { spawnWorker } from '../spawn-worker.ts';
import type { FileSpace } from '../storage/file-space.ts';

export interface BrowserHostOptions {
  readonly core: WebAssembly.Module;
  /** Entry of the vCPUs' Workers; undefined: the machine runs inline. */
  readonly vcpuWorker: URL | undefined;
  readonly files: FileSpace;
  readonly readFile: ReadFile;
  readonly message: (text: string) => void;
  /** The far end of a port. */
  readonly openSerial: (path: string) => Promise<CharacterBackend | undefined>;
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
  const { vcpuWorker, files, message } = options;
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
    openBlock: (path, variables) => files.openBlock(path, variables),
    openSerial: options.openSerial,
    // Takes part in the machine's UUID: a page has no name that lasts but its origin.
    hostName: globalThis.location.host || 'browser',
  };
}
