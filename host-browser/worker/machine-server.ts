/** One machine behind its port: builds what the page asks for, drives it, and tells the page what it does. */
import {
  machineSettings,
  pciFunctions,
  parseCommandLine,
  treeFromVariables,
  type ConfigTree,
  type FwCfgItem,
} from '../../devices/config/index.ts';
import { CFGF_JIT, CFG_FLAGS, POOL_USED_CHUNKS, CHUNK_SIZE, R_ICOUNT } from '../../core-as/layout.ts';
import { openCheckpoint, restoreCheckpoint, type Checkpoint } from '../../devices/machine/checkpoint.ts';
import { MachineControl } from '../../devices/machine/control.ts';
import { vcpuBlock } from '../../devices/machine/core.ts';
import { useKernel } from '../../devices/machine/kernel-source.ts';
import { limitMachine } from '../../devices/machine/limits.ts';
import { Machine } from '../../devices/machine/machine.ts';
import type { Progress } from '../../devices/block/remote/download.ts';
import type { CharacterAddress, CharacterBackend } from '../../devices/backends/character.ts';
import { MAX_CONSOLE_PORTS } from '../../devices/virtio/console.ts';
import { PortEnd, Transferred, type Channel } from '../port/endpoint.ts';
import type {
  MachineCommands,
  MachineDescription,
  MachineNotes,
  MachineRecipe,
  MachineState,
  MachineStatus,
  PageNotes,
  PagePort,
} from '../port/protocol.ts';
import { CountedNetwork } from '../backends/counted-network.ts';
import { openBrowserNetwork } from '../backends/network.ts';
import { FileSpace } from '../storage/file-space.ts';
import { openFlashStore } from '../storage/flash-store.ts';
import { createBrowserHost } from './browser-host.ts';
import { CanvasDisplay } from './canvas-display.ts';
import { openPageAudio } from './page-audio.ts';
import { PageConsole } from './page-console.ts';
import { provideWaitAsync } from './wait-async.ts';
import { WaitingVcpus } from './waiting-vcpu.ts';

const PROGRAM_NAME = 'bhyve';
/** Most bytes of a disk in one answer. */
const MAX_READ_BYTES = 16 * 1024 * 1024;
const PROGRESS_PERIOD_MS = 100;

/** Why processors cannot have threads of their own here; undefined when they can. */
function whyInline(): string | undefined {
  if (globalThis.crossOriginIsolated && typeof SharedArrayBuffer === 'function') return undefined;
  return (
    'this page has no shared memory, so all processors share one thread: its server does not send ' +
    'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp'
  );
}

/** Passes on what a person can follow: the page has better to do than to draw each piece that arrives. */
function rarely(progress: Progress): Progress {
  let lastMs = -Infinity;
  return (now) => {
    const nowMs = performance.now();
    if (now.doneBytes !== now.totalBytes && nowMs - lastMs < PROGRESS_PERIOD_MS) return;
    lastMs = nowMs;
    progress(now);
  };
}

/** A file that the command line needs before it can be understood (-k). */
class MissingText extends Error {
  constructor(readonly path: string) {
    super(path);
  }
}

interface Parsed {
  readonly tree: ConfigTree;
  readonly fwCfgItems: readonly FwCfgItem[];
  readonly restoreFile: string | undefined;
}

export class MachineServer {
  readonly #port: PagePort;
  #machine: Machine | undefined;
  #files: FileSpace | undefined;
  #state: MachineState = 'created';
  readonly #consoles = new Map<string, PageConsole>();
  readonly #opened: { readonly console: PageConsole; readonly isVirtio: boolean }[] = [];
  #controls: MachineControl | undefined;
  #display: CanvasDisplay | undefined;
  readonly #networks: CountedNetwork[] = [];
  #core: { readonly url: string; readonly module: Promise<WebAssembly.Module> } | undefined;
  #vcpuWorkers: WaitingVcpus | undefined;

