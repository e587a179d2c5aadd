/**
 * The network card `virtio-net` (virtio 1.2, 5.1). A legacy driver finds what bhyve offers: MAC, STATUS, merged receive buffers, and the MTU
 * where one was given. A driver of virtio 1.0 also finds checksum and segmentation offload both ways and a control queue. There
 * is one pair of queues: one thread serves them, so that more would only cost interrupts.
 */
import {
  NO_OFFLOAD,
  prepareBackendRestore,
  saveBackend,
  type NetworkBackend,
  type NetworkFrame,
  type NetworkPort,
  type OffloadCapabilities,
} from '../backends/network.ts';
import { GuestAddressError } from '../bus/guest-memory.ts';
import type { AccessSize } from '../bus/port-bus.ts';
import type { Clock } from '../bus/clock.ts';
import type { Counters } from '../device.ts';
import type { DeviceBuilder } from '../device-context.ts';
import type { MacAddress } from '../net/addresses.ts';
import { openNetworkCard } from '../net/card.ts';
import { DEFAULT_MTU, ETHERNET_HEADER_BYTES, MAC_BYTES, MAX_FRAME_BYTES } from '../net/ethernet.ts';
import { accepts, framesFor } from '../net/offload.ts';
import { ReceiveFilter } from '../net/receive-filter.ts';
import {
  readVirtioHeader,
  VIRTIO_HEADER_BYTES,
  VIRTIO_HEADER_BYTES_MERGEABLE,
  writeVirtioHeader,
} from '../net/virtio-header.ts';
import { lengthOf, sliceParts } from '../net/wire.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_F_NOTIFY_ON_EMPTY } from './device.ts';
import { virtioOptions, VirtioDevice, type VirtioDeviceOptions } from './device.ts';
import { MAX_COMMAND_BYTES, runNetCommand } from './net-control.ts';
import type { Chain, Segment, VirtQueue } from './queue.ts';

const QUEUE_SIZE = 1024;
const CONTROL_QUEUE_SIZE = 64;
export const RECEIVE_QUEUE = 0;
export const TRANSMIT_QUEUE = 1;
export const CONTROL_QUEUE = 2;

/** Feature bits (virtio 1.2, 5.1.3). */
export const VIRTIO_NET_F_CSUM = 0;
export const VIRTIO_NET_F_GUEST_CSUM = 1;
export const VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2;
export const VIRTIO_NET_F_MTU = 3;
export const VIRTIO_NET_F_MAC = 5;
export const VIRTIO_NET_F_GUEST_TSO4 = 7;
export const VIRTIO_NET_F_GUEST_TSO6 = 8;
export const VIRTIO_NET_F_HOST_TSO4 = 11;
export const VIRTIO_NET_F_HOST_TSO6 = 12;
export const VIRTIO_NET_F_MRG_RXBUF = 15;
export const VIRTIO_NET_F_STATUS = 16;
export const VIRTIO_NET_F_CTRL_VQ = 17;
export const VIRTIO_NET_F_CTRL_RX = 18;
export const VIRTIO_NET_F_GUEST_ANNOUNCE = 21;
export const VIRTIO_NET_F_CTRL_MAC_ADDR = 23;

const MODERN_FEATURES = [
  ...[VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_CSUM],
  ...[VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_VQ],
  ...[VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_RING_F_EVENT_IDX],
] as const;

/** Device configuration (virtio 1.2, 5.1.4). */
const CONFIG_BYTES = 12;
const CONFIG_STATUS = 6;
const CONFIG_MAX_QUEUE_PAIRS = 8;
const CONFIG_MTU = 10;
const STATUS_LINK_UP = 1;
const STATUS_ANNOUNCE = 2;

