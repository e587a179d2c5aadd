/** Submission and completion queues in guest memory (NVM Express 1.4, 4.1, 4.6). */
import { GuestAddressError, type GuestMemory } from '../bus/guest-memory.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { NvmeCommand } from './command.ts';
import { CQ_ENTRY_BYTES, SQ_ENTRY_BYTES } from './registers.ts';

/** A command on its way, with the queue that it came from. */
export interface Fetched {
  readonly queue: SubmissionQueue;
  readonly command: NvmeCommand;
}

export class SubmissionQueue {
  /** Next entry that the controller takes, and the host's tail. */
  head = 0;
  tail = 0;
  /** Commands taken from here that have not completed. */
  readonly running = new Set<NvmeCommand>();
  /** Called when the last of them has. */
  whenIdle: (() => void) | undefined;
  /** Being deleted: nothing more is taken. */
  deleting = false;

  constructor(
    private readonly memory: GuestMemory,
    readonly id: number,
    readonly gpa: number,
    readonly size: number,
    readonly completionQueue: CompletionQueue,
  ) {}

  get isEmpty(): boolean {
    return this.head === this.tail;
  }

  /** The host's doorbell; false when the value is no entry of the queue. */
  ring(tail: number): boolean {
    if (tail >= this.size) return false;
    this.tail = tail;
    return true;
  }

  /** Takes the next command; undefined when there is none. Throws GuestAddressError. */
  take(): NvmeCommand | undefined {
    if (this.isEmpty || this.deleting) return undefined;
    const bytes = new Uint8Array(SQ_ENTRY_BYTES);
    this.memory.read(this.gpa + this.head * SQ_ENTRY_BYTES, bytes);
    this.head = (this.head + 1) % this.size;
    const command = new NvmeCommand(bytes);
    this.running.add(command);
    return command;
  }

  save(): { [field: string]: StateValue } {
    return {
      id: this.id,
      gpa: this.gpa,
      size: this.size,
      completionQueue: this.completionQueue.id,
      head: this.head,
      tail: this.tail,
      running: [...this.running].map(({ bytes }) => ({ bytes: bytes.slice() })),
    };
  }
}

interface Completion {
  readonly queue: SubmissionQueue;
  readonly commandId: number;
  readonly status: number;
  readonly result: number;
}

export class CompletionQueue {
  /** The host's head, and the next entry that the controller fills. */
  head = 0;
  tail = 0;
  phase = 1;
  /** Submission queues that complete here. */
  users = 0;
  /** Completions that found the queue full, oldest first. */
  #waiting: Completion[] = [];

  constructor(
    private readonly memory: GuestMemory,
    readonly id: number,
    readonly gpa: number,
    readonly size: number,
    readonly vector: number,
    readonly interrupts: boolean,
  ) {}

  /** Completions wait for the host to make room. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  get isFull(): boolean {
    return (this.tail + 1) % this.size === this.head;
  }

  /** Entries that the host has not taken yet. */
  get isEmpty(): boolean {
    return this.head === this.tail;
  }

  /** The host's doorbell; false when the value is no entry of the queue. */
  ring(head: number): boolean {
    if (head >= this.size) return false;
    this.head = head;
    return true;
  }

  /** Posts a completion, or keeps it while the queue is full. True when something was posted. Throws GuestAddressError. */
  post(queue: SubmissionQueue, commandId: number, status: number, result: number): boolean {
    this.#waiting.push({ queue, commandId, status, result });
    return this.flush();
  }

  /** Posts what waits and fits. True when something was posted. */
  flush(): boolean {
    let posted = false;
    while (this.#waiting.length > 0 && !this.isFull) {
      const completion = this.#waiting.shift();
      if (!completion) break;
      this.#write(completion);
      posted = true;
    }
    return posted;
  }

  /** The driver has deleted a submission queue: it expects nothing of it any more, and the next queue of that number is another. */
  forget(queue: SubmissionQueue): void {
    this.#waiting = this.#waiting.filter((completion) => completion.queue !== queue);
  }

  #write({ queue, commandId, status, result }: Completion): void {
    const gpa = this.gpa + this.tail * CQ_ENTRY_BYTES;
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, result, true);
    view.setUint16(8, queue.head, true);
    view.setUint16(10, queue.id, true);
    this.memory.write(gpa, bytes);
    // The phase bit makes the entry the host's: it comes last.
    publish(this.memory, gpa + 12, (commandId | (((status << 1) | this.phase) << 16)) >>> 0);
    this.tail++;
    if (this.tail === this.size) {
      this.tail = 0;
      this.phase ^= 1;
    }
  }

  save(): { [field: string]: StateValue } {
    return {
      id: this.id,
      gpa: this.gpa,
      size: this.size,
      vector: this.vector,
      interrupts: this.interrupts,
      head: this.head,
      tail: this.tail,
      phase: this.phase,
      waiting: this.#waiting.map(({ queue, commandId, status, result }) => [queue.id, commandId, status, result]),
    };
  }

  /** A completion that waited when the snapshot was made. */
  restoreWaiting(queue: SubmissionQueue, commandId: number, status: number, result: number): void {
    this.#waiting.push({ queue, commandId, status, result });
  }
}

/** Stores a 32-bit word atomically: whatever was written before is visible to a vCPU that sees it. */
function publish(memory: GuestMemory, gpa: number, word: number): void {
  const [view] = memory.views(gpa, 4);
  if (!view || view.length !== 4) throw new GuestAddressError(gpa, 4);
  Atomics.store(new Uint32Array(view.buffer, view.byteOffset, 1), 0, word);
  memory.written(gpa, 4);
}

/** A queue's saved numbers, checked. */
export interface SavedQueue {
  readonly id: number;
  readonly gpa: number;
  readonly size: number;
  readonly head: number;
  readonly tail: number;
}

export function readSavedQueue(fields: StateFields, maxId: number): SavedQueue {
  const size = fields.integer('size', 0x10000);
  return {
    id: fields.integer('id', maxId),
    gpa: fields.integer('gpa', Number.MAX_SAFE_INTEGER),
    size,
    head: fields.integer('head', Math.max(size - 1, 0)),
    tail: fields.integer('tail', Math.max(size - 1, 0)),
  };
}