  constructor(channel: Channel) {
    this.#port = new PortEnd<Record<never, never>, MachineNotes, MachineCommands, PageNotes>(
      channel,
      {
        create: (recipe) => this.#create(recipe),
        start: () => {
          this.#running.start();
          this.#state = 'running';
          return {};
        },
        pause: async () => {
          await this.#running.pause();
          if (this.#state === 'running') this.#state = 'paused';
          return {};
        },
        resume: () => {
          this.#running.resume();
          if (this.#state === 'paused') this.#state = 'running';
          return {};
        },
        'power-button': () => this.#running.powerButton(),
        reset: () => {
          this.#running.reset();
          return {};
        },
        destroy: async () => {
          await this.#machine?.destroy();
          return {};
        },
        snapshot: async () => {
          const bytes = await this.#running.snapshot();
          return new Transferred(bytes, [bytes.buffer]);
        },
        restore: async ({ bytes }) => {
          await this.#running.restore(bytes);
          return {};
        },
        status: () => this.#status(),
        registers: ({ vcpu }) => this.#running.registers(vcpu),
        statistics: ({ vcpu }) => this.#running.stats(vcpu),
        control: async (request) => (await this.#control(request)) as never,
        'read-disk': async ({ path, offset, lengthBytes }) => {
          const bytes = new Uint8Array(Math.min(lengthBytes, MAX_READ_BYTES));
          await this.#disk(path).read(offset, [bytes]);
          return new Transferred(bytes, [bytes.buffer]);
        },
        'disk-size': ({ path }) => this.#disk(path).sizeBytes,
        'attach-canvas': ({ canvas }) => {
          this.#shown.attach(canvas);
          return {};
        },
        'display-picture': async ({ part, changedSince }) => {
          const picture = await this.#shown.picture(part, changedSince);
          return new Transferred(picture, [picture.pixels.buffer]);
        },
        'display-png': () => this.#shown.png(),
        'type-text': async ({ text }) => {
          await this.#shown.type(text);
          return {};
        },
        'fs-write': ({ path, content }) => {
          this.#running.fs.write(path, content);
          return {};
        },
        'fs-read': ({ path }) => {
          const bytes = this.#running.fs.read(path);
          return Promise.resolve(new Transferred(bytes, [bytes.buffer]));
        },
        'fs-list': ({ path }) => this.#running.fs.list(path),
        'fs-status': ({ path }) => {
          const { fs } = this.#running;
          return fs.exists(path) ? fs.status(path) : undefined;
        },
        'fs-remove': ({ path }) => {
          this.#running.fs.remove(path);
          return {};
        },
        'fs-make-directory': ({ path }) => {
          this.#running.fs.makeDirectory(path);
          return {};
        },
      },
      {
        prepare: ({ core, vcpuWorker }) => {
          void this.#loadCore(core);
          if (whyInline() === undefined) this.#vcpuWorkersOf(vcpuWorker).prepare(1);
        },
        input: ({ console, bytes }) => this.#consoles.get(console)?.input(bytes),
        taken: ({ console, lengthBytes }) => this.#consoles.get(console)?.taken(lengthBytes),
        key: ({ keysym, code, down }) => this.#display?.key(keysym, code, down),
        pointer: ({ buttons, x, y }) => this.#display?.pointer(buttons, x, y),
        'release-input': () => this.#display?.releaseInput(),
      },
    );
  }

  get #running(): Machine {
    if (!this.#machine) throw new Error('the machine has not been created');
    return this.#machine;
  }

  get #shown(): CanvasDisplay {
    if (!this.#display) throw new Error('the machine has no display');
    return this.#display;
  }

  #disk(path: string): { readonly sizeBytes: number; read(offset: number, into: Uint8Array[]): Promise<void> } {
    const disk = this.#files?.disks.get(path);
    if (!disk) throw new Error(`${path} is no disk of this machine`);
    return disk;
  }

  async #create(recipe: MachineRecipe): Promise<MachineDescription> {
    if (this.#machine || this.#files) throw new Error('this worker has its machine already');
    const message = (text: string): void => this.#port.tell('message', text);
    const files = new FileSpace({
      base: recipe.base,
      files: recipe.files,
      progress: rarely((progress) => this.#port.tell('progress', progress)),
      message,
    });
    this.#files = files;
    const core = this.#loadCore(recipe.assets.core);
    const { tree, fwCfgItems, restoreFile } = await this.#parse(recipe, files, message);
    const inlineReason = recipe.backend === 'inline' || recipe.deterministic ? undefined : whyInline();
    const inline = inlineReason !== undefined || recipe.backend === 'inline' || recipe.deterministic !== undefined;
    const vcpuWorkers = inline ? undefined : this.#vcpuWorkersOf(recipe.assets.vcpuWorker);
    // Their scripts are loaded while this thread loads what the machine is made of.
    vcpuWorkers?.prepare(machineSettings(tree).topology.cpus);
    const readPath = (path: string): Promise<Uint8Array> => files.readFile(path);
    const checkpoint = restoreFile === undefined ? undefined : await this.#openCheckpoint(restoreFile, tree, files);
    if (inlineReason !== undefined) message(inlineReason);
    provideWaitAsync(inline ? undefined : new URL(recipe.assets.vcpuWorker));
    const host = createBrowserHost({
      core: await core,
      vcpuWorkers,
      readFile: useKernel(tree, recipe, readPath, (url) => files.readFile(url.href)),
      message,
      openFlash: (path) => openFlashStore(path, files, message),
      backends: {
        block: (disk) => files.openBlock(disk),
        character: (address) => Promise.resolve(this.#openConsole(address)),
        network: async (settings) => {
          const network = new CountedNetwork(await openBrowserNetwork(settings));
          this.#networks.push(network);
          return network;
        },
        audio: (settings) =>
          openPageAudio(settings, (direction, port) => this.#port.tell('audio', { direction, port }, [port])),
        display: () => {
          this.#display ??= new CanvasDisplay((size) => this.#port.tell('display-resized', size));
          return Promise.resolve(this.#display);
        },
      },
    });
    const machine = await Machine.create(tree, host, {
      fwCfgItems,
      restored: checkpoint !== undefined || recipe.restored === true,
      backend: inline ? 'inline' : 'thread',
      deterministic: recipe.deterministic,
    });
    this.#machine = machine;
    this.#nameConsoles(machine, tree);
    void machine.exited.then((reason) => {
      this.#state = 'ended';
      this.#port.tell('exited', reason);
    });
    limitMachine(machine, { timeLimit: recipe.timeLimit });
    if (checkpoint) {
      await restoreCheckpoint(machine, checkpoint).catch(async (error: unknown) => {
        await machine.destroy();
        throw error;
      });
    }
    return {
      name: machine.name,
      vcpus: machine.plan.vcpus,
      memoryBytes: machine.settings.memoryBytes,
      consoles: [...this.#consoles.keys()],
      backend: inline ? 'inline' : 'thread',
      inlineReason,
      jit: (machine.state.u32(CFG_FLAGS) & CFGF_JIT) !== 0,
      disks: [...files.disks.keys()],
      display: this.#display && {
        ...this.#display.size,
        keyboardLayout: machine.platform.input.layout.name,
      },
    };
  }

  /** Compiles the core, or goes on compiling it. */
  #loadCore(url: string): Promise<WebAssembly.Module> {
    if (this.#core?.url !== url) {
      const module = WebAssembly.compileStreaming(fetch(url)).catch((error: unknown) => {
        // The next one to ask tries again.
        if (this.#core?.url === url) this.#core = undefined;
        throw new Error(`the core ${url} cannot be loaded: ${String(error)}`, { cause: error });
      });
      // Looked at only when it is needed: until then its failure is nobody's.
      module.catch(() => undefined);
      this.#core = { url, module };
    }
    return this.#core.module;
  }

  #vcpuWorkersOf(script: string): WaitingVcpus {
    if (this.#vcpuWorkers?.script.href !== script) this.#vcpuWorkers = new WaitingVcpus(new URL(script));
    return this.#vcpuWorkers;
  }

  /** Configuration files (-k) come over the network: the command line is read again with each. */
  async #parse(recipe: MachineRecipe, files: FileSpace, message: (text: string) => void): Promise<Parsed> {
    if (recipe.config) return { tree: treeFromVariables(recipe.config), fwCfgItems: [], restoreFile: undefined };
    const texts = new Map<string, string>();
    for (;;) {
      let missing: MissingText | undefined;
      try {
        const parsed = parseCommandLine(recipe.argv ?? [], {
          programName: PROGRAM_NAME,
          readTextFile: (path) => {
            const text = texts.get(path);
            if (text !== undefined) return text;
            missing = new MissingText(path);
            throw missing;
          },
        });
        for (const warning of parsed.warnings) message(warning);
        return parsed;
      } catch (error) {
        if (!missing) throw error;
        texts.set(missing.path, new TextDecoder().decode(await files.readFile(missing.path)));
      }
    }
  }

  #openCheckpoint(file: string, tree: ConfigTree, files: FileSpace): Promise<Checkpoint> {
    return openCheckpoint(file, tree, {
      open: async () => {
        const source = await files.openSnapshot(file);
        return {
          path: file,
          lengthBytes: source.lengthBytes,
          read: (into) => source.read(into),
          close: () => Promise.resolve(),
        };
      },
      // Without it the command line says everything.
      meta: async () => {
        const bytes = await files.readFile(`${file}.meta`).catch(() => undefined);
        return bytes && new TextDecoder().decode(bytes);
      },
    });
  }

  /** The far end of a port, asked for while the machine is built; named afterwards. */
  #openConsole(address: CharacterAddress): CharacterBackend | undefined {
    if (address.kind === 'tcp' || address.kind === 'websocket') {
      this.#port.tell('message', `${address.host}:${address.port}: a page listens on no sockets`);
      return undefined;
    }
    const console = new PageConsole(address.kind === 'stdio' ? 'stdio' : address.path, this.#port);
    this.#opened.push({ console, isVirtio: address.kind === 'unix' });
    return console;
  }

  /** COM ports and uart functions by their own names, ports of virtio-console by those that the guest sees. */
  #nameConsoles(machine: Machine, tree: ConfigTree): void {
    const serial = Object.keys(machine.consoles);
    for (const { console, isVirtio } of this.#opened) {
      console.name = (isVirtio ? virtioPortName(tree, console.name) : serial.shift()) ?? console.name;
      this.#consoles.set(console.name, console);
    }
  }

  #status(): MachineStatus {
    const machine = this.#running;
    return {
      state: this.#state,
      instructions: Array.from({ length: machine.plan.vcpus }, (_, vcpu) => {
        return machine.state.u64(vcpuBlock(vcpu) + R_ICOUNT);
      }),
      machineNs: machine.clock.nowNs(),
      residentBytes: machine.state.u32(POOL_USED_CHUNKS) * CHUNK_SIZE,
      disks: this.#files?.activity() ?? [],
      networks: this.#networks.map(({ sentBytes, receivedBytes }) => ({ sentBytes, receivedBytes })),
    };
  }

  #control(request: object): Promise<object> {
    this.#controls ??= new MachineControl(this.#running, {
      writeCheckpoint: () => Promise.reject(new Error('a page writes no files; ask for a snapshot')),
      ended: () => undefined,
    });
    return this.#controls.handle(request);
  }
}

/** The name of a virtio-console port by its path. */
function virtioPortName(tree: ConfigTree, path: string): string | undefined {
  for (const { device, variables } of pciFunctions(tree)) {
    if (device !== 'virtio-console') continue;
    for (let index = 0; index < MAX_CONSOLE_PORTS; index++) {
      if (variables.get(`port.${index}.path`) === path) return variables.get(`port.${index}.name`);
    }
  }
  return undefined;
}
