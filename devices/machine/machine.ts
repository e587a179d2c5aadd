/** One virtual machine: processors, buses, devices, firmware tables and the kernel, put together from its configuration. */
import { consoleTail, DEFAULT_WAIT_MS, endWithin, lateMessage } from './exit-wait.ts';
import {
  CFGF_DETERMINISTIC,
  CFG_FLAGS,
  CFGF_HPET,
  CFGF_IGNORE_MSRS,
  CFGF_JIT,
  CFGF_JIT_ALWAYS,
  CFGF_LPC,
  CFGF_PAGED,
  CFGF_PAUSE_EXITS,
  CFGF_RTC_UTC,
  CFGF_X2APIC,
  CHUNK_SIZE,
  HOST_UART_EVENTS,
  PEND_STOP,
  POOL_EXHAUSTED,
  R_RIP,
  SUSPEND_ERROR,
  SUSPEND_POWEROFF,
  SUSPEND_REASON,
  SUSPEND_RESET,
  SUSPEND_TRIPLEFAULT,
} from '../../core-as/layout.ts';
import { openBackend, NoBackendError } from '../backends/kinds.ts';
import { MemoryTree, withMemoryShare } from '../share/memory-tree.ts';
import { MmioBus } from '../bus/mmio-bus.ts';
import { PortBus } from '../bus/port-bus.ts';
import {
  BhyveExit,
  errnoText,
  machineSettings,
  pciFunctions,
  type ConfigTree,
  type FwCfgItem,
  type MachineSettings,
} from '../config/index.ts';
import { ramBytesOf } from '../catalog.ts';
import { GdbServer } from '../debug/gdb-server.ts';
import type { CharacterBackend } from '../backends/character.ts';
import type { MachineDisplay } from '../display/machine-display.ts';
import type { Console } from '../serial/console.ts';
import type { SerialPort } from '../serial/serial-port.ts';
import type { SuspendReason } from '../platform/suspend.ts';
import { bootRomChunks, loadBootRom, mapBootRom, plugVariables, type BootRom } from './bootrom.ts';
import { readStatistics, statisticLines } from './control-stats.ts';
import { followsBios, initialise8259AsBios, setMemoryTypes, writeBootImage, writeInitialRegisters } from './boot.ts';
import { MachineClock } from './clock.ts';
import type { SwapFile } from './swap-slots.ts';
import {
  Core,
  CoreState,
  chunksOf,
  createCoreMemory,
  MemoryConfigError,
  planMemory,
  poolBytes,
  vcpuBlock,
  writeCoreConfig,
  type MemoryPlan,
} from './core.ts';
import { directImports, hostRandom, hostWallSeconds, seededRandom, type ImportSources } from './core-imports.ts';
import { cpuLevelOf, featureChanges, vendorFlags } from './cpu-options.ts';
import {
  ABORT_STATUS,
  coreErrorMessage,
  exitReason,
  unhandledPort,
  suspendCode,
  type ExitKind,
  type ExitReason,
} from './exit-reason.ts';
import {
  buildTables,
  firmwareInterface,
  loadBootImage,
  readFwCfgItems,
  requireKernel,
  writeTables,
} from './firmware.ts';
import { writeGeneration } from './generation.ts';
import { CoreGuestMemory } from './guest-memory.ts';
import { GPE_VM_GENERATION } from '../platform/acpi-pm.ts';
import type { CdDrive } from '../scsi/cd-drive.ts';
import { MachineDebugTarget } from './debugger.ts';
import type { MachineHost } from './host.ts';
import { HostPump } from './host-pump.ts';
import { Stall } from './stall.ts';
import { MailboxSet } from './mailbox-set.ts';
import { ringHostDoorbell, type MailboxTarget } from './mailbox.ts';
import { Notes } from './notes.ts';
import { PagedGuestMemory } from './paged-memory.ts';
import { Pager } from './pager.ts';
import { Platform } from './platform.ts';
import { notEmulated } from './not-emulated.ts';
import { readRegisters, type Registers } from './registers.ts';
import { checkWired, populate } from './wire.ts';
import { InlineRunner, ThreadRunner, type VcpuRunner } from './runners.ts';
import { restoreMachine, saveMachine, type RestoreStep } from './snapshot.ts';
import { BytesSink, type SnapshotSink, type SnapshotSource } from '../snapshot.ts';
import { exitDetail, InlineLoop, type InlineLoopDeps } from './vcpu-loop.ts';

