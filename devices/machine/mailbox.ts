/**
 * The mailbox between a vCPU's thread and the devices' thread: a ring in shared memory, one per vCPU, in which the vCPU
 * leaves port and memory-mapped accesses.
 *
 * The vCPU waits for the tail to reach its head when it needs an answer (every read, and writes whose effect must be
 * there before the next instruction); other writes are posted and cost it no more than a store.
 *
 * Requests of all vCPUs are served in the order in which they were left, as accesses reach a real bus: a driver that posts a write under its
 * lock relies on the next holder of the lock, on another processor, finding it done. So each request draws a ticket, and
 * mailbox-set.ts serves them by it.
 */
import { HOST_DOORBELL, MAILBOX_TICKETS, R_MAILBOX } from '../../core-as/layout.ts';
import { allOnes, type AccessSize, type PortBus } from '../bus/port-bus.ts';
import type { MmioBus } from '../bus/mmio-bus.ts';
import type { PlacedRange } from '../bus/posted-ranges.ts';
import { vcpuBlock, type CoreState } from './core.ts';
import { NOT_YET } from './pager.ts';

/** u32: requests left by the vCPU, counted without wrapping. */
const MB_HEAD = 0x00;
/** u32: requests served by the devices' thread; the vCPU waits here. */
const MB_TAIL = 0x04;
/** u32: result of the last read. */
const MB_ANSWER = 0x08;
/**
 * u32: CONTROL_* in the low bits: what the vCPU's thread shall do when it leaves run(). Above them a number that every order
 * changes: a thread about to sleep on PAUSE notices RUN and PAUSE given in quick succession, and answers the second one too.
 */
const MB_CONTROL = 0x0c;
const CONTROL_MASK = 3;
/** u32: THREAD_*: what the vCPU's thread does. */
const MB_THREAD = 0x10;
const MB_RING = 0x100;
const ENTRY_BYTES = 32;
const ENTRIES = 128;
/** One bit per I/O port: writes to it need no answer. Rewritten by the devices' thread when ranges move. */
const MB_POSTED_PORTS = 0x2000;
/**
 * u32: how many ranges of memory have posted writes; then, from 8 bytes on, first and end address of each as f64. The end of a quiet one is negative.
 */
const MB_POSTED_MMIO = 0x1200;
const POSTED_MMIO_ENTRY_BYTES = 16;
/** The count is in the low bits; above it a number that every change of the table changes. */
const POSTED_COUNT_MASK = 0xff;
const MAX_POSTED_MMIO = (MB_POSTED_PORTS - MB_POSTED_MMIO - 8) / POSTED_MMIO_ENTRY_BYTES;

/**
 * Looks at the tail before a vCPU that waits for an answer lets its thread sleep: some tens of microseconds, in which most answers come. Putting a thread to sleep
 * and waking it takes longer.
 */
const LOOKS = 4000;
/** After looking in vain, a vCPU sleeps at once for so many answers, twice as many each time: the other thread has no processor to run on. */
const MAX_BLIND_WAITS = 64;

// Offsets in an entry.
const ENTRY_KIND = 0;
const ENTRY_SIZE = 4;
const ENTRY_ADDRESS = 8;
const ENTRY_VALUE = 16;
const ENTRY_TICKET = 24;

const KIND_PORT_READ = 1;
const KIND_PORT_WRITE = 2;
const KIND_MMIO_READ = 3;
const KIND_MMIO_WRITE = 4;
const KIND_NOTE = 5;
const KIND_CHUNK = 6;

/** What becomes of a write: the vCPU waits for it, or leaves it, or leaves it without waking the devices' thread. */
const ANSWERED = 0;
const POSTED = 1;
const QUIET = 2;

export const CONTROL_RUN = 0;
export const CONTROL_PAUSE = 1;
export const CONTROL_QUIT = 2;

export const THREAD_STARTING = 0;
export const THREAD_RUNNING = 1;
/** Left run() because it was asked to, or because the machine stops; waits for CONTROL_RUN or CONTROL_QUIT. */
export const THREAD_STOPPED = 2;
export const THREAD_GONE = 3;

function index(vcpu: number, offset: number): number {
  return (vcpuBlock(vcpu) + R_MAILBOX + offset) >> 2;
}

/** Wakes the devices' thread. */
export function ringHostDoorbell(state: CoreState): void {
  Atomics.add(state.i32, HOST_DOORBELL >> 2, 1);
  Atomics.notify(state.i32, HOST_DOORBELL >> 2);
}

