/** The interrupter: its event ring and the interrupt that tells of events (xHCI 1.2, 4.9.4, 4.17 and 5.5.2). */
import type { GuestMemory } from '../../bus/guest-memory.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import * as R from './registers.ts';
import { address } from './trb.ts';

/** Sizes of a segment in TRBs that the specification allows (6.5). */
const MIN_SEGMENT_TRBS = 16;
const MAX_SEGMENT_TRBS = 4096;

const WORDS = ['iman', 'imod', 'erstsz', 'erstbaLow', 'erstbaHigh', 'erdpLow', 'erdpHigh'] as const;

export class EventRing {
  /** Events that found no room or no memory. */
  lostEvents = 0;
  #iman = 0;
  #imod = 0;
  #erstsz = 0;
  #erstba: [low: number, high: number] = [0, 0];
  #erdp: [low: number, high: number] = [0, 0];
  /** The one segment, read when ERSTBA was written; 0 TRBs: there is none. */
  #base = 0;
  #trbs = 0;
  #enqueue = 0;
  #cycle = 1;

  constructor(
    private readonly memory: GuestMemory,
    /** Bus mastering is on. */
    private readonly mayAccess: () => boolean,
    /** An interrupt is due (IP became 1), or was acknowledged. */
    private readonly onPending: (pending: boolean) => void,
  ) {}

  /** The interrupt is pending and enabled. */
  get asserted(): boolean {
    return (this.#iman & (R.IMAN_PENDING | R.IMAN_ENABLE)) === (R.IMAN_PENDING | R.IMAN_ENABLE);
  }

  read(register: number): number {
    switch (register) {
      case R.IMAN:
        return this.#iman;
      case R.IMOD:
        return this.#imod;
      case R.ERSTSZ:
        return this.#erstsz;
      case R.ERSTBA:
        return this.#erstba[0];
      case R.ERSTBA + 4:
        return this.#erstba[1];
      case R.ERDP:
        return this.#erdp[0];
      case R.ERDP + 4:
        return this.#erdp[1];
      default:
        return 0;
    }
  }

  write(register: number, value: number): void {
    switch (register) {
      case R.IMAN:
        this.#iman = (this.#iman & ~(value & R.IMAN_PENDING) & ~R.IMAN_ENABLE) | (value & R.IMAN_ENABLE);
        this.onPending(false);
        break;
      case R.IMOD:
        this.#imod = value;
        break;
      case R.ERSTSZ:
        this.#erstsz = value & 0xffff;
        break;
      case R.ERSTBA:
        this.#erstba[0] = (value & ~0x3f) >>> 0;
        // Drivers write the halves in either order, and 32-bit ones perhaps only this one.
        this.#loadSegment();
        break;
      case R.ERSTBA + 4:
        this.#erstba[1] = value;
        this.#loadSegment();
        break;
      case R.ERDP:
        // Busy stays unless it is written as 1.
        this.#erdp[0] = ((value & ~R.ERDP_BUSY) | (this.#erdp[0] & ~value & R.ERDP_BUSY)) >>> 0;
        if (value & R.ERDP_BUSY) this.#announceRest();
        break;
      case R.ERDP + 4:
        this.#erdp[1] = value;
        break;
    }
  }

  /** Reads the segment table's entry. One that the specification forbids counts as no ring. */
  #loadSegment(): void {
    this.#base = 0;
    this.#trbs = 0;
    this.#enqueue = 0;
    this.#cycle = 1;
    const table = address(...this.#erstba);
    if (this.#erstsz === 0 || !this.mayAccess() || !this.memory.contains(table, R.TRB_BYTES)) return;
    const entry = new Uint8Array(R.TRB_BYTES);
    this.memory.read(table, entry);
    const view = new DataView(entry.buffer);
    this.#setSegment(
      address((view.getUint32(0, true) & ~0x3f) >>> 0, view.getUint32(4, true)),
      view.getUint16(8, true),
    );
  }

  #setSegment(base: number, trbs: number): void {
    const allowed = trbs >= MIN_SEGMENT_TRBS && trbs <= MAX_SEGMENT_TRBS;
    const usable = allowed && this.memory.contains(base, trbs * R.TRB_BYTES);
    this.#trbs = usable ? trbs : 0;
    this.#base = usable ? base : 0;
  }