const CONTROL_OK = 0;
const CONTROL_ERROR = 1;
/** Longest request of the transmit queue: a frame and its header. */
const MAX_TRANSMIT_BYTES = MAX_FRAME_BYTES + VIRTIO_HEADER_BYTES_MERGEABLE;
/** Frames that one notification has sent before the event loop gets its turn. */
const FRAMES_A_TURN = 512;
/**
 * A request, an acknowledgement or a ping that goes out alone: its answer interrupts the driver soon, which then finds by itself that the frame
 * is sent, and its event index says so. So the interrupt for such a frame waits so long, as network cards' moderation has it. Drivers that send
 * bulk wait for nothing: theirs are more frames, or longer ones.
 */
const SHORT_FRAME_BYTES = 256;
const SENT_INTERRUPT_DELAY_NS = 1_000_000;

export interface VirtioNetOptions extends VirtioDeviceOptions {
  readonly backend: NetworkBackend;
  readonly mac: MacAddress;
  /** The driver is told of it when it is given. */
  readonly mtu?: number | undefined;
  readonly clock: Clock;
}

function segmentBytes(segments: readonly Segment[]): number {
  let sum = 0;
  for (const { lengthBytes } of segments) sum += lengthBytes;
  return sum;
}

export class VirtioNet extends VirtioDevice {
  framesSent = 0;
  framesReceived = 0;
  /** Frames for the guest that found no room in its ring, of which a waiting backend offers some again. */
  receiveOverruns = 0;
  readonly #backend: NetworkBackend;
  readonly #configuredMac: MacAddress;
  readonly #config = new Uint8Array(CONFIG_BYTES);
  readonly #filter = new ReceiveFilter();
  readonly #clock: Clock;
  /** Receive buffers taken from the queue and not filled yet. */
  #buffers: Chain[] = [];
  /** A frame that the backend did not take. */
  #blocked: Chain | undefined;
  #offload: OffloadCapabilities = NO_OFFLOAD;
  #starved = false;
  #moreLater = false;
  /** Ends the wait for the interrupt of a frame that went out alone; undefined when none waits. */
  #cancelSentInterrupt: (() => void) | undefined;

  constructor(options: VirtioNetOptions) {
    const mtu = options.mtu === undefined ? [] : [VIRTIO_NET_F_MTU];
    super('virtio-net', { deviceId: 0x1000, type: 0x0001, classCode: 0x02 }, options, {
      queueSizes: [QUEUE_SIZE, QUEUE_SIZE, CONTROL_QUEUE_SIZE],
      featureBits: [
        ...[VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_MRG_RXBUF, ...mtu],
        ...[VIRTIO_F_NOTIFY_ON_EMPTY, VIRTIO_RING_F_INDIRECT_DESC],
      ],
      modernFeatureBits: MODERN_FEATURES,
      configBytes: CONFIG_BYTES,
    });
    this.#backend = options.backend;
    this.#configuredMac = options.mac;
    this.#clock = options.clock;
    this.#config.set(options.mac);
    const fields = new DataView(this.#config.buffer);
    fields.setUint16(CONFIG_STATUS, STATUS_LINK_UP, true);
    fields.setUint16(CONFIG_MAX_QUEUE_PAIRS, 1, true);
    fields.setUint16(CONFIG_MTU, options.mtu ?? DEFAULT_MTU, true);
  }

  get mac(): MacAddress {
    return this.#config.subarray(0, MAC_BYTES);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Configuration and features

  protected override deviceConfig(): Uint8Array {
    return this.#config;
  }

  /** Drivers without a command for it write the MAC address here (virtio 1.2, 5.1.4.2). */
  protected override writeDeviceRegister(offset: number, size: AccessSize, value: number): void {
    if (this.version1 || offset + size > MAC_BYTES) super.writeDeviceRegister(offset, size, value);
    else for (let i = 0; i < size; i++) this.#config[offset + i] = value >>> (8 * i);
  }

  protected override featuresChanged(): void {
    this.#offload = {
      checksum: this.negotiated(VIRTIO_NET_F_GUEST_CSUM),
      tcp4: this.negotiated(VIRTIO_NET_F_GUEST_TSO4),
      tcp6: this.negotiated(VIRTIO_NET_F_GUEST_TSO6),
    };
  }

  get #mergeable(): boolean {
    return this.negotiated(VIRTIO_NET_F_MRG_RXBUF);
  }