export interface MachineOptions {
  /** Each vCPU on a thread of its own (default where the host has threads), or all by turns on the caller's. */
  readonly backend?: 'thread' | 'inline' | undefined;
  /** Time is counted in instructions and chance comes from a seed; runs inline. */
  readonly deterministic?: { readonly seed: number; readonly insnsPerSecond: number } | undefined;
  /** Files for the firmware's configuration interface (-f, with lpc.fwcfg=qemu). */
  readonly fwCfgItems?: readonly FwCfgItem[] | undefined;
  /** A snapshot will be restored into the machine: no kernel is needed, and none is loaded. */
  readonly restored?: boolean | undefined;
  /** The files of {@link Machine.fs}; machines may have one tree together. An empty one by default. */
  readonly fs?: MemoryTree | undefined;
}

const EXIT_ERROR = 4;
const DEFAULT_INSNS_PER_SECOND = 100_000_000;
/** 2026-01-01T00:00:00Z: what deterministic machines take for the time at which they were switched on. */
const DETERMINISTIC_EPOCH_SECONDS = 1_767_225_600;
const MAX_DEVICE_ERROR_MESSAGES = 20;
/** How soon a vCPU's request for memory is looked at again. */
const LOOK_AGAIN_MS = 2;
const BOOT_VCPU = 0;
/** Number that the devices' own instance of the core is bound to. */
const DEVICES_VCPU = -1;

interface MachineParts {
  readonly settings: MachineSettings;
  readonly plan: MemoryPlan;
  readonly state: CoreState;
  readonly core: Core;
  readonly memory: CoreGuestMemory;
  readonly pager: Pager | undefined;
  readonly clock: MachineClock;
  readonly platform: Platform;
  readonly fs: MemoryTree;
  readonly host: MachineHost;
  readonly cores: readonly Core[];
  readonly makeRunner: (machine: Machine) => VcpuRunner;
}

function planOrExit(settings: MachineSettings, rom: BootRom | undefined, deviceBytes: number): MemoryPlan {
  try {
    const { memoryBytes, residentBytes, topology } = settings;
    return planMemory(memoryBytes, topology.cpus, bootRomChunks(rom), deviceBytes, residentBytes);
  } catch (error) {
    throw exitWith(error, MemoryConfigError);
  }
}

/** Whether the pool holds all of guest memory, and what else lies in it. */
function fitsPool(plan: MemoryPlan, rom: BootRom | undefined, deviceBytes: number): boolean {
  const wanted = chunksOf(plan.lowBytes) + chunksOf(plan.highBytes) + bootRomChunks(rom) + chunksOf(deviceBytes);
  return wanted * CHUNK_SIZE <= poolBytes(plan);
}

async function openSwap(path: string | undefined, host: MachineHost): Promise<SwapFile | undefined> {
  if (!host.openSwap) {
    host.message('guest memory is larger than what one machine can hold at a time, and nothing here keeps the rest');
    return undefined;
  }
  try {
    return await host.openSwap(path);
  } catch (error) {
    const problem = `memory.swap: ${path ?? 'no folder for temporary files'}: ${errnoText(error)}`;
    if (path !== undefined) throw new BhyveExit(EXIT_ERROR, `${problem}\n`);
    host.message(problem);
    return undefined;
  }
}

/** An expected error as the end of the run; anything else as it is. */
function exitWith(error: unknown, expected: abstract new (...args: never[]) => Error): unknown {
  return error instanceof expected ? new BhyveExit(EXIT_ERROR, `${(error as Error).message}\n`) : error;
}

/** Where a machine is in its life; `ending` is the time in which its devices let go of their backends. */
export type MachineStatus = 'created' | 'running' | 'paused' | 'ending' | 'ended';

