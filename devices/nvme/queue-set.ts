/** All queues of a controller: creating and deleting them, doorbells, and taking commands from them in turn. */
import type { GuestMemory } from '../bus/guest-memory.ts';
import { StateFields } from '../platform/state-fields.ts';
import { SnapshotError, type StateValue } from '../snapshot.ts';
import { NvmeCommand, NvmeError } from './command.ts';
import { CompletionQueue, readSavedQueue, SubmissionQueue, type Fetched } from './queues.ts';
import * as R from './registers.ts';

/** Most commands that a snapshot holds of one queue. */
const MAX_SAVED_COMMANDS = 0x10000;

export class QueueSet {
  readonly submission = new Map<number, SubmissionQueue>();
  readonly completion = new Map<number, CompletionQueue>();
  /** The queue that is asked first next time. */
  #turn = 0;

  constructor(
    private readonly memory: GuestMemory,
    private readonly maxQueues: number,
    private readonly maxEntries: number,
  ) {}

  /** The admin queues. Throws GuestAddressError when they are not in RAM. */
  createAdmin(sqGpa: number, sqSize: number, cqGpa: number, cqSize: number): void {
    this.clear();
    this.#addCompletion(0, cqGpa, cqSize, 0, true);
    this.#addSubmission(0, sqGpa, sqSize, 0);
  }

  clear(): void {
    // Who waits to delete a queue waits no longer: its commands complete nowhere now.
    for (const { whenIdle } of this.submission.values()) whenIdle?.();
    this.submission.clear();
    this.completion.clear();
    this.#turn = 0;
  }

