/**
 * The sending half of a TCP connection (RFC 9293, 3.8): bytes wait until the guest has acknowledged them, and are sent again when
 * they got lost. Loss is found by selective acknowledgements (RFC 6675) or, from a guest that sends none, duplicate ones (RFC 5681, RFC 6582),
 * and by time; a closed window is probed.
 */
import { sliceParts } from '../wire.ts';
import type { NatHost } from './host.ts';
import { SackScoreboard, type SequenceRange } from './tcp-scoreboard.ts';
import { sequenceAdd, sequenceDistance } from './tcp-segment.ts';
import { CongestionWindow, RoundTripTimer } from './tcp-timing.ts';

/** Short pieces of a stream are put together, so that a byte at a time does not make a list of a million. */
const JOINED_BYTES = 4096;
/** How long the rest of a read that filled a whole burst waits for the next read, which bulk brings within microseconds. */
const REST_WAITS_MS = 1;
const DUPLICATES_OF_A_LOSS = 3;
/** Timeouts in a row after which the guest counts as gone. */
const MAX_TIMEOUTS = 12;

export interface SenderOutput {
  /** Bulk has to wait; {@link TcpSender.transmit} is called when it need not. */
  readonly blocked: boolean;
  /** Largest payload of one frame: more than a segment where the guest's card cuts it. */
  readonly burstBytes: number;
  /** Beyond so many bytes in the queue the host's socket waits; below the half it goes on. */
  readonly bufferBytes: number;
  /** Sends payload from `sequence` on, the FIN behind it when `fin` is set. */
  emit(sequence: number, payload: readonly Uint8Array[], payloadBytes: number, fin: boolean): void;
  /** The queue became long (true) or short again. */
  hold(held: boolean): void;
  /** The guest has not answered for too long. */
  gaveUp(): void;
}

export class TcpSender {
  /** Segments sent again. */
  retransmissions = 0;
  /** Oldest sequence number that is not acknowledged, next one to send, and the one after the last that was ever sent. */
  #una: number;
  #next: number;
  #highest: number;
  /** Bytes from {@link #una} on. */
  #queue: Uint8Array[] = [];
  #queueBytes = 0;
  #finQueued = false;
  #finAcknowledged = false;
  #held = false;
  /** The guest's window in bytes, and the sequence numbers of the segment that told it. */
  #window = 0;
  #windowSequence = 0;
  #windowAcknowledgement = 0;
  readonly #congestion: CongestionWindow;
  readonly #roundTrip = new RoundTripTimer();
  #duplicates = 0;
  /** Highest sequence number when the loss was found; undefined outside of a recovery. */
  #recoverUntil: number | undefined;
  readonly #scoreboard: SackScoreboard;
  /** In a recovery by selective acknowledgements: the end of what was sent again (HighRxt of RFC 6675). */
  #resentTo: number | undefined;
  /** A segment whose round trip is measured (never one sent twice: RFC 6298, 3). */
  #timed: { readonly end: number; readonly sentMs: number } | undefined;
  #deadlineMs = Infinity;
  #cancelTimer: (() => void) | undefined;
  #timerAtMs = Infinity;
  #timeouts = 0;
  /** Ends the wait of a rest that is shorter than a burst; undefined when nothing waits. */
  #cancelRest: (() => void) | undefined;
  #closed = false;

  constructor(
    private readonly host: NatHost,
    private readonly output: SenderOutput,
    firstSequence: number,
    readonly segmentBytes: number,
  ) {
    this.#una = this.#next = this.#highest = firstSequence;
    this.#congestion = new CongestionWindow(segmentBytes);
    this.#scoreboard = new SackScoreboard(segmentBytes);
  }

  get nextSequence(): number {
    return this.#next;
  }

  get unacknowledged(): number {
    return this.#una;
  }

  get highestSequence(): number {
    return this.#highest;
  }

  get finAcknowledged(): boolean {
    return this.#finAcknowledged;
  }

  get queuedBytes(): number {
    return this.#queueBytes;
  }