/** A wait for something of a machine that did not come. */
export class MachineError extends Error {
  override readonly name = 'MachineError';
}

/** Processors that take turns on this thread while the machine is paused for everybody else. */
export interface Slices {
  /** Ends it after the turn that is under way. */
  stop(): void;
  readonly ended: Promise<void>;
}

export class Machine implements AsyncDisposable {
  readonly name: string;
  /** Consoles of the ports that lead somewhere: `com1` ... `com4`, `uart-B.S.F`. */
  readonly consoles: Readonly<Record<string, Console>>;
  /** Resolves when the machine has ended and its backends are closed. Never rejects. */
  readonly exited: Promise<ExitReason>;
  readonly state: CoreState;
  readonly memory: CoreGuestMemory;
  /** Of a machine whose memory is larger than what its process holds. */
  readonly pager: Pager | undefined;
  readonly platform: Platform;
  /** Files in memory that the guest mounts with `-s N,virtio-9p,NAME=memory:`. */
  readonly fs: MemoryTree;
  readonly clock: MachineClock;
  readonly settings: MachineSettings;
  readonly plan: MemoryPlan;
  /** The devices' thread's own instance of the core. */
  readonly core: Core;
  /** Errors that devices threw: bugs of theirs, counted and reported, never the guest's to see. */
  deviceErrors = 0;

  readonly #host: MachineHost;
  readonly #runner: VcpuRunner;
  readonly #pump: HostPump;
  /** Instances bound to the vCPUs on this thread: they run in inline mode, and only look in thread mode. */
  readonly #vcpuCores: readonly Core[];
  readonly #ports: ReadonlyMap<number, SerialPort>;
  #resolveExited: ((reason: ExitReason) => void) | undefined;
  #status: MachineStatus = 'created';
  #releaseProcess: (() => void) | undefined;
  #endStatus: { readonly code: number; readonly reason: ExitKind; readonly message: string } | undefined;
  #errorMessage: string | undefined;
  #ending: Promise<void> | undefined;
  #nextLook: ReturnType<typeof setTimeout> | undefined;
  #debugServer: GdbServer | undefined;
  #slices: Promise<void> | undefined;
  #runnerStarted = false;
  /** vCPUs' own threads may be inside run(). */
  #threadsRun = false;
  /** The vCPU that this thread is executing. */
  #runningHere: number | undefined;

