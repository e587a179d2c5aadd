/**
 * One TCP connection between a guest and a stream of the host (RFC 9293, 3.3.2). Towards the guest this is a whole TCP endpoint; the
 * stream is a socket of the host, or a service of this network. Nothing is acknowledged that the stream does not hold, and the stream
 * is read no faster than the guest takes what comes.
 */
import type { IpAddress } from '../addresses.ts';
import type { ConnectFailure, HostStream, HostStreamEvents, NatHost } from './host.ts';
import { PROTOCOL_TCP } from './ip.ts';
import type { GuestLink, OutgoingPacket } from './link.ts';
import { RECEIVE_WINDOW_SHIFT, TcpReceiver } from './tcp-receiver.ts';
import * as T from './tcp-segment.ts';
import { TcpSender, type SenderOutput } from './tcp-sender.ts';

/** Without an MSS option (RFC 9293, 3.7.1). */
const DEFAULT_MSS = 536;
/** A guest that asks for segments of a byte asks for a million of them. */
const MIN_MSS = 88;
/** Payload of one frame that the guest's card cuts: a 64 KiB packet less all headers. */
const MAX_BURST_BYTES = 65_535 - 120;
/** How long an acknowledgement of little waits for data to go with it. */
const DELAYED_ACK_MS = 2;
/** After both ends: the last acknowledgement may have been lost. 2 MSL of a link as short as this. */
const TIME_WAIT_MS = 1000;
const MAX_HANDSHAKE_TRIES = 7;
const HANDSHAKE_RETRY_MS = 1000;

type State =
  /** The guest asked; the host's connection is being made. */
  | 'connecting'
  /** Our SYN is under way: in answer to the guest's, or to a connection from outside. */
  | 'synReceived'
  | 'synSent'
  | 'established'
  | 'timeWait'
  | 'closed';

export interface TcpEndpoints {
  readonly guest: IpAddress;
  readonly guestPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
}

export interface ConnectionOwner {
  readonly host: NatHost;
  readonly link: GuestLink;
  /** Bytes that a connection may hold in each direction now. */
  readonly bufferBytes: number;
  /** The handshake with the guest is complete. */
  established(): void;
  /** The connection is over; its key is free. */
  removed(connection: TcpConnection): void;
}

export class TcpConnection implements SenderOutput, HostStreamEvents {
  lastActiveMs: number;
  /** The handshake with the guest was completed. */
  wasEstablished = false;
  #state: State;
  #stream: HostStream | undefined;
  #streamEnded = false;
  #streamClosed = false;
  readonly #version: 4 | 6;
  #segmentBytes: number;
  readonly #ourSegmentBytes: number;
  #initialSequence: number;
  #sender: TcpSender | undefined;
  /** What came before there was a sender, although the stream was held. */
  #early: Uint8Array[] = [];
  #receiver: TcpReceiver | undefined;
  /** How far the guest's windows are scaled; ours are when it knows the option at all. */
  #guestShift: number | undefined;
  #sack = false;
  #handshakeTries = 0;
  #cancelHandshake: (() => void) | undefined;
  #cancelTimeWait: (() => void) | undefined;
  #cancelAck: (() => void) | undefined;
  /** Bytes that came since the last acknowledgement. */
  #unacknowledgedBytes = 0;
  #ackSoon = false;
  #waitingForLink = false;

  /** With a segment, the guest's SYN: a connection outwards. Without one: a connection into the guest. */
  constructor(
    private readonly owner: ConnectionOwner,
    readonly ends: TcpEndpoints,
    syn?: T.TcpSegment,
  ) {
    this.#version = ends.guest.length === 4 ? 4 : 6;
    this.#ourSegmentBytes = owner.link.transportBytes(this.#version) - T.TCP_HEADER_BYTES;
    this.#segmentBytes = Math.min(DEFAULT_MSS, this.#ourSegmentBytes);
    const random = new Uint8Array(4);
    owner.host.random(random);
    this.#initialSequence = new DataView(random.buffer).getUint32(0);
    this.lastActiveMs = owner.host.nowMs();
    this.#state = syn ? 'connecting' : 'synSent';
    if (syn) this.#agree(syn);
  }

  get over(): boolean {
    return this.#state === 'timeWait' || this.#state === 'closed';
  }

  /** Sequence number of the next new byte for the guest. */
  get nextSequence(): number {
    return this.#sender?.highestSequence ?? this.#initialSequence;
  }