  /** Takes bytes from the host; they are not changed any more. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#finQueued || this.#closed) return;
    const last = this.#queue.at(-1);
    if (last && last.length + bytes.length <= JOINED_BYTES) {
      const both = new Uint8Array(last.length + bytes.length);
      both.set(last);
      both.set(bytes, last.length);
      this.#queue[this.#queue.length - 1] = both;
    } else this.#queue.push(bytes);
    this.#queueBytes += bytes.length;
    this.#regulate();
    this.#keepRest(bytes.length);
    this.transmit();
  }

  /** A host's reads are a little longer than a burst: without this every other frame of bulk would carry a crumb. */
  #keepRest(readBytes: number): void {
    this.#cancelRest?.();
    this.#cancelRest = undefined;
    const { burstBytes } = this.output;
    if (readBytes < burstBytes || burstBytes === this.segmentBytes) return;
    this.#cancelRest = this.host.after(REST_WAITS_MS, () => {
      this.#cancelRest = undefined;
      this.transmit();
    });
  }

  /** No more bytes come. */
  finish(): void {
    if (this.#finQueued) return;
    this.#finQueued = true;
    this.transmit();
  }

  /** The guest's first window. Not scaled in a segment with SYN (RFC 7323, 2.2). */
  opened(window: number, sequence: number, acknowledgement: number): void {
    this.#window = window;
    this.#windowSequence = sequence;
    this.#windowAcknowledgement = acknowledgement;
  }

  get #inFlight(): number {
    return sequenceDistance(this.#next, this.#una);
  }

  /** Everything there is to send, the FIN counted. */
  get #total(): number {
    return this.#queueBytes + (this.#finQueued && !this.#finAcknowledged ? 1 : 0);
  }

  /** Bytes that fill the network now. */
  get #pipeBytes(): number {
    if (this.#resentTo === undefined) return this.#inFlight;
    return this.#scoreboard.pipeBytes(this.#una, this.#next, this.#resentTo);
  }

  /** Sends what windows and the link allow: what is lost first. */
  transmit(): void {
    if (this.#closed) return;
    this.#resendLost();
    while (!this.output.blocked) {
      const inFlight = this.#inFlight;
      const left = this.#total - inFlight;
      if (left <= 0) break;
      const allowed = Math.min(this.#window - inFlight, this.#congestion.bytes - this.#pipeBytes);
      const finLeft = this.#finQueued ? 1 : 0;
      const dataLeft = left - finLeft;
      // The FIN alone needs no window: a receiver that has closed it takes the end of the stream all the same.
      if (dataLeft > 0 && allowed <= 0) break;
      let size = Math.min(dataLeft, this.output.burstBytes, Math.max(allowed, 0));
      if (size === dataLeft && this.#cancelRest && finLeft === 0 && size < this.output.burstBytes) break;
      if (size < dataLeft) {
        // A window that is nearly closed is not used up in crumbs (RFC 9293, 3.8.6.2.1).
        if (size < this.segmentBytes && inFlight > 0) break;
        if (size > this.segmentBytes) size -= size % this.segmentBytes;
      }
      this.#emit(inFlight, size, finLeft === 1 && size === dataLeft);
    }
    this.#arm();
  }

  /** Fills holes, as many as the congestion window allows. */
  #resendLost(): void {
    while (this.#resentTo !== undefined && !this.output.blocked) {
      const allowed = this.#congestion.bytes - this.#pipeBytes;
      if (allowed < this.segmentBytes) return;
      const burst = Math.min(this.output.burstBytes, allowed - (allowed % this.segmentBytes));
      const lost = this.#scoreboard.nextLost(this.#una, this.#resentTo, burst);
      if (!lost) return;
      const [start, end] = lost;
      const offset = sequenceDistance(start, this.#una);
      // The FIN has a number behind the last byte, and no byte.
      const size = Math.min(sequenceDistance(end, start), this.#queueBytes - offset);
      if (size <= 0) return;
      this.#resentTo = end;
      this.#emit(offset, size, false);
    }
  }

  #emit(offset: number, size: number, fin: boolean): void {
    const sequence = sequenceAdd(this.#una, offset);
    const end = sequenceAdd(sequence, size + (fin ? 1 : 0));
    const fresh = sequenceDistance(end, this.#highest) > 0 && sequenceDistance(sequence, this.#highest) >= 0;
    if (fresh) this.#timed ??= { end, sentMs: this.host.nowMs() };
    else {
      this.retransmissions++;
      this.#timed = undefined;
    }
    if (sequenceDistance(end, this.#next) > 0) this.#next = end;
    if (sequenceDistance(end, this.#highest) > 0) this.#highest = end;
    this.output.emit(sequence, sliceParts(this.#queue, offset, offset + size), size, fin);
  }

  /**
   * An acknowledgement with the guest's scaled window. `pure` says that the segment had neither payload nor FIN, `sack` which blocks came
   * out of order. False: it acknowledges what was never sent.
   */
  acknowledge(
    sequence: number,
    acknowledgement: number,
    window: number,
    pure: boolean,
    sack: readonly SequenceRange[],
  ): boolean {
    const advance = sequenceDistance(acknowledgement, this.#una);
    if (sequenceDistance(acknowledgement, this.#highest) > 0) return false;
    const windowBefore = this.#window;
    if (advance >= 0 && this.#isNewer(sequence, acknowledgement)) {
      this.#window = window;
      this.#windowSequence = sequence;
      this.#windowAcknowledgement = acknowledgement;
    }
    // It lives.
    this.#timeouts = 0;
    if (advance > 0) this.#advance(acknowledgement, advance);
    const hole = sack.length > 0;
    if (hole && advance >= 0 && this.#scoreboard.add(sack, this.#una, this.#highest)) this.#heardOfHole();
    if (advance === 0 && pure && this.#inFlight > 0 && (hole || window === windowBefore)) this.#duplicate();
    else if (advance === 0 && this.#window > 0 && windowBefore === 0) {
      this.#roundTrip.progress();
      this.#deadlineMs = Infinity;
    }
    this.transmit();
    return true;
  }

  /** RFC 9293, 3.10.7.4: windows of old segments are not taken. */
  #isNewer(sequence: number, acknowledgement: number): boolean {
    const distance = sequenceDistance(sequence, this.#windowSequence);
    return distance > 0 || (distance === 0 && sequenceDistance(acknowledgement, this.#windowAcknowledgement) >= 0);
  }

  #advance(acknowledgement: number, count: number): void {
    if (this.#timed && sequenceDistance(acknowledgement, this.#timed.end) >= 0) {
      this.#roundTrip.measured(this.host.nowMs() - this.#timed.sentMs);
      this.#timed = undefined;
    }
    this.#roundTrip.progress();
    this.#deadlineMs = Infinity;
    this.#consume(count);
    this.#una = acknowledgement;
    if (sequenceDistance(this.#next, this.#una) < 0) this.#next = this.#una;
    this.#duplicates = 0;
    this.#scoreboard.advance(acknowledgement);
    if (this.#resentTo !== undefined && sequenceDistance(this.#resentTo, this.#una) < 0) this.#resentTo = this.#una;
    if (this.#recoverUntil === undefined) {
      this.#congestion.acknowledged(count);
    } else if (sequenceDistance(acknowledgement, this.#recoverUntil) >= 0) {
      this.#recoverUntil = undefined;
      this.#resentTo = undefined;
      this.#congestion.recovered();
    } else if (this.#resentTo === undefined) {
      // The next hole of the same window (RFC 6582, 3.2).
      this.#resendFirst();
    }
    this.#regulate();
  }

  #consume(count: number): void {
    let left = Math.min(count, this.#queueBytes);
    if (count > this.#queueBytes) this.#finAcknowledged = this.#finQueued;
    this.#queueBytes -= left;
    let whole = 0;
    for (let first = this.#queue[0]; first && left > 0; first = this.#queue[whole]) {
      if (first.length > left) {
        this.#queue[whole] = first.subarray(left);
        break;
      }
      left -= first.length;
      whole++;
    }
    if (whole > 0) this.#queue.splice(0, whole);
  }

  /** New blocks came: perhaps enough to know that the first segment is lost. */
  #heardOfHole(): void {
    if (this.#recoverUntil === undefined && this.#scoreboard.firstIsLost(this.#una)) this.#recover();
  }

  #duplicate(): void {
    this.#duplicates++;
    if (this.#recoverUntil !== undefined) {
      if (this.#resentTo === undefined) this.#congestion.inflate();
      return;
    }
    if (this.#duplicates === DUPLICATES_OF_A_LOSS) this.#recover();
  }

  /** A segment is lost: sends it again, and what else the guest's blocks show to be lost. */
  #recover(): void {
    this.#recoverUntil = this.#highest;
    const selective = !this.#scoreboard.isEmpty;
    this.#congestion.lost(this.#inFlight, selective);
    if (selective) this.#resentTo = sequenceAdd(this.#una, Math.min(this.segmentBytes, this.#queueBytes));
    this.#resendFirst();
  }

  #resendFirst(): void {
    const size = Math.min(this.segmentBytes, this.#queueBytes);
    const isAll = size === this.#queueBytes;
    const finSent = this.#finQueued && this.#inFlight > this.#queueBytes;
    if (this.#inFlight > 0) this.#emit(0, size, isAll && finSent);
    this.#deadlineMs = Infinity;
  }

  /** Sets the timer for what is under way, or for a window that stays closed. */
  #arm(): void {
    const waiting = this.#total > 0 && (this.#inFlight > 0 || this.#window === 0);
    if (!waiting) {
      this.#deadlineMs = Infinity;
      return;
    }
    const now = this.host.nowMs();
    if (this.#deadlineMs === Infinity) this.#deadlineMs = now + this.#roundTrip.timeoutMs;
    // A timer that fires too early sets itself anew: acknowledgements come by the thousand, timeouts do not.
    if (this.#deadlineMs < this.#timerAtMs) {
      this.#cancelTimer?.();
      this.#timerAtMs = this.#deadlineMs;
      this.#cancelTimer = this.host.after(this.#deadlineMs - now, this.#timer);
    }
  }

  readonly #timer = (): void => {
    this.#cancelTimer = undefined;
    this.#timerAtMs = Infinity;
    if (this.#closed || this.#deadlineMs === Infinity) return;
    if (this.host.nowMs() < this.#deadlineMs) {
      this.#arm();
      return;
    }
    this.#deadlineMs = Infinity;
    // The guest's ring is full or its machine paused: nothing could be lost, and nothing be sent.
    if (!this.output.blocked) this.#timedOut();
    this.#arm();
  };

  #timedOut(): void {
    this.#timeouts++;
    if (this.#timeouts > MAX_TIMEOUTS) {
      this.output.gaveUp();
      return;
    }
    this.#roundTrip.backOff();
    this.#timed = undefined;
    this.#duplicates = 0;
    this.#recoverUntil = undefined;
    this.#resentTo = undefined;
    this.#scoreboard.clear();
    if (this.#inFlight === 0 || this.#window === 0) {
      // A byte beyond the closed window: the answer tells the present one (RFC 9293, 3.8.6.1).
      this.#emit(0, Math.min(1, this.#queueBytes), this.#queueBytes === 0 && this.#finQueued);
      return;
    }
    this.#congestion.timedOut(this.#inFlight);
    this.#next = this.#una;
    this.transmit();
  }

  #regulate(): void {
    const held = this.#queueBytes > this.output.bufferBytes / (this.#held ? 2 : 1);
    if (held === this.#held) return;
    this.#held = held;
    this.output.hold(held);
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    this.#cancelRest?.();
    this.#queue = [];
    this.#queueBytes = 0;
  }
}
