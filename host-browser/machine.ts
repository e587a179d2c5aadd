/** A machine as the page sees it: everything here speaks with the Worker that holds it, through one port. */
import { consoleTail, DEFAULT_WAIT_MS, endWithin, lateMessage } from '../devices/machine/exit-wait.ts';
import { treeFromVariables } from '../devices/config/index.ts';
import type { ControlCommand, ControlCommands } from '../devices/machine/control.ts';
import type { LoadProgress } from '../devices/block/remote/download.ts';
import type { ExitReason } from '../devices/machine/exit-reason.ts';
import type { Source } from '../devices/machine/kernel-source.ts';
import type { Registers } from '../devices/machine/registers.ts';
import { PageSound } from './audio/page-sound.ts';
import { defaultAssets } from './assets.ts';
import { PortEnd } from './port/endpoint.ts';
import { prepareWorker, takeWorker } from './prepared-worker.ts';
import type {
  AssetUrls,
  MachineCommands,
  MachineDescription,
  MachineNotes,
  MachinePort,
  MachineStatus,
  PageNotes,
} from './port/protocol.ts';
import { RemoteConsole } from './remote-console.ts';
import { RemoteDisplay } from './remote-display.ts';
import { RemoteFileTree } from './remote-fs.ts';

/** How a machine is run in this page; everything has a default. */
export interface HostOptions {
  /** A kernel without firmware, as `-f kexec,KERNEL,INITRD,CMDLINE` names one: a name as in the command line, an address, or the bytes. */
  readonly kernel?: Source | undefined;
  readonly initrd?: Source | undefined;
  readonly cmdline?: string | undefined;
  /** Files by the names that the command line has for them; nothing is written to them. */
  readonly files?: Readonly<Record<string, Blob>> | undefined;
  /** What relative names are resolved against; the page's address by default. */
  readonly base?: string | URL | undefined;
  /** Where the workers and the core lie, when not beside this module: a folder, or each by itself. */
  readonly assets?: string | URL | Partial<AssetUrls> | undefined;
  /** Each vCPU in a Worker of its own (default where the page has shared memory), or all in one. */
  readonly backend?: 'thread' | 'inline' | undefined;
  /** Time is counted in instructions and chance comes from a seed; runs inline. */
  readonly deterministic?: { readonly seed: number; readonly insnsPerSecond: number } | undefined;
  /** Destroys the machine when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds after which the machine ends with an error, wherever it is. */
  readonly timeLimit?: number | undefined;
  /** A snapshot will be restored into the machine ({@link Machine.restore}): no kernel is needed, and none is loaded. */
  readonly restored?: boolean | undefined;
  /** Lines for the user; the browser's console by default. */
  readonly message?: ((text: string) => void) | undefined;
  /** Where the guest's sound is played (`-s N,hda,play=/dev/dsp`): a node of an audio context of 48 kHz; the speakers by default. */
  readonly sound?: AudioNode | undefined;
  /** Files on their way over the network. */
  readonly progress?: ((progress: LoadProgress) => void) | undefined;
}

/** bhyve_config(5): variables by name, such as `{ name: 'vm', 'memory.size': '1G', 'pci.0.4.0.device': 'virtio-rnd' }`. */
export type BhyveConfig = Readonly<Record<string, string>>;

/** Starts what every machine needs, for a page whose user is about to ask for one: the machine is there a tenth of a second sooner. */
export function prepareMachine({ assets }: Pick<HostOptions, 'assets'> = {}): void {
  prepareWorker(defaultAssets(assets));
}

/** A wait for something of a machine that did not come. */
export class MachineError extends Error {
  override readonly name = 'MachineError';
}

const DISK_PIECE_BYTES = 4 * 1024 * 1024;

function plainSource(source: Source | undefined): string | Uint8Array | undefined {
  return source instanceof URL ? source.href : source;
}