  #addCompletion(id: number, gpa: number, size: number, vector: number, interrupts: boolean): CompletionQueue {
    this.memory.views(gpa, size * R.CQ_ENTRY_BYTES);
    const queue = new CompletionQueue(this.memory, id, gpa, size, vector, interrupts);
    this.completion.set(id, queue);
    return queue;
  }

  #addSubmission(id: number, gpa: number, size: number, completionId: number): SubmissionQueue {
    const completion = this.completion.get(completionId);
    if (!completion) throw new NvmeError(R.SC_CQ_INVALID);
    this.memory.views(gpa, size * R.SQ_ENTRY_BYTES);
    const queue = new SubmissionQueue(this.memory, id, gpa, size, completion);
    this.submission.set(id, queue);
    completion.users++;
    return queue;
  }

  #checkNew(command: NvmeCommand, existing: ReadonlyMap<number, unknown>): { id: number; size: number } {
    const id = command.dword(10) & 0xffff;
    const size = (command.dword(10) >>> 16) + 1;
    if (id === 0 || id > this.maxQueues || existing.has(id)) throw new NvmeError(R.SC_INVALID_QUEUE_ID);
    if (size < 2 || size > this.maxEntries) throw new NvmeError(R.SC_INVALID_QUEUE_SIZE);
    // CAP.CQR: queues are physically contiguous.
    if ((command.dword(11) & 1) === 0) throw new NvmeError(R.SC_INVALID_FIELD);
    if (command.prp1 % R.PAGE_BYTES !== 0) throw new NvmeError(R.SC_INVALID_PRP_OFFSET);
    return { id, size };
  }

  createCompletion(command: NvmeCommand, vectors: number): void {
    const { id, size } = this.#checkNew(command, this.completion);
    const vector = command.dword(11) >>> 16;
    if (vector >= vectors) throw new NvmeError(R.SC_INVALID_INTERRUPT_VECTOR);
    this.#addCompletion(id, command.prp1, size, vector, (command.dword(11) & 2) !== 0);
  }

  createSubmission(command: NvmeCommand): void {
    const { id, size } = this.#checkNew(command, this.submission);
    const completionId = command.dword(11) >>> 16;
    if (completionId === 0 || completionId > this.maxQueues) throw new NvmeError(R.SC_INVALID_QUEUE_ID);
    this.#addSubmission(id, command.prp1, size, completionId);
  }

  deleteCompletion(command: NvmeCommand): void {
    const id = command.dword(10) & 0xffff;
    const queue = this.completion.get(id);
    if (id === 0 || !queue) throw new NvmeError(R.SC_INVALID_QUEUE_ID);
    if (queue.users > 0) throw new NvmeError(R.SC_INVALID_QUEUE_DELETION);
    this.completion.delete(id);
  }

  /** Takes nothing more from a submission queue; resolves when what was taken has completed, and the queue is gone. */
  async deleteSubmission(command: NvmeCommand): Promise<void> {
    const id = command.dword(10) & 0xffff;
    const queue = this.submission.get(id);
    if (id === 0 || !queue || queue.deleting) throw new NvmeError(R.SC_INVALID_QUEUE_ID);
    queue.deleting = true;
    if (queue.running.size > 0) await new Promise<void>((resolve) => (queue.whenIdle = resolve));
    if (this.submission.get(id) !== queue) return;
    this.submission.delete(id);
    queue.completionQueue.forget(queue);
    queue.completionQueue.users--;
  }

  /** Commands of I/O queues that are on their way. */
  get running(): number {
    let count = 0;
    for (const [id, queue] of this.submission) if (id !== 0) count += queue.running.size;
    return count;
  }

  /** Takes a command: of the admin queue first, then one of each I/O queue in turn while there are slots. Throws GuestAddressError. */
  take(freeSlots: number): Fetched | undefined {
    const admin = this.submission.get(0);
    const urgent = admin?.take();
    if (admin && urgent) return { queue: admin, command: urgent };
    if (freeSlots <= 0) return undefined;
    const ids = [...this.submission.keys()].filter((id) => id !== 0).sort((a, b) => a - b);
    const from = ids.findIndex((id) => id >= this.#turn);
    const order = from <= 0 ? ids : [...ids.slice(from), ...ids.slice(0, from)];
    for (const id of order) {
      const queue = this.submission.get(id);
      const command = queue?.take();
      if (!queue || !command) continue;
      this.#turn = id + 1;
      return { queue, command };
    }
    return undefined;
  }

  save(): { [field: string]: StateValue } {
    return {
      completion: [...this.completion.values()].map((queue) => queue.save()),
      submission: [...this.submission.values()].map((queue) => queue.save()),
    };
  }

  /** Checks the saved queues; the function returned builds them and gives back the commands that were on their way. */
  prepareRestore(fields: StateFields, vectors: number): () => Fetched[] {
    const completion = fields.groupList('completion', this.maxQueues + 1).map((group) => ({
      ...readSavedQueue(group, this.maxQueues),
      vector: group.integer('vector', vectors - 1),
      interrupts: group.flag('interrupts'),
      phase: group.integer('phase', 1),
      waiting: group.integerLists('waiting', MAX_SAVED_COMMANDS, 4, 0xffffffff),
    }));
    const submission = fields.groupList('submission', this.maxQueues + 1).map((group) => ({
      ...readSavedQueue(group, this.maxQueues),
      completionQueue: group.integer('completionQueue', this.maxQueues),
      running: group.groupList('running', MAX_SAVED_COMMANDS).map((entry) => entry.bytes('bytes', R.SQ_ENTRY_BYTES)),
    }));
    for (const { gpa, size } of completion) this.#checkPlace(gpa, size * R.CQ_ENTRY_BYTES, size);
    for (const { gpa, size } of submission) this.#checkPlace(gpa, size * R.SQ_ENTRY_BYTES, size);
    const known = new Set(completion.map(({ id }) => id));
    if (submission.some(({ completionQueue }) => !known.has(completionQueue))) {
      throw new SnapshotError('nvme: a submission queue has no completion queue');
    }
    return () => {
      this.clear();
      const fetched: Fetched[] = [];
      for (const { id, gpa, size, vector, interrupts, head, tail, phase } of completion) {
        Object.assign(this.#addCompletion(id, gpa, size, vector, interrupts), { head, tail, phase });
      }
      for (const { id, gpa, size, completionQueue, head, tail, running } of submission) {
        const queue = this.#addSubmission(id, gpa, size, completionQueue);
        Object.assign(queue, { head, tail });
        for (const bytes of running) {
          const command = new NvmeCommand(bytes.slice());
          queue.running.add(command);
          fetched.push({ queue, command });
        }
      }
      for (const { id, waiting } of completion) {
        for (const [from = 0, commandId = 0, status = 0, result = 0] of waiting) {
          const queue = this.submission.get(from);
          if (queue) this.completion.get(id)?.restoreWaiting(queue, commandId & 0xffff, status & 0x7fff, result);
        }
      }
      return fetched;
    };
  }

  #checkPlace(gpa: number, lengthBytes: number, size: number): void {
    const fits = size >= 2 && size <= Math.max(this.maxEntries, 4096) && gpa % R.PAGE_BYTES === 0;
    if (!fits || !this.memory.contains(gpa, lengthBytes))
      throw new SnapshotError('nvme: a queue is not in guest memory');
  }
}
