/** bhyve's NVMe controller (NVM Express 1.4): registers, doorbells, interrupts, and the way of a command. */
import type { BlockBackend } from '../backends/block.ts';
import { GuestAddressError, type GuestMemory } from '../bus/guest-memory.ts';
import type { Clock } from '../bus/clock.ts';
import { allOnes, type AccessSize } from '../bus/port-bus.ts';
import type { PostedRange } from '../bus/posted-ranges.ts';
import type { Counters } from '../device.ts';
import { PciFunction } from '../pci/function.ts';
import { PCIE_TYPE_ENDPOINT } from '../pci/registers.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { AdminCommands, HELD } from './admin.ts';
import { AsyncEvents } from './async-events.ts';
import { NvmeError, type NvmeCommand } from './command.ts';
import { NvmeFeatures } from './features.ts';
import { Health } from './health.ts';
import { NAMESPACE_ID, NvmeNamespace } from './namespace.ts';
import { QueueSet } from './queue-set.ts';
import type { CompletionQueue, Fetched, SubmissionQueue } from './queues.ts';
import * as R from './registers.ts';

const BAR = 0;
const MSIX_BAR = 4;
const MIN_BAR_BYTES = 16 * 1024;
const COALESCING_UNIT_NS = 100_000;

export interface NvmeOptions {
  readonly memory: GuestMemory;
  readonly clock: Clock;
  readonly backend: BlockBackend;
  /** Size of a logical block: a multiple of the backend's. */
  readonly blockBytes: number;
  readonly serial: string;
  readonly eui64: bigint;
  readonly datasetManagement: boolean;
  /** I/O queues of each kind. */
  readonly maxQueues: number;
  /** Entries of a queue. */
  readonly maxEntries: number;
  /** I/O commands on their way at once. */
  readonly ioSlots: number;
}

/** Completions of one vector that have not been told yet (interrupt coalescing, 5.21.1.8). */
interface Coalescing {
  count: number;
  cancel: (() => void) | undefined;
}

export class NvmeController extends PciFunction {
  readonly #memory: GuestMemory;
  readonly #clock: Clock;
  readonly #options: NvmeOptions;
  readonly #namespace: NvmeNamespace;
  readonly #queues: QueueSet;
  readonly #features: NvmeFeatures;
  readonly #health: Health;
  readonly #events: AsyncEvents;
  readonly #admin: AdminCommands;
  readonly #coalescing = new Map<number, Coalescing>();
  /** Completion queues with entries that their vector has not been raised for. */
  readonly #unsignalled = new Set<CompletionQueue>();
  #signalDue = false;
  /** A completion had to wait for room in its queue since the controller was reset. */
  #roomAwaited = false;
  #commandsDone = 0;
  #badRequests = 0;
  /** Grows with every reset of the controller: commands of an older generation complete nowhere. */
  #generation = 0;
  #cc = 0;
  #csts = 0;
  #interruptMask = 0;
  #aqa = 0;
  #asqLow = 0;
  #asqHigh = 0;
  #acqLow = 0;
  #acqHigh = 0;