export class Machine implements AsyncDisposable {
  readonly name: string;
  readonly description: MachineDescription;
  /** The far ends of ports by name: `com1` ... `com4`, `uart-B.S.F`, and the ports of virtio-console by theirs. */
  readonly consoles: Readonly<Record<string, RemoteConsole>>;
  /** What its display adapter shows; undefined without one (`-s N,fbuf`). */
  readonly display: RemoteDisplay | undefined;
  /** Files in memory that the guest mounts with `-s N,virtio-9p,NAME=memory:`. */
  readonly fs: RemoteFileTree;
  /** Resolves when the machine has ended and its disks are closed. Never rejects. */
  readonly exited: Promise<ExitReason>;
  /** Everything that a machine can be asked and told. */
  readonly port: MachinePort;
  readonly #worker: Worker;
  readonly #fail: (message: string) => void;

  private constructor(parts: {
    readonly description: MachineDescription;
    readonly port: MachinePort;
    readonly worker: Worker;
    readonly consoles: Readonly<Record<string, RemoteConsole>>;
    readonly display: RemoteDisplay | undefined;
    readonly exited: Promise<ExitReason>;
    readonly fail: (message: string) => void;
  }) {
    this.name = parts.description.name;
    this.description = parts.description;
    this.port = parts.port;
    this.#worker = parts.worker;
    this.consoles = parts.consoles;
    this.display = parts.display;
    this.fs = new RemoteFileTree(parts.port);
    this.exited = parts.exited;
    this.#fail = parts.fail;
  }

  /**
   * A machine from the words of a bhyve(8) command line, without the program's name. Rejects with BhyveExit, whose status and text
   * are what bhyve would have ended with. It is not started.
   */
  static fromArgs(argv: readonly string[], options: HostOptions = {}): Promise<Machine> {
    return Machine.#open({ argv }, options);
  }

  /** A machine from its variables. Rejects with BhyveExit when it cannot be built. It is not started. */
  static create(config: BhyveConfig, options: HostOptions = {}): Promise<Machine> {
    return Machine.#open({ config }, options);
  }