/** The vCPU thread's end. Its methods block; never call them on the devices' thread. */
export class MailboxClient {
  readonly #state: CoreState;
  readonly #head: number;
  readonly #tail: number;
  readonly #ring: number;
  /** Answers to sleep for without looking, and how many it was the last time. */
  #blindWaits = 0;
  #blindness = 0;

  constructor(
    state: CoreState,
    private readonly vcpu: number,
  ) {
    this.#state = state;
    this.#head = index(vcpu, MB_HEAD);
    this.#tail = index(vcpu, MB_TAIL);
    this.#ring = vcpuBlock(vcpu) + R_MAILBOX + MB_RING;
  }

  /** Leaves a request; {@link ringHostDoorbell} says that it is there. */
  #leave(kind: number, size: number, address: number, value: number): void {
    const { i32, data } = this.#state;
    const head = Atomics.load(i32, this.#head);
    for (;;) {
      const tail = Atomics.load(i32, this.#tail);
      if (((head - tail) | 0) < ENTRIES) break;
      // All of them may be quiet ones.
      ringHostDoorbell(this.#state);
      Atomics.wait(i32, this.#tail, tail);
    }
    const entry = this.#ring + (head & (ENTRIES - 1)) * ENTRY_BYTES;
    data.setUint32(entry + ENTRY_KIND, kind, true);
    data.setUint32(entry + ENTRY_SIZE, size, true);
    data.setFloat64(entry + ENTRY_ADDRESS, address, true);
    data.setFloat64(entry + ENTRY_VALUE, value, true);
    // Drawn before the request can be seen: what other vCPUs leave once they know of it has a later one.
    data.setInt32(entry + ENTRY_TICKET, Atomics.add(i32, MAILBOX_TICKETS >> 2, 1), true);
    Atomics.store(i32, this.#head, (head + 1) | 0);
  }

  #post(kind: number, size: number, address: number, value: number): void {
    this.#leave(kind, size, address, value);
    ringHostDoorbell(this.#state);
  }

  #waitServed(): void {
    const { i32 } = this.#state;
    const head = Atomics.load(i32, this.#head);
    if (this.#blindWaits > 0) {
      this.#blindWaits--;
    } else {
      for (let look = 0; look < LOOKS; look++) {
        if (Atomics.load(i32, this.#tail) !== head) continue;
        this.#blindness = 0;
        return;
      }
      this.#blindness = Math.min(2 * this.#blindness + 1, MAX_BLIND_WAITS);
      this.#blindWaits = this.#blindness;
    }
    for (;;) {
      const tail = Atomics.load(i32, this.#tail);
      if (tail === head) return;
      Atomics.wait(i32, this.#tail, tail);
    }
  }

  #call(kind: number, size: number, address: number): number {
    this.#post(kind, size, address, 0);
    this.#waitServed();
    return Atomics.load(this.#state.i32, index(this.vcpu, MB_ANSWER)) >>> 0;
  }

  portRead(port: number, size: number): number {
    return this.#call(KIND_PORT_READ, size, port);
  }

  portWrite(port: number, size: number, value: number): void {
    this.#post(KIND_PORT_WRITE, size, port, value >>> 0);
    const bits = this.#state.u8[vcpuBlock(this.vcpu) + R_MAILBOX + MB_POSTED_PORTS + ((port & 0xffff) >> 3)] ?? 0;
    if ((bits & (1 << (port & 7))) === 0) this.#waitServed();
  }

  mmioRead(gpa: number, size: number): number {
    return this.#call(KIND_MMIO_READ, size, gpa);
  }

  mmioWrite(gpa: number, size: number, value: number): void {
    this.#leave(KIND_MMIO_WRITE, size, gpa, value >>> 0);
    // Looked up when the request is there: a device that wants to be woken again finds every request that was left quietly before.
    const how = this.#postedMmio(gpa);
    if (how === QUIET) return;
    ringHostDoorbell(this.#state);
    // A level-triggered interrupt that a write acknowledges must be gone before the EOI, so only doorbells are posted.
    if (how === ANSWERED) this.#waitServed();
  }

  #postedMmio(gpa: number): typeof ANSWERED | typeof POSTED | typeof QUIET {
    const { data, i32 } = this.#state;
    const table = vcpuBlock(this.vcpu) + R_MAILBOX + MB_POSTED_MMIO;
    const version = Atomics.load(i32, table >> 2);
    const count = version & POSTED_COUNT_MASK;
    let how: typeof ANSWERED | typeof POSTED | typeof QUIET = ANSWERED;
    for (let entry = table + 8; entry < table + 8 + count * POSTED_MMIO_ENTRY_BYTES; entry += POSTED_MMIO_ENTRY_BYTES) {
      const end = data.getFloat64(entry + 8, true);
      if (gpa >= data.getFloat64(entry, true) && gpa < Math.abs(end)) {
        how = end < 0 ? QUIET : POSTED;
        break;
      }
    }
    // Of a table that is being changed nothing holds.
    return Atomics.load(i32, table >> 2) === version ? how : ANSWERED;
  }

  chunk(index: number): number {
    return this.#call(KIND_CHUNK, 4, index);
  }

  note(note: number, a: number, b: number): void {
    this.#post(KIND_NOTE, note, a, b);
  }

  /** Asks this thread itself to pause, unless it has been told to quit. */
  park(): void {
    const word = index(this.vcpu, MB_CONTROL);
    const order = Atomics.load(this.#state.i32, word);
    // Any order given meanwhile is newer than this wish.
    if ((order & CONTROL_MASK) === CONTROL_RUN) {
      Atomics.compareExchange(this.#state.i32, word, order, (order & ~CONTROL_MASK) | CONTROL_PAUSE);
    }
  }

  /** Sleeps, and says so, until the control word is something else than PAUSE; returns it. */
  waitWhilePaused(): number {
    const word = index(this.vcpu, MB_CONTROL);
    for (;;) {
      const order = Atomics.load(this.#state.i32, word);
      if ((order & CONTROL_MASK) !== CONTROL_PAUSE) return order & CONTROL_MASK;
      this.setThreadState(THREAD_STOPPED);
      Atomics.wait(this.#state.i32, word, order);
    }
  }

  /** Says what this thread does and wakes the devices' thread to hear it. */
  setThreadState(threadState: number): void {
    Atomics.store(this.#state.i32, index(this.vcpu, MB_THREAD), threadState);
    ringHostDoorbell(this.#state);
  }
}

/** What the devices' thread does with requests. */
export interface MailboxTarget {
  readonly ports: PortBus;
  readonly mmio: MmioBus;
  note(vcpu: number, note: number, a: number, b: number): void;
  /** Linear address of a chunk of guest memory, which is brought in (Pager.chunk); 0: there is no room; NOT_YET: later. */
  chunk(index: number, vcpu: number): number;
  /** A device threw: a bug of the device, never the guest's to see. */
  deviceError(error: unknown): void;
  /** A device is busy with a reset: nothing is served meanwhile. */
  stalled(): boolean;
  /** A vCPU has read a register, for which it waited: it may well read another one. */
  answered?(): void;
}

function accessSize(size: number): AccessSize {
  return size === 4 || size === 2 ? size : 1;
}

/** The devices' thread's end for one vCPU. */
export class MailboxServer {
  readonly #ring: number;
  /** Requests served, as MB_TAIL says, and requests seen beyond them. */
  #tail = 0;
  #seen = 0;
  /** The oldest request has to wait until other vCPUs have got on. */
  #deferred = false;

  constructor(
    private readonly state: CoreState,
    private readonly vcpu: number,
    private readonly target: MailboxTarget,
  ) {
    this.#ring = vcpuBlock(vcpu) + R_MAILBOX + MB_RING;
  }

  /** Sees what is waiting, at most a ring full. */
  look(): void {
    const { i32 } = this.state;
    this.#tail = Atomics.load(i32, index(this.vcpu, MB_TAIL));
    this.#deferred = false;
    this.#seen = Math.min((Atomics.load(i32, index(this.vcpu, MB_HEAD)) - this.#tail) >>> 0, ENTRIES);
  }

  /** Ticket of the oldest request seen and not served; undefined when there is none that can be served now. */
  get ticket(): number | undefined {
    return this.#seen > 0 && !this.#deferred ? this.state.data.getInt32(this.#oldest + ENTRY_TICKET, true) : undefined;
  }

  get #oldest(): number {
    return this.#ring + (this.#tail & (ENTRIES - 1)) * ENTRY_BYTES;
  }

  /** Serves the oldest request seen. False: it cannot be served before other vCPUs have got on. */
  serveOldest(): boolean {
    const { i32 } = this.state;
    const tailWord = index(this.vcpu, MB_TAIL);
    this.#serve(this.#oldest);
    if (this.#deferred) return false;
    this.#seen--;
    this.#tail = (this.#tail + 1) | 0;
    Atomics.store(i32, tailWord, this.#tail);
    Atomics.notify(i32, tailWord);
    return true;
  }

  #serve(entry: number): void {
    const { data } = this.state;
    const kind = data.getUint32(entry + ENTRY_KIND, true);
    const size = data.getUint32(entry + ENTRY_SIZE, true);
    const address = data.getFloat64(entry + ENTRY_ADDRESS, true);
    const value = data.getFloat64(entry + ENTRY_VALUE, true);
    try {
      switch (kind) {
        case KIND_PORT_READ:
          this.#answer(this.target.ports.read(address, accessSize(size), this.vcpu));
          this.target.answered?.();
          break;
        case KIND_PORT_WRITE:
          this.target.ports.write(address, accessSize(size), value, this.vcpu);
          break;
        case KIND_MMIO_READ:
          this.#answer(this.target.mmio.read(address, accessSize(size)));
          this.target.answered?.();
          break;
        case KIND_MMIO_WRITE:
          this.target.mmio.write(address, accessSize(size), value);
          break;
        case KIND_CHUNK: {
          const linear = this.target.chunk(address, this.vcpu);
          this.#deferred = linear === NOT_YET;
          this.#answer(linear);
          break;
        }
        case KIND_NOTE:
          this.target.note(this.vcpu, size, address, value);
          break;
      }
    } catch (error) {
      this.#answer(kind === KIND_CHUNK ? 0 : allOnes(accessSize(size)));
      this.target.deviceError(error);
    }
  }

  #answer(value: number): void {
    Atomics.store(this.state.i32, index(this.vcpu, MB_ANSWER), value | 0);
  }

  setControl(control: number): void {
    const word = index(this.vcpu, MB_CONTROL);
    for (;;) {
      const order = Atomics.load(this.state.i32, word);
      const next = ((order & ~CONTROL_MASK) + CONTROL_MASK + 1) | control | 0;
      if (Atomics.compareExchange(this.state.i32, word, order, next) === order) break;
    }
    Atomics.notify(this.state.i32, word);
  }

  /** The vCPU's thread is about to be started or resumed: what it said before no longer holds. */
  expectStart(): void {
    Atomics.store(this.state.i32, index(this.vcpu, MB_THREAD), THREAD_STARTING);
  }

  /** The vCPU's thread died. */
  markGone(): void {
    Atomics.store(this.state.i32, index(this.vcpu, MB_THREAD), THREAD_GONE);
  }

  get threadState(): number {
    return Atomics.load(this.state.i32, index(this.vcpu, MB_THREAD));
  }

  /** Writes to these ranges of memory need no answer from now on, and quiet ones do not wake the devices' thread. Ranges beyond the table's room are not posted. */
  setPostedMmio(ranges: readonly PlacedRange[]): void {
    const table = vcpuBlock(this.vcpu) + R_MAILBOX + MB_POSTED_MMIO;
    const placed = ranges.slice(0, MAX_POSTED_MMIO);
    const version = (Atomics.load(this.state.i32, table >> 2) & ~POSTED_COUNT_MASK) + POSTED_COUNT_MASK + 1;
    // The vCPU sees no range rather than a half-written one.
    Atomics.store(this.state.i32, table >> 2, version);
    for (const [index, { first, lengthBytes, quiet }] of placed.entries()) {
      const end = first + lengthBytes;
      this.state.setF64(table + 8 + index * POSTED_MMIO_ENTRY_BYTES, first);
      this.state.setF64(table + 16 + index * POSTED_MMIO_ENTRY_BYTES, quiet ? -end : end);
    }
    Atomics.store(this.state.i32, table >> 2, version | placed.length);
  }

  /** Writes to ports [first, first + count) need no answer from now on, or do again. */
  setPostedPorts(first: number, count: number, posted: boolean): void {
    const base = vcpuBlock(this.vcpu) + R_MAILBOX + MB_POSTED_PORTS;
    for (let port = first; port < Math.min(first + count, 0x10000); port++) {
      const at = base + (port >> 3);
      const bits = this.state.u8[at] ?? 0;
      this.state.u8[at] = posted ? bits | (1 << (port & 7)) : bits & ~(1 << (port & 7));
    }
  }
}