  private constructor(parts: MachineParts) {
    this.name = parts.settings.name;
    this.settings = parts.settings;
    this.plan = parts.plan;
    this.state = parts.state;
    this.core = parts.core;
    this.memory = parts.memory;
    this.pager = parts.pager;
    this.clock = parts.clock;
    this.platform = parts.platform;
    this.fs = parts.fs;
    this.#host = parts.host;
    this.#ports = parts.platform.serialPorts;
    this.consoles = parts.platform.consoles;
    this.#vcpuCores = parts.cores;
    this.#pump = new HostPump(
      parts.state,
      () => this.#service(),
      () => this.#host.yieldNow(),
    );
    this.#runner = parts.makeRunner(this);
    this.exited = new Promise((resolve) => {
      this.#resolveExited = resolve;
    });
  }

  /** Builds the machine that the tree describes. Rejects with {@link BhyveExit} when that cannot be done. */
  static async create(tree: ConfigTree, host: MachineHost, options: MachineOptions = {}): Promise<Machine> {
    const settings = machineSettings(tree);
    const rom = await loadBootRom(tree, settings.lpc, host);
    try {
      return await Machine.#build(tree, settings, rom, host, options);
    } catch (error) {
      await rom?.variables?.store.close();
      throw error;
    }
  }

  static async #build(
    tree: ConfigTree,
    settings: MachineSettings,
    rom: BootRom | undefined,
    host: MachineHost,
    options: MachineOptions,
  ): Promise<Machine> {
    const spawn = options.deterministic || options.backend === 'inline' ? undefined : host.spawnVcpu;
    for (const message of notEmulated(settings, spawn !== undefined && host.pinsVcpus === true)) host.message(message);
    const deviceBytes = pciFunctions(tree).reduce(
      (sum, { device, variables }) => sum + ramBytesOf(device, { get: (name) => variables.get(name) }),
      0,
    );
    const plan = planOrExit(settings, rom, deviceBytes);
    if (settings.flags.wired) checkWired(plan, host);
    const memory = createCoreMemory(plan);
    const state = new CoreState(memory);
    const deterministic = options.deterministic;
    const hasLpc = pciFunctions(tree).some(({ device }) => device === 'lpc');
    writeCoreConfig(state, {
      plan,
      flags:
        (settings.flags.strictMsr ? 0 : CFGF_IGNORE_MSRS) |
        (settings.flags.x2apic ? CFGF_X2APIC : 0) |
        (settings.flags.rtcUseLocalTime ? 0 : CFGF_RTC_UTC) |
        (deterministic ? CFGF_DETERMINISTIC : 0) |
        (hasLpc ? CFGF_LPC : 0) |
        vendorFlags(settings.cpu.vendor) |
        (settings.cpu.jit === 'never' ? 0 : CFGF_JIT) |
        (settings.cpu.jit === 'always' ? CFGF_JIT_ALWAYS : 0) |
        (settings.flags.vmexitOnPause ? CFGF_PAUSE_EXITS : 0) |
        CFGF_HPET,
      threadsPerCore: settings.topology.threads,
      coresPerSocket: settings.topology.cores,
      cpuLevel: cpuLevelOf(tree, settings.cpu.model),
      features: featureChanges(tree, settings.cpu.features, settings.cpu.model),
      insnsPerSecond: BigInt(deterministic?.insnsPerSecond ?? DEFAULT_INSNS_PER_SECOND),
      shownRegion: settings.cpu.shownRegion,
      cpuid: settings.cpu.cpuid,
    });

    // Devices call back only once the machine runs, and it exists by then.
    let machine: Machine | undefined = undefined as Machine | undefined;
    const target: MailboxTarget = {
      ports: new PortBus(),
      mmio: new MmioBus(),
      note: new Notes((text) => host.message(text), memory).handler,
      chunk: (index, vcpu) => pager?.chunk(index, vcpu) ?? 0,
      deviceError: (error) => machine?.deviceError(error),
      stalled: () => stall.active,
      answered: () => machine?.expectAccess(),
    };
    const stall = new Stall(
      () => ringHostDoorbell(state),
      (device) => host.message(`${device}: a reset did not finish in time; its last requests may still move data`),
    );
    const sources: ImportSources = {
      nowNs: () => host.nowNs(),
      wallSeconds: deterministic
        ? () => DETERMINISTIC_EPOCH_SECONDS
        : () => hostWallSeconds(!settings.flags.rtcUseLocalTime),
      random: deterministic ? seededRandom(deterministic.seed) : hostRandom,
    };
    const core = Core.instantiate(host.core, state, DEVICES_VCPU, directImports(BOOT_VCPU, target, sources));
    core.exports.machineInit();
    const swap = fitsPool(plan, rom, deviceBytes) ? undefined : await openSwap(settings.swapPath, host);
    const pager =
      swap &&
      new Pager({
        state,
        plan,
        exports: core.exports,
        swap,
        nowNs: sources.nowNs,
        isOutside: (vcpu) => machine?.isOutside(vcpu) ?? true,
        failed: (message) => {
          host.message(message);
          machine?.fail(message);
        },
      });
    if (pager) state.setU32(CFG_FLAGS, state.u32(CFG_FLAGS) | CFGF_PAGED);
    const guestMemory = pager
      ? new PagedGuestMemory(memory, plan.lowBytes, plan.highBytes, core.exports, pager)
      : new CoreGuestMemory(memory, plan.lowBytes, plan.highBytes, core.exports);
    if (settings.flags.wired) populate(guestMemory);
    const clock = new MachineClock(state, sources.nowNs);
    const fs = options.fs ?? new MemoryTree();
    const platform = await Platform.build({
      tree,
      settings,
      host,
      core,
      plan,
      memory: guestMemory,
      clock,
      ports: target.ports,
      mmio: target.mmio,
      backends: withMemoryShare(host.backends, fs),
      hasBootRom: rom !== undefined,
      random: sources.random,
      suspend: (reason, status) => machine?.suspend(reason, status),
      stall: ({ bus, slot, func }, until) => stall.begin(`pci ${bus}:${slot}:${func}`, until),
      expectAccess: () => machine?.expectAccess(),
      deviceError: (error) => machine?.deviceError(error),
    });
    try {
      if (settings.flags.strictIo) {
        target.ports.onUnclaimed = (port, size, write, vcpu) => {
          machine?.fail(unhandledPort(port, size, write, state.u64(vcpuBlock(vcpu) + R_RIP)), ABORT_STATUS);
        };
      }
      const restored = options.restored === true;
      if (!rom && !restored) requireKernel(settings);
      const tables = buildTables(tree, settings, platform, plan, host.hostName);
      writeTables(guestMemory, tables.tables);
      if (settings.flags.acpiTables) writeGeneration(guestMemory, sources.random);
      if (rom) {
        mapBootRom(state, core.exports, rom);
        platform.bootVariables = plugVariables(target.mmio, rom);
        const items = await readFwCfgItems(options.fwCfgItems ?? [], host);
        platform.firmwareInterface = firmwareInterface(target.ports, tree, settings, plan, tables.tables, items);
      }
      const image = rom || restored ? undefined : await loadBootImage(settings, plan, host, tables.rsdpGpa, tree);
      if (image) writeBootImage(guestMemory, image);

      const cores = Array.from({ length: plan.vcpus }, (_, vcpu) => {
        const instance = Core.instantiate(
          host.core,
          state,
          vcpu,
          directImports(vcpu, target, sources),
          host.collectGarbage,
        );
        instance.exports.vcpuReset();
        if (image) setMemoryTypes(instance);
        if (image && vcpu === BOOT_VCPU) {
          writeInitialRegisters(instance, image.registers);
          if (followsBios(image)) initialise8259AsBios(instance);
        }
        return instance;
      });
      const makeRunner = (self: Machine): VcpuRunner => {
        if (!spawn) return self.#inlineRunner(cores, stall);
        return new ThreadRunner(
          state,
          new MailboxSet(state, plan.vcpus, target),
          (vcpu, died) =>
            spawn(
              {
                module: host.core,
                memory,
                vcpu,
                clockOrigin: host.clockOrigin,
                rtcUtc: !settings.flags.rtcUseLocalTime,
                hostCpus: settings.cpusets[vcpu],
              },
              (error) => {
                died();
                self.#vcpuFailed(vcpu, error);
              },
            ),
          () => self.#pump.ring(),
        );
      };
      machine = new Machine({
        settings,
        plan,
        state,
        core,
        memory: guestMemory,
        pager,
        clock,
        platform,
        fs,
        host,
        cores,
        makeRunner,
      });
      await machine.#openDebugServer();
      return machine;
    } catch (error) {
      await platform.close('error');
      pager?.close();
      throw error;
    }
  }

  start(): void {
    if (this.#status !== 'created') throw new Error(`the machine is ${this.#status}`);
    this.#status = 'running';
    this.#releaseProcess = this.#host.keepAlive();
    this.platform.devices.start();
    this.#pump.start();
    this.#debugServer?.open();
    if (this.settings.gdb?.wait && this.#debugServer) {
      this.#status = 'paused';
      this.clock.stop();
      // Nothing is in flight yet; input that comes from now on waits.
      void this.platform.devices.pause();
      return;
    }
    if (this.platform.startHolds.length > 0) {
      void this.#startAfter(this.platform.startHolds);
      return;
    }
    this.#runnerStarted = true;
    this.#threadsRun = this.#runner instanceof ThreadRunner;
    this.#runner.start();
  }

  /** Stands still until everything that was asked to be waited for (fbuf's `wait`) is there, or somebody calls {@link resume}. */
  async #startAfter(holds: readonly Promise<void>[]): Promise<void> {
    this.#status = 'paused';
    this.clock.stop();
    try {
      await this.platform.devices.pause();
      await Promise.all(holds);
    } catch (error) {
      this.deviceError(error);
    }
    this.resume();
  }

  /** The display; undefined without a frame buffer device. */
  get display(): MachineDisplay | undefined {
    return this.platform.display;
  }

  /** CD drives by the names of their variables (`pci.0.4.0.port.1`, `pci.0.7.0.target.0`): media are put in, changed and taken out here. */
  get cdDrives(): ReadonlyMap<string, CdDrive> {
    return this.platform.cdDrives;
  }

  /** -G. Exits when nobody can listen there. */
  async #openDebugServer(): Promise<void> {
    const { gdb } = this.settings;
    if (!gdb) return;
    let backend: CharacterBackend | undefined;
    try {
      backend = await openBackend(this.#host.backends, 'character', {
        kind: 'tcp',
        host: gdb.address,
        port: gdb.port,
      });
    } catch (error) {
      if (error instanceof NoBackendError) {
        this.#host.message('-G: no debug server: nothing here opens sockets');
        return;
      }
      throw new BhyveExit(EXIT_ERROR, `Failed to bind gdb socket: ${errnoText(error)}\n`);
    }
    if (!backend) return;
    this.#debugServer = new GdbServer(new MachineDebugTarget(this), backend, gdb.wait, (error) =>
      this.deviceError(error),
    );
  }

  /** For debuggers: runs the paused machine's processors on this thread, each by `runSlice` at its turn (EXIT_* of the layout). */
  runSlices(runSlice: (core: Core) => number): Slices {
    if (this.#status !== 'paused' || this.#slices) throw new Error('the machine does not stand still');
    const loop = new InlineLoop(this.#vcpuCores, { ...this.#inlineDeps(undefined), runSlice });
    this.clock.resume();
    this.platform.devices.resume();
    // Not before the caller has what it stops them with.
    const ended = Promise.resolve()
      .then(() => loop.run())
      .catch((error: unknown) => this.#vcpuFailed(BOOT_VCPU, error))
      .then(() => this.platform.devices.pause())
      .catch((error: unknown) => this.deviceError(error))
      .finally(() => {
        this.#slices = undefined;
        if (this.#status === 'paused') this.clock.stop();
      });
    this.#slices = ended;
    return { stop: () => loop.requestStop(), ended };
  }

  /**
   * Stops the processors, the devices and the clock: once it resolves, nothing changes guest memory. Devices finish what they have begun;
   * input from the host waits.
   */
  async pause(): Promise<void> {
    if (this.#status !== 'running') return;
    this.#status = 'paused';
    await this.#runner.pause();
    this.#threadsRun &&= this.status !== 'paused';
    await this.platform.devices.pause();
    this.clock.stop();
  }

  resume(): void {
    if (this.#status !== 'paused' || this.#slices) return;
    this.#status = 'running';
    this.clock.resume();
    this.platform.devices.resume();
    this.#threadsRun = this.#runner instanceof ThreadRunner;
    if (this.#runnerStarted) this.#runner.resume();
    else this.#runner.start();
    this.#runnerStarted = true;
  }

  /** Registers of a vCPU; meaningful while the machine is paused or has ended. */
  registers(vcpu = BOOT_VCPU): Registers {
    const core = this.vcpuCore(vcpu);
    return readRegisters(this.state, vcpu, BigInt.asUintN(64, core.exports.getRflags()));
  }

  /** The instance of the core that looks at a vCPU from this thread; only while the machine is paused or has ended. */
  vcpuCore(vcpu = BOOT_VCPU): Core {
    const core = this.#instance(vcpu);
    core.exports.stateChanged();
    return core;
  }

  #instance(vcpu: number): Core {
    const core = this.#vcpuCores[vcpu];
    if (!core) throw new RangeError(`there is no vCPU ${vcpu}`);
    return core;
  }

  /** Counters of the machine and one vCPU by name, as `bhyvectl --get-stats` lists them. */
  stats(vcpu = BOOT_VCPU): Readonly<Record<string, bigint>> {
    this.#instance(vcpu);
    return Object.fromEntries(readStatistics(this, vcpu).map(({ name, value }) => [name, value]));
  }

  /** The paused or running machine as bytes; it goes on afterwards if it was running. */
  async snapshot(): Promise<Uint8Array> {
    const sink = new BytesSink();
    await saveMachine(this, sink);
    return sink.bytes;
  }

  /** The same, piece by piece: what a sink does not keep takes no memory. */
  saveTo(sink: SnapshotSink): Promise<void> {
    return saveMachine(this, sink);
  }

  /** Puts a snapshot into this machine, which was not started yet and has the same configuration. `begins` hears of each step. */
  restore(snapshot: Uint8Array | SnapshotSource, begins?: (step: RestoreStep) => void): Promise<void> {
    return restoreMachine(this, snapshot, begins).then(() => this.#bumpGeneration());
  }

  /** What the snapshot's machine did afterwards, this one may do again: the guest is told, unless it is to do just that. */
  #bumpGeneration(): void {
    if (!this.settings.flags.acpiTables || this.state.u32(CFG_FLAGS) & CFGF_DETERMINISTIC) return;
    writeGeneration(this.memory, hostRandom);
    this.platform.acpiPm.raiseGpe(GPE_VM_GENERATION);
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

  get status(): MachineStatus {
    return this.#status;
  }

  /** The last lines of every console, for messages. */
  consoleTail(lines = 40): string {
    return consoleTail(this, lines);
  }

  get running(): boolean {
    return this.#status === 'running';
  }

  /** The vCPU is certainly not inside run(). */
  isOutside(vcpu: number): boolean {
    return !this.#threadsRun && this.#runningHere !== vcpu;
  }

  /** Not started yet: the only time at which a snapshot can be restored into it. */
  get pristine(): boolean {
    return this.#status === 'created';
  }

  /** Presses the ACPI power button; false when no operating system listens to it. */
  powerButton(): boolean {
    return this.platform.acpiPm.pressPowerButton();
  }

  /** Ends the machine as a reset by the guest would (bhyvectl --force-reset). */
  reset(): void {
    this.#suspend(SUSPEND_RESET);
  }

  /** Ends the machine as a power-off by the guest would (bhyvectl --force-poweroff). */
  powerOff(): void {
    this.#suspend(SUSPEND_POWEROFF);
  }

  /** What devices call to end the machine. */
  suspend(reason: SuspendReason, status?: number): void {
    if (reason === 'exit') {
      this.#endStatus ??= { code: status ?? 4, reason: 'exit', message: `the guest ended with status ${status ?? 4}` };
    }
    this.#suspend(suspendCode(reason));
  }

  /** Ends the machine with an error. */
  fail(message: string, code = 4): void {
    this.#endStatus ??= { code, reason: 'error', message };
    this.#suspend(SUSPEND_ERROR);
  }

  /** Ends the machine wherever it is; {@link exited} resolves with `destroyed` unless it had ended by itself. */
  async destroy(): Promise<void> {
    if (this.#status !== 'ended') {
      this.#endStatus ??= { code: 4, reason: 'destroyed', message: 'the machine was destroyed' };
      this.#suspend(SUSPEND_ERROR);
    }
    await this.#end();
    this.pager?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  /** A device threw. */
  deviceError(error: unknown): void {
    this.deviceErrors++;
    if (this.deviceErrors > MAX_DEVICE_ERROR_MESSAGES) return;
    this.#host.message(`device error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }

  #inlineRunner(cores: readonly Core[], stall: Stall): VcpuRunner {
    return new InlineRunner(cores, this.#inlineDeps(stall), (error) => this.#vcpuFailed(BOOT_VCPU, error));
  }

  #inlineDeps(stall: Stall | undefined): InlineLoopDeps {
    return {
      stalled: () => stall?.active ?? false,
      hostNowNs: () => this.#host.nowNs(),
      yieldNow: () => this.#host.yieldNow(),
      serviceDevices: () => this.#service(),
      nextDeviceDeadlineNs: () => this.clock.nextDeadlineNs,
      runs: (vcpu) => (this.#runningHere = vcpu),
    };
  }

  #suspend(code: number): void {
    if (!this.state.suspend(code)) return;
    for (let vcpu = 0; vcpu < this.plan.vcpus; vcpu++) this.state.kick(vcpu, PEND_STOP);
    this.#pump.ring();
  }

  /** Devices will be accessed soon (HostPump.expectAccess). */
  expectAccess(): void {
    this.#pump.expectAccess();
  }

  /** A vCPU waits for memory, and may be the only one that could ask for another look. */
  #lookAgain(): void {
    this.#nextLook ??= setTimeout(() => {
      this.#nextLook = undefined;
      this.#pump.ring();
    }, LOOK_AGAIN_MS);
  }

  /** The devices' thread was woken: vCPUs' requests, UART rings, timers, the machine's end. */
  #service(): void {
    this.memory.turnBegins();
    this.#runner.service();
    if (this.pager?.busy) this.pager.balance();
    if (this.pager?.waiting) this.#lookAgain();
    this.clock.runDue();
    const events = Atomics.exchange(this.state.i32, HOST_UART_EVENTS >> 2, 0);
    for (let uart = 0, left = events >>> 0; left !== 0; uart++, left >>>= 1) {
      if (left & 1) this.platform.serviceUart(uart);
    }
    if (this.state.u32(SUSPEND_REASON) !== 0 && !this.#ending) void this.#end();
  }

  #vcpuFailed(vcpu: number, error: unknown): void {
    this.#errorMessage ??= `vCPU ${vcpu}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
    this.#suspend(SUSPEND_ERROR);
  }

  #end(): Promise<void> {
    this.#ending ??= this.#finish();
    return this.#ending;
  }

  async #finish(): Promise<void> {
    this.#status = 'ending';
    // A step that fails is reported; the rest is done all the same, so that the process is released and `exited` resolves.
    const step = async (work: () => Promise<void> | void): Promise<void> => {
      try {
        await work();
      } catch (error) {
        this.deviceError(error);
      }
    };
    await step(async () => this.#slices);
    await step(() => this.#runner.pause());
    const reason = this.#exitReason();
    if (this.settings.flags.stats) for (const line of statisticLines(this)) this.#host.message(line);
    await step(() => this.#debugServer?.close(reason.code));
    await step(() => this.#runner.destroy());
    this.#threadsRun = false;
    this.#pump.stop();
    clearTimeout(this.#nextLook);
    this.clock.close();
    await step(() => this.platform.close(reason.reason === 'error' ? `error: ${reason.message}` : reason.reason));
    // A core file is written after the end; destroy() closes it then.
    if (!this.settings.flags.guestInCore) await step(() => this.pager?.close());
    this.#releaseProcess?.();
    this.#status = 'ended';
    this.#resolveExited?.(reason);
  }

  #exitReason(): ExitReason {
    const rip = this.state.u64(vcpuBlock(BOOT_VCPU) + R_RIP);
    const code = this.state.u32(SUSPEND_REASON);
    if (this.#endStatus && code === SUSPEND_ERROR) return { ...this.#endStatus, rip };
    const poolMib = Math.floor(poolBytes(this.plan) / 2 ** 20);
    let message = this.#errorMessage;
    if (message === undefined && this.state.u32(POOL_EXHAUSTED) !== 0) message = coreErrorMessage(1, poolMib);
    const details = Array.from({ length: this.plan.vcpus }, (_, vcpu) => exitDetail(this.state, vcpu));
    message ??= coreErrorMessage(details.find((detail) => detail !== 0) ?? 0, poolMib);
    if (code === SUSPEND_TRIPLEFAULT) message = `triple fault at 0x${rip.toString(16)}`;
    return { ...exitReason(code, rip, message), ...(code === SUSPEND_TRIPLEFAULT ? { message } : {}) };
  }
}