  static async #open(
    what: { readonly argv: readonly string[] } | { readonly config: BhyveConfig },
    options: HostOptions,
  ): Promise<Machine> {
    const { signal } = options;
    signal?.throwIfAborted();
    // The text of a mistake in the variables is the same without a worker.
    if ('config' in what) treeFromVariables(what.config);
    const assets = defaultAssets(options.assets);
    const base = new URL(options.base ?? '', globalThis.document?.baseURI ?? globalThis.location.href).href;
    const worker = takeWorker(assets);
    const message = options.message ?? ((text: string) => globalThis.console.info(text));
    const sound = new PageSound({ worklet: assets.audioWorklet, message, destination: options.sound });
    const consoles: Record<string, RemoteConsole> = {};
    let display: RemoteDisplay | undefined;
    let ended = false;
    let resolveExited: (reason: ExitReason) => void = () => undefined;
    const exited = new Promise<ExitReason>((resolve) => {
      resolveExited = resolve;
    });
    const finish = (reason: ExitReason): void => {
      if (ended) return;
      ended = true;
      for (const console of Object.values(consoles)) {
        console.close(reason.reason === 'error' ? `error: ${reason.message}` : reason.reason);
      }
      void sound.close();
      resolveExited(reason);
    };
    const port: MachinePort = new PortEnd<MachineCommands, PageNotes, Record<never, never>, MachineNotes>(
      worker,
      {},
      {
        output: ({ console: name, bytes }) => consoles[name]?.received(bytes),
        message,
        progress: (progress) => options.progress?.(progress),
        exited: finish,
        audio: ({ direction, port: channel }) => void sound.connect(direction, channel),
        'display-resized': (size) => display?.resized(size),
      },
    );
    const fail = (text: string): void => {
      worker.terminate();
      port.break(new MachineError(text));
      finish({ code: 4, reason: 'error', message: text, rip: 0n });
    };
    worker.addEventListener('error', (event) => {
      fail(event.message || `the worker ${assets.machineWorker} could not be started`);
    });
    try {
      const description = await port.call('create', {
        ...what,
        kernel: plainSource(options.kernel),
        initrd: plainSource(options.initrd),
        cmdline: options.cmdline,
        base,
        files: options.files ?? {},
        assets,
        backend: options.backend,
        deterministic: options.deterministic,
        timeLimit: options.timeLimit,
        restored: options.restored,
      });
      for (const name of description.consoles) {
        consoles[name] = new RemoteConsole(
          name,
          (bytes) => port.tell('input', { console: name, bytes }),
          (lengthBytes) => port.tell('taken', { console: name, lengthBytes }),
        );
      }
      display = description.display && new RemoteDisplay(description.display, port);
      const machine = new Machine({ description, port, worker, consoles, display, exited, fail });
      signal?.addEventListener('abort', () => void machine.destroy(), { once: true });
      if (signal?.aborted) await machine.destroy();
      signal?.throwIfAborted();
      return machine;
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  start(): Promise<void> {
    return this.#do('start');
  }

  /** Stops the processors and the clock; devices finish what they have begun. */
  pause(): Promise<void> {
    return this.#do('pause');
  }

  resume(): Promise<void> {
    return this.#do('resume');
  }

  /** Presses the ACPI power button; false when no operating system listens to it. */
  powerButton(): Promise<boolean> {
    return this.port.call('power-button', {});
  }

  /** Ends the machine as a reset by the guest would. */
  reset(): Promise<void> {
    return this.#do('reset');
  }

  async #do(command: 'start' | 'pause' | 'resume' | 'reset'): Promise<void> {
    await this.port.call(command, {});
  }

  /** Ends the machine wherever it is, and its worker; {@link exited} resolves with `destroyed` unless it had ended by itself. */
  async destroy(): Promise<void> {
    await this.port.call('destroy', {}).catch(() => undefined);
    this.#fail('the machine was destroyed');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  /** The paused or running machine as bytes, which Node can restore as well; it goes on afterwards if it was running. */
  snapshot(): Promise<Uint8Array> {
    return this.port.call('snapshot', {});
  }

  /** Puts a snapshot into this machine, which was not started yet and has the same configuration. */
  async restore(bytes: Uint8Array): Promise<void> {
    await this.port.call('restore', { bytes });
  }

  status(): Promise<MachineStatus> {
    return this.port.call('status', {});
  }

  /** Registers of a vCPU; meaningful while the machine is paused. */
  registers(vcpu = 0): Promise<Registers> {
    return this.port.call('registers', { vcpu });
  }

  /** Counters by name, as `bhyvectl --get-stats` lists them. */
  stats(vcpu = 0): Promise<Readonly<Record<string, bigint>>> {
    return this.port.call('statistics', { vcpu });
  }

  /** What bhyvectl(8) asks a machine. */
  async control<K extends ControlCommand>(
    command: K,
    fields: ControlCommands[K]['arguments'],
  ): Promise<ControlCommands[K]['result']> {
    return (await this.port.call('control', { ...fields, command })) as ControlCommands[K]['result'];
  }

  /** A disk as the guest has left it, by its name in the command line; for downloads. */
  async readDisk(path: string): Promise<ReadableStream<Uint8Array>> {
    const sizeBytes = await this.port.call('disk-size', { path });
    let offset = 0;
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const lengthBytes = Math.min(DISK_PIECE_BYTES, sizeBytes - offset);
        if (lengthBytes > 0) controller.enqueue(await this.port.call('read-disk', { path, offset, lengthBytes }));
        offset += lengthBytes;
        if (offset >= sizeBytes) controller.close();
      },
    });
  }

  /**
   * Waits for the end of the machine. Rejects with {@link MachineError} when that takes longer than `timeout` milliseconds; the
   * consoles' last lines are in the message.
   */
  async waitForExit(options: { readonly timeout?: number | undefined } = {}): Promise<ExitReason> {
    const timeoutMs = options.timeout ?? DEFAULT_WAIT_MS;
    const reason = await endWithin(this, timeoutMs);
    if (reason) return reason;
    throw new MachineError(lateMessage(this, timeoutMs));
  }

  /** The last lines of every console, for messages. */
  consoleTail(lines = 40): string {
    return consoleTail(this, lines);
  }
}
