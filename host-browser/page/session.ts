/** One machine after the other: built from a command line, started, driven, and built again when the guest resets it. */
import type { ExitReason } from '../../devices/machine/exit-reason.ts';
import { Machine, type HostOptions } from '../machine.ts';

export type SessionState = 'off' | 'loading' | 'running' | 'paused' | 'ended' | 'failed';

export interface SessionListener {
  /** The state, or what there is to say about it, has changed. */
  changed(): void;
  /** There is a machine, not started yet. */
  machineMade(machine: Machine): void;
  machineGone(machine: Machine, reason: ExitReason): void;
}

export interface StartOptions extends Pick<
  HostOptions,
  'files' | 'assets' | 'message' | 'progress' | 'base' | 'backend'
> {
  /** A saved machine to go on from. */
  readonly snapshot?: Uint8Array | undefined;
}

/** The words without `-r FILE`: after a reset the machine boots. */
function withoutRestore(argv: readonly string[]): string[] {
  return argv.filter((word, index) => word !== '-r' && argv[index - 1] !== '-r');
}

export class Session {
  state: SessionState = 'off';
  machine: Machine | undefined;
  /** How the last machine ended; undefined while one runs. */
  exit: ExitReason | undefined;
  /** Why no machine could be built: the text that bhyve would have printed. */
  problem: string | undefined;
  #aborts: AbortController | undefined;

  constructor(private readonly listener: SessionListener) {}

  get busy(): boolean {
    return this.state === 'loading' || this.state === 'running' || this.state === 'paused';
  }

  #set(state: SessionState): void {
    this.state = state;
    this.listener.changed();
  }

  /** Builds and starts a machine; one that there is ends first. Never rejects. */
  async start(argv: readonly string[], options: StartOptions): Promise<void> {
    await this.turnOff();
    this.exit = undefined;
    this.problem = undefined;
    const aborts = new AbortController();
    this.#aborts = aborts;
    this.#set('loading');
    try {
      const { snapshot, ...host } = options;
      const machine = await Machine.fromArgs(argv, {
        ...host,
        restored: snapshot !== undefined,
        signal: aborts.signal,
      });
      this.machine = machine;
      if (snapshot) await machine.restore(snapshot);
      this.listener.machineMade(machine);
      void machine.exited.then((reason) => this.#ended(machine, reason, argv, options));
      await machine.start();
      this.#set('running');
    } catch (error) {
      if (aborts.signal.aborted) return;
      const { machine } = this;
      this.machine = undefined;
      await machine?.destroy();
      this.problem = error instanceof Error ? error.message : String(error);
      this.#set('failed');
    }
  }

  async #ended(machine: Machine, reason: ExitReason, argv: readonly string[], options: StartOptions): Promise<void> {
    // Its worker has nothing more to do.
    await machine.destroy();
    if (this.machine !== machine) return;
    this.machine = undefined;
    this.exit = reason;
    this.listener.machineGone(machine, reason);
    // bhyve ends at a reset, and whoever runs it starts it again.
    if (reason.reason === 'reset') {
      await this.start(withoutRestore(argv), { ...options, snapshot: undefined });
    } else this.#set(reason.reason === 'error' || reason.reason === 'triplefault' ? 'failed' : 'ended');
  }

  async togglePause(): Promise<void> {
    if (this.state === 'running') {
      await this.machine?.pause();
      this.#set('paused');
    } else if (this.state === 'paused') {
      await this.machine?.resume();
      this.#set('running');
    }
  }

  /** Ends what there is, also a machine that is being built. */
  async turnOff(): Promise<void> {
    const { machine } = this;
    this.#aborts?.abort();
    this.#aborts = undefined;
    this.machine = undefined;
    if (machine) {
      await machine.destroy();
      this.exit = await machine.exited;
      this.listener.machineGone(machine, this.exit);
    }
    if (this.busy) this.#set('off');
  }
}