  get #headerBytes(): number {
    return this.version1 || this.#mergeable ? VIRTIO_HEADER_BYTES_MERGEABLE : VIRTIO_HEADER_BYTES;
  }

  #setStatus(bit: number, on: boolean): void {
    const status = this.#config[CONFIG_STATUS] ?? 0;
    this.#config[CONFIG_STATUS] = on ? status | bit : status & ~bit;
    if (this.#config[CONFIG_STATUS] !== status) this.signalConfig();
  }

  protected override queueNotified(index: number, queue: VirtQueue): void {
    if (index === RECEIVE_QUEUE) {
      this.#starved = false;
      queue.disableNotify();
      if (!this.paused) this.#backend.receiveReady();
    } else if (index === TRANSMIT_QUEUE) this.#transmit();
    else this.#control(queue);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Frames from the guest

  readonly #transmit = (): void => {
    const queue = this.queue(TRANSMIT_QUEUE);
    if (this.paused || this.#blocked || !queue.ready) return;
    // The driver has found what waited, or it wants to hear of it now that it has sent more.
    if (this.#cancelSentInterrupt) this.signalQueue(queue);
    queue.disableNotify();
    let count = 0;
    let sentBytes = 0;
    do {
      for (let chain = queue.pop(); chain; chain = queue.pop()) {
        sentBytes += segmentBytes(chain.readable);
        if (!this.#send(chain)) {
          this.#blocked = chain;
          this.signalQueue(queue);
          return;
        }
        queue.push(chain.head, 0);
        if (++count === FRAMES_A_TURN) {
          this.signalQueue(queue);
          this.#transmitLater();
          return;
        }
      }
    } while (queue.enableNotify());
    if (count === 1 && sentBytes <= SHORT_FRAME_BYTES) this.#signalSentLater(queue);
    else this.signalQueue(queue);
  };

  /** Only a driver's event index tells afterwards whether it still wants the interrupt. */
  #signalSentLater(queue: VirtQueue): void {
    if (!queue.features.eventIndex) this.signalQueue(queue);
    else {
      this.#cancelSentInterrupt ??= this.#clock.at(this.#clock.nowNs() + SENT_INTERRUPT_DELAY_NS, () => {
        this.#cancelSentInterrupt = undefined;
        // What a pause holds back is looked at when the machine goes on.
        if (!this.paused) this.signalQueue(queue);
      });
    }
  }

  #forgetSentInterrupt(): void {
    this.#cancelSentInterrupt?.();
    this.#cancelSentInterrupt = undefined;
  }

  #later(callback: () => void): void {
    this.#clock.at(this.#clock.nowNs(), callback);
  }

  #transmitLater(): void {
    if (this.#moreLater) return;
    this.#moreLater = true;
    this.#later(() => {
      this.#moreLater = false;
      this.#transmit();
    });
  }

  /** False: the backend takes no more for now. A frame that makes no sense is lost. */
  #send(chain: Chain): boolean {
    const headerBytes = this.#headerBytes;
    const lengthBytes = segmentBytes(chain.readable);
    if (lengthBytes < headerBytes + ETHERNET_HEADER_BYTES || lengthBytes > MAX_TRANSMIT_BYTES) {
      this.badRequests++;
      return true;
    }
    try {
      const views: Uint8Array[] = [];
      for (const { gpa, lengthBytes: length } of chain.readable) views.push(...this.memory.views(gpa, length));
      const header = new Uint8Array(VIRTIO_HEADER_BYTES);
      let at = 0;
      for (const part of sliceParts(views, 0, VIRTIO_HEADER_BYTES)) {
        header.set(part, at);
        at += part.length;
      }
      return this.#sendFrame({ parts: sliceParts(views, headerBytes, lengthBytes), offload: readVirtioHeader(header) });
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.badRequests++;
      return true;
    }
  }

  #sendFrame(frame: NetworkFrame): boolean {
    // A frame that a driver may not ask for is one with a wrong checksum.
    const { offload } = frame;
    const allowed = offload === undefined || this.negotiated(VIRTIO_NET_F_CSUM);
    const sent = allowed ? frame : { parts: frame.parts };
    if (sent.offload === undefined || accepts(this.#backend.offload, sent.offload)) {
      if (!this.#backend.send(sent)) return false;
      this.framesSent++;
      return true;
    }
    // Segments that the backend does not take in the middle of a packet are lost: TCP sends them again.
    const pieces = framesFor(this.#backend.offload, sent);
    if (pieces.length === 0) this.badRequests++;
    for (const [index, piece] of pieces.entries()) {
      if (!this.#backend.send(piece)) return index > 0;
      this.framesSent++;
    }
    return true;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Frames for the guest

  /** False: there is no room. */
  #receive(frame: NetworkFrame): boolean {
    const queue = this.queue(RECEIVE_QUEUE);
    if (this.paused || this.#starved || !queue.ready) return false;
    if (!this.#filter.accepts(frame.parts[0] ?? NO_BYTES, this.mac)) return true;
    const headerBytes = this.#headerBytes;
    const lengthBytes = headerBytes + lengthOf(frame.parts);
    if (!this.#gather(queue, lengthBytes)) return false;
    const chains = this.#takeBuffers(lengthBytes);
    if (chains.length === 0) {
      this.badRequests++;
      return true;
    }
    const header = new Uint8Array(headerBytes);
    writeVirtioHeader(header, frame.offload, frame.parts);
    if (headerBytes === VIRTIO_HEADER_BYTES_MERGEABLE) {
      new DataView(header.buffer).setUint16(VIRTIO_HEADER_BYTES, chains.length, true);
    }
    this.#fill(queue, chains, [header, ...frame.parts], lengthBytes);
    this.framesReceived++;
    this.signalQueue(queue);
    return true;
  }

  /** Takes buffers out of the queue until they hold so much. False when there are too few. */
  #gather(queue: VirtQueue, lengthBytes: number): boolean {
    const mergeable = this.#mergeable;
    let room = mergeable ? this.#buffers.reduce((sum, chain) => sum + segmentBytes(chain.writable), 0) : 0;
    while (mergeable ? room < lengthBytes : this.#buffers.length === 0) {
      const chain = queue.pop();
      if (chain) {
        const ownBytes = segmentBytes(chain.writable);
        // A request of which nothing can be written is no buffer.
        if (ownBytes > 0) {
          this.#buffers.push(chain);
          room += ownBytes;
        } else {
          this.badRequests++;
          queue.push(chain.head, 0);
        }
      } else if (!queue.enableNotify()) {
        this.#starved = queue.ready;
        this.receiveOverruns++;
        return false;
      }
    }
    return true;
  }

  /** The buffers for a frame of that length; none when it does not fit the driver's (without merging it has one). */
  #takeBuffers(lengthBytes: number): Chain[] {
    let count = 0;
    for (let room = 0; room < lengthBytes; count++) {
      const chain = this.#buffers[count];
      if (!chain || (count > 0 && !this.#mergeable)) return [];
      room += segmentBytes(chain.writable);
    }
    return this.#buffers.splice(0, count);
  }

  #fill(queue: VirtQueue, chains: readonly Chain[], parts: readonly Uint8Array[], lengthBytes: number): void {
    let at = 0;
    for (const chain of chains) {
      let written = 0;
      try {
        for (const { gpa, lengthBytes: room } of chain.writable) {
          const count = Math.min(room, lengthBytes - at);
          if (count === 0) break;
          this.#write(gpa, sliceParts(parts, at, at + count), count);
          at += count;
          written += count;
        }
      } catch (error) {
        if (!(error instanceof GuestAddressError)) throw error;
        this.badRequests++;
      }
      queue.fill(chain.head, written);
    }
    queue.publish();
  }

  #write(gpa: number, parts: readonly Uint8Array[], lengthBytes: number): void {
    const [view, ...more] = this.memory.views(gpa, lengthBytes);
    if (view && more.length === 0) {
      let at = 0;
      for (const part of parts) {
        view.set(part, at);
        at += part.length;
      }
      this.memory.written(gpa, lengthBytes);
      return;
    }
    let at = gpa;
    for (const part of parts) {
      this.memory.write(at, part);
      at += part.length;
    }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Commands

  #control(queue: VirtQueue): void {
    for (let count = 0; count < CONTROL_QUEUE_SIZE;) {
      const chain = queue.pop();
      if (chain) {
        queue.push(chain.head, this.#command(chain));
        count++;
      } else if (!queue.enableNotify()) {
        this.signalQueue(queue);
        return;
      }
    }
    this.signalQueue(queue);
    this.#later(() => this.#control(queue));
  }

  #command(chain: Chain): number {
    const [status] = chain.writable;
    const lengthBytes = segmentBytes(chain.readable);
    if (!status || status.lengthBytes < 1 || lengthBytes < 2 || lengthBytes > MAX_COMMAND_BYTES) {
      this.badRequests++;
      return 0;
    }
    try {
      const command = new Uint8Array(lengthBytes);
      let at = 0;
      for (const { gpa, lengthBytes: length } of chain.readable) {
        this.memory.read(gpa, command.subarray(at, at + length));
        at += length;
      }
      const done = runNetCommand(command, {
        filter: this.#filter,
        setMac: (mac) => this.#config.set(mac),
        announced: () => this.#setStatus(STATUS_ANNOUNCE, false),
        setGuestOffloads: (bits) => this.#setGuestOffloads(bits),
      });
      if (!done) this.badRequests++;
      this.memory.writeU8(status.gpa, done ? CONTROL_OK : CONTROL_ERROR);
      return 1;
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.badRequests++;
      return 0;
    }
  }

  #setGuestOffloads(bits: bigint): boolean {
    const has = (bit: number): boolean => (bits & (1n << BigInt(bit))) !== 0n;
    const wanted = {
      checksum: has(VIRTIO_NET_F_GUEST_CSUM),
      tcp4: has(VIRTIO_NET_F_GUEST_TSO4),
      tcp6: has(VIRTIO_NET_F_GUEST_TSO6),
    };
    const known = (1n << 1n) | (1n << 7n) | (1n << 8n);
    const negotiated =
      (!wanted.checksum || this.negotiated(VIRTIO_NET_F_GUEST_CSUM)) &&
      (!wanted.tcp4 || this.negotiated(VIRTIO_NET_F_GUEST_TSO4)) &&
      (!wanted.tcp6 || this.negotiated(VIRTIO_NET_F_GUEST_TSO6));
    if ((bits & ~known) !== 0n || !negotiated) return false;
    this.#offload = wanted;
    return true;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Life cycle

  #port(): NetworkPort {
    const card = this;
    return {
      get offload() {
        return card.#offload;
      },
      receive: (frame) => card.#receive(frame),
      drained: () => card.#unblock(),
      linkChanged: (up) => card.#setStatus(STATUS_LINK_UP, up),
    };
  }

  /** The backend takes frames again. */
  #unblock(): void {
    const chain = this.#blocked;
    if (this.paused || !chain) return;
    if (!this.#send(chain)) return;
    this.#blocked = undefined;
    const queue = this.queue(TRANSMIT_QUEUE);
    queue.push(chain.head, 0);
    this.signalQueue(queue);
    this.#transmit();
  }

  protected override startDevice(): void {
    this.#backend.open(this.#port());
  }

  protected override resumeDevice(): void {
    this.#unblock();
    this.#transmit();
    this.#backend.receiveReady();
  }

  protected override driverReset(): void {
    this.#forgetSentInterrupt();
    this.#buffers = [];
    this.#blocked = undefined;
    this.#starved = false;
    this.#filter.reset();
    this.#offload = NO_OFFLOAD;
  }

  protected override resetDevice(): void {
    super.resetDevice();
    this.#config.set(this.#configuredMac);
    this.#config[CONFIG_STATUS] = (this.#config[CONFIG_STATUS] ?? 0) & ~STATUS_ANNOUNCE;
  }

  protected override closeDevice(): Promise<void> {
    this.#forgetSentInterrupt();
    return this.#backend.close();
  }

  protected override deviceCounters(): Counters {
    return {
      ...super.deviceCounters(),
      'frames sent': this.framesSent,
      'frames received': this.framesReceived,
      'receive overruns': this.receiveOverruns,
      ...this.#backend.counters(),
    };
  }

  /** Whether the link is up is the cable's affair, and no state of the card's. */
  #savedConfig(): Uint8Array {
    const config = this.#config.slice();
    config[CONFIG_STATUS] = (config[CONFIG_STATUS] ?? 0) & ~STATUS_LINK_UP;
    return config;
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return {
      ...super.saveDevice(),
      config: this.#savedConfig(),
      filter: this.#filter.save(),
      offload: [this.#offload.checksum, this.#offload.tcp4, this.#offload.tcp6].map(Number),
      backend: saveBackend(this.#backend),
    };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const config = fields.bytes('config', CONFIG_BYTES);
    const offload = fields.integers('offload', 3, 1);
    const restoreFilter = this.#filter.prepareRestore(fields.group('filter'));
    const restoreBackend = prepareBackendRestore(this.#backend, fields, 'backend');
    const restoreBase = super.prepareDeviceRestore(fields);
    return () => {
      const linkUp = (this.#config[CONFIG_STATUS] ?? 0) & STATUS_LINK_UP;
      this.#forgetSentInterrupt();
      this.#buffers = [];
      this.#blocked = undefined;
      this.#starved = false;
      restoreBase();
      restoreBackend();
      this.#config.set(config);
      // The cable is that of this machine.
      this.#config[CONFIG_STATUS] = ((config[CONFIG_STATUS] ?? 0) & ~STATUS_LINK_UP) | linkUp;
      restoreFilter();
      const [checksum = 0, tcp4 = 0, tcp6 = 0] = offload;
      this.#offload = { checksum: checksum !== 0, tcp4: tcp4 !== 0, tcp6: tcp6 !== 0 };
    };
  }

  /** Receive buffers stay ours; a frame that was on its way out is lost rather than sent twice. */
  protected override afterRestore(): void {
    const receive = this.queue(RECEIVE_QUEUE);
    this.#buffers = receive.takenHeads().flatMap((head) => receive.reread(head) ?? []);
    for (const index of [TRANSMIT_QUEUE, CONTROL_QUEUE]) {
      const queue = this.queue(index);
      for (const head of queue.takenHeads()) queue.push(head, 0);
      this.signalQueue(queue);
    }
    if (!this.negotiated(VIRTIO_NET_F_GUEST_ANNOUNCE)) return;
    this.#setStatus(STATUS_ANNOUNCE, true);
  }
}

const NO_BYTES = new Uint8Array();

export const buildVirtioNet: DeviceBuilder = async (context, where, variables) => {
  const parts = await openNetworkCard(context, where, variables);
  const mtu = variables.get('mtu');
  return new VirtioNet({
    ...virtioOptions(context),
    ...parts,
    mtu: mtu === undefined ? undefined : Number(mtu),
    clock: context.clock,
  });
};