  get retransmissions(): number {
    return this.#sender?.retransmissions ?? 0;
  }

  /** Gives the connection its stream. One into the guest is opened at once. */
  start(stream: HostStream): void {
    this.#stream = stream;
    if (this.#state === 'synSent') {
      stream.hold(true);
      this.#sendSyn();
    }
  }

  /** What the guest's SYN says about it. */
  #agree(syn: T.TcpSegment): void {
    const mss = Math.max(MIN_MSS, syn.mss ?? DEFAULT_MSS);
    this.#segmentBytes = Math.min(mss, this.#ourSegmentBytes);
    this.#guestShift = syn.windowShift;
    this.#sack = syn.sackPermitted;
    this.#receiver = new TcpReceiver(
      T.sequenceAdd(syn.sequence, 1),
      (bytes) => {
        this.#unacknowledgedBytes += bytes.length;
        if (this.#streamClosed) this.reset();
        else this.#stream?.write(bytes);
      },
      () => this.#stream?.end(),
    );
    this.#sender = new TcpSender(this.owner.host, this, T.sequenceAdd(this.#initialSequence, 1), this.#segmentBytes);
    this.#sender.opened(syn.window, syn.sequence, 0);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // The stream's events

  connected(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'synReceived';
    // What the peer says first waits for the guest's acknowledgement.
    this.#stream?.hold(true);
    this.#sendSyn();
  }

