/** Who runs the vCPUs: threads of their own, or the devices' thread by turns. One interface for the machine. */
import { PEND_STOP } from '../../core-as/layout.ts';
import type { Core, CoreState } from './core.ts';
import type { VcpuThread } from './host.ts';
import { CONTROL_PAUSE, CONTROL_QUIT, CONTROL_RUN, THREAD_GONE, THREAD_STOPPED } from './mailbox.ts';
import type { MailboxSet } from './mailbox-set.ts';
import { InlineLoop, type InlineLoopDeps } from './vcpu-loop.ts';

export interface VcpuRunner {
  start(): void;
  /** Resolves when every vCPU is outside run(). */
  pause(): Promise<void>;
  resume(): void;
  destroy(): Promise<void>;
  /** The devices' thread was woken: requests, and threads that changed their state. */
  service(): void;
}

/** How long a thread may take to leave before it is ended by force. */
const QUIT_PATIENCE_MS = 2000;
/** Rounds over all mailboxes before the event loop gets its turn. */
const SERVICE_ROUNDS = 64;

export class ThreadRunner implements VcpuRunner {
  #threads: VcpuThread[] = [];
  #waiting: { readonly settled: () => boolean; readonly resolve: () => void }[] = [];

  constructor(
    private readonly state: CoreState,
    private readonly set: MailboxSet,
    /** `died`: to be called when the thread ended by an error. */
    private readonly spawn: (vcpu: number, died: () => void) => VcpuThread,
    /** Asks for another service() soon: there was more to do than one turn allows. */
    private readonly again: () => void,
  ) {}

  start(): void {
    for (const mailbox of this.set.mailboxes) {
      mailbox.expectStart();
      mailbox.setControl(CONTROL_RUN);
    }
    this.#threads = this.set.mailboxes.map((mailbox, vcpu) =>
      this.spawn(vcpu, () => {
        mailbox.markGone();
        this.again();
      }),
    );
  }

  service(): void {
    let served = 1;
    for (let round = 0; served > 0 && round < SERVICE_ROUNDS; round++) {
      served = this.set.serve();
    }
    if (served > 0) {
      // A vCPU that says it stopped has no request left behind before the settled are told so.
      this.again();
      return;
    }
    this.#waiting = this.#waiting.filter((wait) => {
      if (!wait.settled()) return true;
      wait.resolve();
      return false;
    });
  }

  #tell(control: number): void {
    for (const [vcpu, mailbox] of this.set.mailboxes.entries()) {
      mailbox.setControl(control);
      this.state.kick(vcpu, PEND_STOP);
    }
  }

  #until(settled: () => boolean): Promise<void> {
    if (settled()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ settled, resolve }));
  }

  #allIn(...states: readonly number[]): boolean {
    return this.set.mailboxes.every((mailbox) => states.includes(mailbox.threadState));
  }

  pause(): Promise<void> {
    if (this.#threads.length === 0) return Promise.resolve();
    this.#tell(CONTROL_PAUSE);
    return this.#until(() => this.#allIn(THREAD_STOPPED, THREAD_GONE));
  }

  resume(): void {
    for (const mailbox of this.set.mailboxes) {
      mailbox.expectStart();
      mailbox.setControl(CONTROL_RUN);
    }
  }

  async destroy(): Promise<void> {
    const threads = this.#threads;
    this.#threads = [];
    if (threads.length === 0) return;
    this.#tell(CONTROL_QUIT);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, QUIT_PATIENCE_MS);
    });
    await Promise.race([this.#until(() => this.#allIn(THREAD_GONE)), patience]);
    clearTimeout(timer);
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
}

export class InlineRunner implements VcpuRunner {
  readonly #loop: InlineLoop;
  #running: Promise<void> | undefined;

  constructor(
    private readonly cores: readonly Core[],
    deps: InlineLoopDeps,
    private readonly failed: (error: unknown) => void,
  ) {
    this.#loop = new InlineLoop(cores, deps);
  }

  start(): void {
    this.resume();
  }

  service(): void {
    // Accesses are direct calls: nothing waits.
  }

  resume(): void {
    this.#running ??= this.#loop
      .run()
      .catch(this.failed)
      .finally(() => {
        this.#running = undefined;
      });
  }

  async pause(): Promise<void> {
    const running = this.#running;
    if (!running) return;
    this.#loop.requestStop();
    for (const core of this.cores) core.state.kick(core.vcpu, PEND_STOP);
    await running;
  }

  destroy(): Promise<void> {
    return this.pause();
  }
}