  constructor(options: NvmeOptions) {
    super('nvme', { vendorId: 0xfb5d, deviceId: 0x0a0a, classCode: 0x01, subclass: 0x08, progIf: 0x02 });
    const { memory, maxQueues, maxEntries, datasetManagement } = options;
    this.#options = options;
    this.#memory = memory;
    this.#clock = options.clock;
    const vectors = maxQueues + 1;
    this.#queues = new QueueSet(memory, maxQueues, maxEntries);
    this.#features = new NvmeFeatures(maxQueues, vectors);
    this.#health = new Health(() => options.clock.nowNs());
    this.#namespace = new NvmeNamespace({
      memory,
      backend: options.backend,
      blockBytes: options.blockBytes,
      health: this.#health,
      datasetManagement,
      hasWriteCache: () => this.#features.writeCache === 1,
    });
    this.#events = new AsyncEvents((commandId, result) => this.#completeEvent(commandId, result));
    this.#admin = new AdminCommands({
      memory,
      queues: this.#queues,
      features: this.#features,
      events: this.#events,
      health: this.#health,
      namespace: this.#namespace,
      serial: options.serial,
      eui64: options.eui64,
      datasetManagement,
      vectors,
    });
    this.addBar(BAR, 'mem64', Math.max(MIN_BAR_BYTES, R.DOORBELLS + this.#doorbellBytes));
    this.#postDoorbells();
    this.addMsix(vectors, MSIX_BAR);
    this.addPcieCapability(PCIE_TYPE_ENDPOINT);
    this.requestIntx();
    options.backend.onResized?.(() => this.resized());
  }

  get #doorbellBytes(): number {
    return 2 * R.DOORBELL_BYTES * (this.#options.maxQueues + 1);
  }

  /**
   * Doorbells are posted. That of a completion queue tells of room that nobody waits for: it may be quiet while interrupts are messages, until a completion has
   * found its queue full.
   */
  #postDoorbells(): void {
    const posted: PostedRange[] = [{ offset: R.DOORBELLS, lengthBytes: this.#doorbellBytes }];
    if (this.msixEnabled && !this.#roomAwaited) {
      for (let offset = R.DOORBELL_BYTES; offset < this.#doorbellBytes; offset += 2 * R.DOORBELL_BYTES) {
        posted.push({ offset: R.DOORBELLS + offset, lengthBytes: R.DOORBELL_BYTES, quiet: true });
      }
    }
    this.setPosted(BAR, posted);
  }

  #awaitRoom(awaited: boolean): void {
    if (awaited === this.#roomAwaited) return;
    this.#roomAwaited = awaited;
    this.#postDoorbells();
  }

  protected override messagesChanged(): void {
    this.#postDoorbells();
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Registers

  protected override readBar(index: number, offset: number, size: AccessSize): number {
    if (index !== BAR) return super.readBar(index, offset, size);
    if ((offset & 3) + size > 4) {
      this.badAccesses++;
      return allOnes(size);
    }
    return (this.#readRegister(offset & ~3) >>> (8 * (offset & 3))) & allOnes(size);
  }

  #readRegister(offset: number): number {
    switch (offset) {
      case R.REG_CAP_LOW:
        return R.capabilityLow(this.#options.maxEntries);
      case R.REG_CAP_HIGH:
        return R.CAPABILITY_HIGH;
      case R.REG_VS:
        return R.VERSION_1_4;
      case R.REG_INTMS:
      case R.REG_INTMC:
        return this.#interruptMask >>> 0;
      case R.REG_CC:
        return this.#cc;
      case R.REG_CSTS:
        return this.#csts;
      case R.REG_AQA:
        return this.#aqa;
      case R.REG_ASQ:
        return this.#asqLow;
      case R.REG_ASQ_HIGH:
        return this.#asqHigh;
      case R.REG_ACQ:
        return this.#acqLow;
      case R.REG_ACQ_HIGH:
        return this.#acqHigh;
      default:
        // Doorbells read as zeros, as everything without a register does.
        return 0;
    }
  }

  protected override writeBar(index: number, offset: number, size: AccessSize, value: number): void {
    if (index !== BAR || size !== 4 || offset & 3) {
      this.badAccesses++;
      return;
    }
    if (offset >= R.DOORBELLS) {
      this.#ringDoorbell((offset - R.DOORBELLS) / R.DOORBELL_BYTES, value & 0xffff);
      return;
    }
    switch (offset) {
      case R.REG_INTMS:
        this.#interruptMask |= value;
        this.#updateLine();
        break;
      case R.REG_INTMC:
        this.#interruptMask &= ~value;
        this.#updateLine();
        break;
      case R.REG_CC:
        this.#writeConfiguration((value & R.CC_WRITABLE) >>> 0);
        break;
      case R.REG_AQA:
        this.#aqa = value & 0x0fff0fff;
        break;
      case R.REG_ASQ:
        this.#asqLow = (value & ~0xfff) >>> 0;
        break;
      case R.REG_ASQ_HIGH:
        this.#asqHigh = value;
        break;
      case R.REG_ACQ:
        this.#acqLow = (value & ~0xfff) >>> 0;
        break;
      case R.REG_ACQ_HIGH:
        this.#acqHigh = value;
        break;
      default:
        // The others are read-only or not there.
        break;
    }
  }

  #writeConfiguration(value: number): void {
    const before = this.#cc;
    this.#cc = value;
    if (before & R.CC_EN && !(value & R.CC_EN)) this.#controllerReset();
    else if (!(before & R.CC_EN) && value & R.CC_EN) this.#enable();
    const shutdown = (value >> R.CC_SHN_SHIFT) & 3;
    if (shutdown !== 0 && shutdown !== ((before >> R.CC_SHN_SHIFT) & 3)) this.#shutDown();
  }

  #enable(): void {
    // A reset that still drains finishes first; it then sees that the controller is to be enabled.
    if (this.#csts & R.CSTS_RDY) return;
    const sqSize = (this.#aqa & 0xfff) + 1;
    const cqSize = ((this.#aqa >>> 16) & 0xfff) + 1;
    const pageShift = (this.#cc >> 7) & 0xf;
    const commandSet = (this.#cc >> 4) & 7;
    const arbitration = (this.#cc >> 11) & 7;
    if (sqSize < 2 || cqSize < 2 || pageShift !== 0 || commandSet !== 0 || arbitration !== 0) {
      this.#fatal();
      return;
    }
    try {
      const sqGpa = this.#asqHigh * 2 ** 32 + this.#asqLow;
      const cqGpa = this.#acqHigh * 2 ** 32 + this.#acqLow;
      this.#queues.createAdmin(sqGpa, sqSize, cqGpa, cqSize);
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.#fatal();
      return;
    }
    this.#csts = R.CSTS_RDY;
  }

  /** Something that only a reset repairs (CSTS.CFS). */
  #fatal(): void {
    this.#badRequests++;
    this.#csts |= R.CSTS_CFS;
  }

  /** CC.EN went to 0: CSTS.RDY follows when no data moves any more (3.1.5). */
  #controllerReset(): void {
    this.#clear();
    this.#csts = R.CSTS_RDY;
    const generation = this.#generation;
    const finish = (): void => {
      if (generation !== this.#generation) return;
      this.#csts = 0;
      if (this.#cc & R.CC_EN) this.#enable();
    };
    if (this.requests.inFlight === 0) finish();
    else void this.requests.drain().then(finish);
  }

  /** Forgets queues, commands and events. */
  #clear(): void {
    this.#generation++;
    this.#queues.clear();
    this.#events.reset();
    this.#features.reset();
    this.#admin.namespaceChanged = false;
    this.#unsignalled.clear();
    for (const { cancel } of this.#coalescing.values()) cancel?.();
    this.#coalescing.clear();
    this.#interruptMask = 0;
    this.#awaitRoom(false);
    this.setIntx(false);
  }

  /** Shutdown notification: what was written is made durable first (7.6.2). */
  #shutDown(): void {
    this.#setShutdown(R.SHUTDOWN_OCCURRING);
    const generation = this.#generation;
    const complete = (): void => {
      if (generation === this.#generation) this.#setShutdown(R.SHUTDOWN_COMPLETE);
    };
    const { backend } = this.#namespace;
    if (backend.readOnly) complete();
    else this.requests.begin(backend.flush(), complete, complete);
  }

  #setShutdown(status: number): void {
    this.#csts = (this.#csts & ~(3 << R.CSTS_SHST_SHIFT)) | (status << R.CSTS_SHST_SHIFT);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Commands

  get #ready(): boolean {
    return (this.#csts & (R.CSTS_RDY | R.CSTS_CFS)) === R.CSTS_RDY && (this.#cc & R.CC_EN) !== 0;
  }

  #ringDoorbell(index: number, value: number): void {
    if (!this.#ready) return;
    const id = index >> 1;
    const isCompletion = (index & 1) !== 0;
    const queue = isCompletion ? this.#queues.completion.get(id) : this.#queues.submission.get(id);
    if (!queue) {
      this.#events.raise(R.EVENT_ERROR, R.EVENT_INVALID_DOORBELL_REGISTER);
      this.#badRequests++;
    } else if (!queue.ring(value)) {
      this.#events.raise(R.EVENT_ERROR, R.EVENT_INVALID_DOORBELL_VALUE);
      this.#badRequests++;
    } else if (isCompletion) {
      this.#guard(() => {
        const completion = this.#queues.completion.get(id);
        if (completion?.flush()) this.#signalLater(completion);
      });
      this.#updateLine();
    } else {
      this.#advance();
    }
  }

  /** Queue memory was checked when the queue was made: should it fail all the same, the controller is broken, not the machine. */
  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.#fatal();
    }
  }

  /** Takes commands while there are some and slots for them. */
  #advance(): void {
    this.#guard(() => {
      while (this.#ready && this.busMaster) {
        const fetched = this.#queues.take(this.#options.ioSlots - this.#queues.running);
        if (!fetched) return;
        this.#start(fetched);
      }
    });
  }

  #start({ queue, command }: Fetched): void {
    let outcome: number | typeof HELD | Promise<number>;
    try {
      if (command.flags & 3) throw new NvmeError(R.SC_INVALID_FIELD); // fused operations
      if (queue.id === 0) outcome = this.#admin.execute(command);
      else if (command.namespaceId !== NAMESPACE_ID) throw new NvmeError(R.SC_INVALID_NAMESPACE);
      else outcome = this.#namespace.execute(command).then(() => 0);
    } catch (error) {
      this.#complete(queue, command, this.#statusOf(error), 0);
      return;
    }
    if (outcome === HELD) {
      this.#finished(queue, command);
    } else if (typeof outcome === 'number') {
      this.#complete(queue, command, R.SC_SUCCESS, outcome);
    } else {
      const generation = this.#generation;
      const end = (status: number, result: number): void => {
        if (generation !== this.#generation) return;
        this.#complete(queue, command, status, result);
        this.#advance();
      };
      this.requests.begin(
        outcome,
        (result) => end(R.SC_SUCCESS, result),
        (error) => end(this.#statusOf(error), 0),
      );
    }
  }

  #statusOf(error: unknown): number {
    if (error instanceof NvmeError) return error.status;
    this.#badRequests++;
    if (error instanceof GuestAddressError) return R.SC_DATA_TRANSFER_ERROR;
    this.attachment.deviceError(error);
    return R.SC_DATA_TRANSFER_ERROR;
  }

  #finished(queue: SubmissionQueue, command: NvmeCommand): void {
    queue.running.delete(command);
    if (queue.running.size === 0) queue.whenIdle?.();
  }

  #complete(queue: SubmissionQueue, command: NvmeCommand, status: number, result: number): void {
    this.#commandsDone++;
    this.#finished(queue, command);
    if (status !== R.SC_SUCCESS) {
      const block = queue.id === 0 ? 0 : command.startBlock;
      const { id: commandId, namespaceId } = command;
      this.#health.failed({ queueId: queue.id, commandId, status, block, namespaceId });
    }
    this.#post(queue, command.id, status, result);
  }

  #post(queue: SubmissionQueue, commandId: number, status: number, result: number): void {
    const { completionQueue } = queue;
    this.#guard(() => {
      if (completionQueue.post(queue, commandId, status, result)) this.#signalLater(completionQueue);
    });
    if (completionQueue.isWaiting) this.#awaitRoom(true);
  }

  #completeEvent(commandId: number, result: number): void {
    const queue = this.#queues.submission.get(0);
    if (!queue) return;
    this.#post(queue, commandId, R.SC_SUCCESS, result);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Interrupts

  /** Completions of one turn share an interrupt. */
  #signalLater(queue: CompletionQueue): void {
    if (!queue.interrupts) return;
    this.#unsignalled.add(queue);
    if (this.#signalDue) return;
    this.#signalDue = true;
    queueMicrotask(() => {
      this.#signalDue = false;
      this.#signal();
    });
  }

  #signal(): void {
    const vectors = new Map<number, boolean>();
    for (const { vector, id } of this.#unsignalled) vectors.set(vector, vectors.get(vector) === true || id === 0);
    this.#unsignalled.clear();
    for (const [vector, isAdmin] of vectors) {
      if (isAdmin || !this.#coalesce(vector)) this.raiseMsix(vector);
    }
    this.#updateLine();
  }

  /** True when the interrupt waits for more completions or for its time. */
  #coalesce(vector: number): boolean {
    const threshold = this.#features.coalescing & 0xff;
    const time = this.#features.coalescing >> 8;
    if (threshold === 0 || time === 0 || this.#features.uncoalesced.has(vector)) return false;
    const state = this.#coalescing.get(vector) ?? { count: 0, cancel: undefined };
    this.#coalescing.set(vector, state);
    state.count++;
    if (state.count > threshold) {
      state.cancel?.();
      this.#coalescing.delete(vector);
      return false;
    }
    state.cancel ??= this.#clock.at(this.#clock.nowNs() + time * COALESCING_UNIT_NS, () => {
      this.#coalescing.delete(vector);
      this.raiseMsix(vector);
    });
    return true;
  }

  /** INTx is a level: completions that the host has not taken (7.5.1.1). */
  #updateLine(): void {
    let asserted = false;
    for (const queue of this.#queues.completion.values()) {
      const masked = queue.vector < 32 && (this.#interruptMask & (1 << queue.vector)) !== 0;
      if (queue.interrupts && !queue.isEmpty && !masked) asserted = true;
    }
    this.setIntx(asserted);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Life cycle

  /** The backend has another size now. */
  resized(): void {
    this.#admin.namespaceResized();
  }

  protected override resetDevice(): void {
    this.#clear();
    this.#health.reset();
    this.#cc = 0;
    this.#csts = 0;
    this.#aqa = this.#asqLow = this.#asqHigh = this.#acqLow = this.#acqHigh = 0;
  }

  protected override busMasterChanged(enabled: boolean): void {
    if (enabled) this.#advance();
  }

  /** Interrupts that wait for more completions go out now: nothing happens while the machine stands still. */
  protected override pauseDevice(): void {
    for (const [vector, { cancel }] of this.#coalescing) {
      cancel?.();
      this.raiseMsix(vector);
    }
    this.#coalescing.clear();
  }

  protected override closeDevice(): Promise<void> {
    return this.#namespace.backend.close();
  }

  protected override deviceCounters(): Counters {
    return {
      commands: this.#commandsDone,
      'bad requests': this.#badRequests,
      'failed commands': this.#health.errors,
      'backend errors': this.#namespace.backendErrors,
    };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return {
      cc: this.#cc,
      csts: this.#csts,
      interruptMask: this.#interruptMask >>> 0,
      aqa: this.#aqa,
      asq: [this.#asqLow, this.#asqHigh],
      acq: [this.#acqLow, this.#acqHigh],
      namespaceChanged: this.#admin.namespaceChanged,
      queues: this.#queues.save(),
      features: this.#features.save(),
      health: this.#health.save(),
      events: this.#events.save(),
    };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const cc = fields.integer('cc', R.CC_WRITABLE);
    const csts = fields.integer('csts', 0xf);
    const interruptMask = fields.integer('interruptMask', 0xffffffff);
    const aqa = fields.integer('aqa', 0x0fff0fff);
    const [asqLow = 0, asqHigh = 0] = fields.integers('asq', 2, 0xffffffff);
    const [acqLow = 0, acqHigh = 0] = fields.integers('acq', 2, 0xffffffff);
    const namespaceChanged = fields.flag('namespaceChanged');
    const restoreQueues = this.#queues.prepareRestore(fields.group('queues'), this.#options.maxQueues + 1);
    const restoreFeatures = this.#features.prepareRestore(fields.group('features'));
    const restoreHealth = this.#health.prepareRestore(fields.group('health'));
    const restoreEvents = this.#events.prepareRestore(fields.group('events'));
    return () => {
      this.#clear();
      this.#cc = cc;
      this.#csts = csts;
      this.#interruptMask = interruptMask | 0;
      this.#aqa = aqa;
      this.#asqLow = (asqLow & ~0xfff) >>> 0;
      this.#asqHigh = asqHigh;
      this.#acqLow = (acqLow & ~0xfff) >>> 0;
      this.#acqHigh = acqHigh;
      const fetched = restoreQueues();
      this.#awaitRoom([...this.#queues.completion.values()].some(({ isWaiting }) => isWaiting));
      restoreFeatures();
      restoreHealth();
      this.#admin.namespaceChanged = namespaceChanged;
      restoreEvents();
      // Commands that were on their way are done again: reads and writes of the same data.
      for (const one of fetched) this.#start(one);
      this.#advance();
      this.#updateLine();
    };
  }
}