  data(bytes: Uint8Array): void {
    this.lastActiveMs = this.owner.host.nowMs();
    if (this.#sender) this.#sender.push(bytes);
    else this.#early.push(bytes);
  }

  ended(): void {
    if (this.#streamEnded) return;
    this.#streamEnded = true;
    if (this.#state === 'established') this.#sender?.finish();
  }

  sent(): void {
    if (this.#state !== 'established' || !this.#receiver) return;
    // A window that had become small has opened again: the guest would learn of it only by probing.
    const { advertised } = this.#receiver;
    const pending = this.#stream?.pendingBytes ?? 0;
    const possible = Math.max(0, this.owner.bufferBytes - pending);
    if (possible - advertised >= Math.min(this.owner.bufferBytes / 2, Math.max(2 * this.#segmentBytes, advertised))) {
      this.#sendAck();
    }
  }

  closed(failure: ConnectFailure | 'reset' | undefined): void {
    this.#streamClosed = true;
    if (this.over) return;
    if (this.#state === 'connecting' || failure !== undefined) this.reset();
    else this.ended();
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Segments of the guest

  /** A segment of this connection. */
  arrived(segment: T.TcpSegment): void {
    this.lastActiveMs = this.owner.host.nowMs();
    switch (this.#state) {
      case 'connecting':
        // The SYN again, while the host's connection takes its time.
        if (segment.flags & T.FLAG_RST) this.abort();
        return;
      case 'synSent':
        this.#arrivedSynSent(segment);
        return;
      case 'synReceived':
      case 'established':
      case 'timeWait':
        this.#arrivedSynchronized(segment);
        return;
      case 'closed':
    }
  }

  #arrivedSynSent(segment: T.TcpSegment): void {
    const acceptable =
      segment.flags & T.FLAG_ACK && segment.acknowledgement === T.sequenceAdd(this.#initialSequence, 1);
    if (!acceptable) return;
    if (segment.flags & T.FLAG_RST) {
      this.abort();
      return;
    }
    if (!(segment.flags & T.FLAG_SYN)) return;
    this.#agree(segment);
    this.#establish(segment, segment.window);
    this.#sendAck();
  }

  #arrivedSynchronized(segment: T.TcpSegment): void {
    const receiver = this.#receiver;
    const sender = this.#sender;
    if (!receiver || !sender) return;
    const { flags } = segment;
    if (flags & T.FLAG_RST) {
      if (receiver.inWindow(segment.sequence)) this.abort();
      return;
    }
    if (flags & T.FLAG_SYN) {
      // The guest's SYN again: our answer was lost. Any other is challenged (RFC 5961, 4.2).
      const again = T.sequenceAdd(segment.sequence, 1) === receiver.next;
      if (this.#state === 'synReceived' && again) this.#emitSyn();
      else this.#sendAck();
      return;
    }
    if (!(flags & T.FLAG_ACK)) return;
    const window = segment.window << (this.#guestShift ?? 0);
    if (this.#state === 'synReceived') {
      if (segment.acknowledgement !== T.sequenceAdd(this.#initialSequence, 1)) {
        this.owner.link.send(this.#packet(resetFor(segment, this.ends)));
        return;
      }
      this.#establish(segment, window);
    }
    const fin = (flags & T.FLAG_FIN) !== 0;
    const pure = segment.payload.length === 0 && !fin;
    if (!sender.acknowledge(segment.sequence, segment.acknowledgement, window, pure, segment.sack)) {
      this.#sendAck();
      return;
    }
    if (!pure) this.#takePayload(segment, fin, receiver);
    else if (T.sequenceDistance(segment.sequence, receiver.next) < 0) {
      // A keep-alive probe repeats the last byte (RFC 9293, 3.8.4).
      this.#sendAck();
    }
    this.#finishIfDone();
  }

  #takePayload(segment: T.TcpSegment, fin: boolean, receiver: TcpReceiver): void {
    const arrival = receiver.take(segment.sequence, segment.payload, fin);
    // Duplicate acknowledgements tell the guest of a hole at once (RFC 5681, 4.2).
    if (arrival !== 'inOrder' || receiver.finReceived) this.#sendAck();
    else if (this.#unacknowledgedBytes >= 2 * this.#segmentBytes) this.#ackSoonAfter();
    else this.#cancelAck ??= this.owner.host.after(DELAYED_ACK_MS, () => this.#sendAck());
  }

  /** One acknowledgement for all segments that the guest's card hands over in one go. */
  #ackSoonAfter(): void {
    if (this.#ackSoon) return;
    this.#ackSoon = true;
    void Promise.resolve().then(() => {
      this.#ackSoon = false;
      if (this.#unacknowledgedBytes > 0) this.#sendAck();
    });
  }

  #establish(segment: T.TcpSegment, window: number): void {
    this.#cancelHandshake?.();
    this.#cancelHandshake = undefined;
    this.#state = 'established';
    this.wasEstablished = true;
    this.#sender?.opened(window, segment.sequence, segment.acknowledgement);
    this.owner.established();
    for (const bytes of this.#early.splice(0)) this.#sender?.push(bytes);
    this.#stream?.hold(false);
    if (this.#streamEnded) this.#sender?.finish();
  }

  #finishIfDone(): void {
    if (this.#state !== 'established' || !this.#receiver?.finReceived || !this.#sender?.finAcknowledged) return;
    this.#state = 'timeWait';
    this.#sender.close();
    this.#cancelTimeWait = this.owner.host.after(TIME_WAIT_MS, () => this.#remove());
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Segments to the guest

  get blocked(): boolean {
    // What the peer says before the handshake is over waits; after both ends there is nothing to say.
    if (this.#state !== 'established') return true;
    const { link } = this.owner;
    if (!link.blocked) return false;
    if (!this.#waitingForLink) {
      this.#waitingForLink = true;
      link.whenReady(() => {
        this.#waitingForLink = false;
        this.#sender?.transmit();
      });
    }
    return true;
  }

  get bufferBytes(): number {
    return this.owner.bufferBytes;
  }

  get burstBytes(): number {
    if (!this.owner.link.canSegment(this.#version)) return this.#segmentBytes;
    return Math.max(this.#segmentBytes, MAX_BURST_BYTES - (MAX_BURST_BYTES % this.#segmentBytes));
  }

  emit(sequence: number, payload: readonly Uint8Array[], payloadBytes: number, fin: boolean): void {
    const flags = T.FLAG_ACK | (payloadBytes > 0 ? T.FLAG_PSH : 0) | (fin ? T.FLAG_FIN : 0);
    const segmentBytes = payloadBytes > this.#segmentBytes ? this.#segmentBytes : undefined;
    this.owner.link.send(this.#packet(this.#header(sequence, flags), payload, segmentBytes));
  }

  hold(held: boolean): void {
    this.#stream?.hold(held);
  }

  gaveUp(): void {
    this.reset();
  }

  #sendAck(): void {
    if (!this.#sender || this.#state === 'closed') return;
    this.owner.link.send(this.#packet(this.#header(this.#sender.highestSequence, T.FLAG_ACK)));
  }

  #header(sequence: number, flags: number): Uint8Array {
    this.#cancelAck?.();
    this.#cancelAck = undefined;
    this.#unacknowledgedBytes = 0;
    const receiver = this.#receiver;
    const window = receiver?.window(this.#stream?.pendingBytes ?? 0, this.owner.bufferBytes) ?? 0;
    const shift = this.#guestShift === undefined ? 0 : RECEIVE_WINDOW_SHIFT;
    return T.tcpHeader({
      sourcePort: this.ends.remotePort,
      destinationPort: this.ends.guestPort,
      sequence,
      acknowledgement: receiver?.next ?? 0,
      flags,
      window: Math.min(window >>> shift, 0xffff),
      sack: this.#sack ? receiver?.sackBlocks() : undefined,
    });
  }

  /** Every segment of the connection is made here: one shape of object, no copies of it. */
  #packet(header: Uint8Array, payload?: readonly Uint8Array[], segmentBytes?: number): OutgoingPacket {
    return {
      source: this.ends.remote,
      destination: this.ends.guest,
      protocol: PROTOCOL_TCP,
      header,
      payload,
      checksumOffset: T.TCP_CHECKSUM_OFFSET,
      segmentBytes,
    };
  }

  /** Our SYN, again and again until it is answered. */
  #sendSyn(): void {
    if (this.#handshakeTries++ > MAX_HANDSHAKE_TRIES) {
      this.abort();
      return;
    }
    this.#emitSyn();
    const delay = HANDSHAKE_RETRY_MS * 2 ** Math.min(this.#handshakeTries - 1, 4);
    this.#cancelHandshake = this.owner.host.after(delay, () => this.#sendSyn());
  }

  #emitSyn(): void {
    const answers = this.#state === 'synReceived';
    const knowsScale = !answers || this.#guestShift !== undefined;
    const window = this.#receiver?.window(0, this.owner.bufferBytes) ?? 0xffff;
    const header = T.tcpHeader({
      sourcePort: this.ends.remotePort,
      destinationPort: this.ends.guestPort,
      sequence: this.#initialSequence,
      acknowledgement: answers ? (this.#receiver?.next ?? 0) : 0,
      flags: T.FLAG_SYN | (answers ? T.FLAG_ACK : 0),
      window: Math.min(window, 0xffff),
      mss: this.#ourSegmentBytes,
      windowShift: knowsScale ? RECEIVE_WINDOW_SHIFT : undefined,
      sackPermitted: !answers || this.#sack,
    });
    this.owner.link.send(this.#packet(header));
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Ends

  /** Resets both directions. */
  reset(): void {
    if (this.over) return;
    const receiver = this.#receiver;
    // To a SYN only an RST that acknowledges it is an answer.
    const header = T.tcpHeader({
      sourcePort: this.ends.remotePort,
      destinationPort: this.ends.guestPort,
      sequence: this.#state === 'connecting' ? 0 : (this.#sender?.nextSequence ?? this.#initialSequence),
      acknowledgement: receiver?.next ?? 0,
      flags: T.FLAG_RST | (receiver ? T.FLAG_ACK : 0),
      window: 0,
    });
    this.owner.link.send(this.#packet(header));
    this.abort();
  }

  /** Ends without a word to the guest, which knows. */
  abort(): void {
    if (this.#state === 'closed') return;
    if (!this.#streamClosed) this.#stream?.destroy(true);
    this.#streamClosed = true;
    this.#remove();
  }

  #remove(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#cancelHandshake?.();
    this.#cancelTimeWait?.();
    this.#cancelAck?.();
    this.#sender?.close();
    this.owner.removed(this);
  }
}

/** The answer to a segment that belongs to no connection (RFC 9293, 3.5.2). */
export function resetFor(segment: T.TcpSegment, ends: Pick<TcpEndpoints, 'remotePort' | 'guestPort'>): Uint8Array {
  const hasAck = (segment.flags & T.FLAG_ACK) !== 0;
  const length = segment.payload.length + (segment.flags & T.FLAG_SYN ? 1 : 0) + (segment.flags & T.FLAG_FIN ? 1 : 0);
  return T.tcpHeader({
    sourcePort: ends.remotePort,
    destinationPort: ends.guestPort,
    sequence: hasAck ? segment.acknowledgement : 0,
    acknowledgement: hasAck ? 0 : T.sequenceAdd(segment.sequence, length),
    flags: T.FLAG_RST | (hasAck ? 0 : T.FLAG_ACK),
    window: 0,
  });
}