  /** Index that software reads next. */
  get #dequeue(): number {
    const offset = address((this.#erdp[0] & ~0xf) >>> 0, this.#erdp[1]) - this.#base;
    const index = Math.floor(offset / R.TRB_BYTES);
    return index >= 0 && index < this.#trbs ? index : 0;
  }

  /** Puts an event in the ring and interrupts. `control` holds the type and what belongs beside it, without the cycle bit. */
  post(low: number, high: number, status: number, control: number): void {
    if (this.#trbs === 0 || !this.mayAccess()) {
      this.lostEvents++;
      return;
    }
    const free = (this.#dequeue - this.#enqueue - 1 + this.#trbs) % this.#trbs;
    if (free === 0) {
      this.lostEvents++;
      return;
    }
    // The last place tells that the ring is full (4.9.4); this event is lost.
    if (free === 1) {
      this.lostEvents++;
      this.#write(0, 0, (R.EVENT_RING_FULL << 24) >>> 0, R.EVENT_HOST << 10);
    } else {
      this.#write(low, high, status, control);
    }
    this.#interrupt();
  }

  #write(low: number, high: number, status: number, control: number): void {
    const bytes = new Uint8Array(R.TRB_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, low, true);
    view.setUint32(4, high, true);
    view.setUint32(8, status, true);
    const gpa = this.#base + this.#enqueue * R.TRB_BYTES;
    // The cycle bit comes last: a driver may look at any time.
    this.memory.write(gpa, bytes.subarray(0, 12));
    this.memory.writeU32(gpa + 12, (control | this.#cycle) >>> 0);
    this.#enqueue++;
    if (this.#enqueue === this.#trbs) {
      this.#enqueue = 0;
      this.#cycle ^= 1;
    }
  }

  #interrupt(): void {
    // While software is busy with the ring it looks at new events without being told.
    if (this.#erdp[0] & R.ERDP_BUSY) return;
    this.#erdp[0] = (this.#erdp[0] | R.ERDP_BUSY) >>> 0;
    this.#iman |= R.IMAN_PENDING;
    this.onPending(true);
  }

  /** Software says it is done: events that came meanwhile are announced. */
  #announceRest(): void {
    if (this.#trbs > 0 && this.#dequeue !== this.#enqueue) this.#interrupt();
  }

  /** A message was sent: it acknowledges the interrupt (4.17.5). */
  messageSent(): void {
    this.#iman &= ~R.IMAN_PENDING;
  }

  reset(): void {
    this.#iman = 0;
    this.#imod = 0;
    this.#erstsz = 0;
    this.#erstba = [0, 0];
    this.#erdp = [0, 0];
    this.#base = 0;
    this.#trbs = 0;
    this.#enqueue = 0;
    this.#cycle = 1;
  }

  save(): { readonly [field: string]: StateValue } {
    return {
      iman: this.#iman,
      imod: this.#imod,
      erstsz: this.#erstsz,
      erstbaLow: this.#erstba[0],
      erstbaHigh: this.#erstba[1],
      erdpLow: this.#erdp[0],
      erdpHigh: this.#erdp[1],
      base: this.#base,
      trbs: this.#trbs,
      enqueue: this.#enqueue,
      cycle: this.#cycle,
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const words = WORDS.map((name) => fields.integer(name, 0xffffffff));
    const base = fields.integer('base', Number.MAX_SAFE_INTEGER);
    const trbs = fields.integer('trbs', MAX_SEGMENT_TRBS);
    const enqueue = fields.integer('enqueue', Math.max(0, trbs - 1));
    const cycle = fields.integer('cycle', 1);
    return () => {
      const [iman = 0, imod = 0, erstsz = 0, erstbaLow = 0, erstbaHigh = 0, erdpLow = 0, erdpHigh = 0] = words;
      this.#iman = iman & 3;
      this.#imod = imod;
      this.#erstsz = erstsz & 0xffff;
      this.#erstba = [erstbaLow, erstbaHigh];
      this.#erdp = [erdpLow, erdpHigh];
      // A state is trusted no more than a guest.
      this.#setSegment(base, trbs);
      this.#enqueue = this.#trbs === 0 ? 0 : enqueue;
      this.#cycle = cycle;
    };
  }
}
