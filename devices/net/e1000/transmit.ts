/**
 * The transmitter: legacy, context and data descriptors (manual, 3.3), checksums and TCP segmentation (3.5), VLAN tags. Everything in a
 * descriptor is the guest's word: it is read once, and a packet that contradicts itself is dropped and counted, not sent.
 */
import type { FrameOffload, NetworkBackend, NetworkFrame } from '../../backends/network.ts';
import { GuestAddressError, type GuestMemory } from '../../bus/guest-memory.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import { addToSum, finishChecksum, foldedSum, pseudoHeaderSum, storeChecksum } from '../checksum.ts';
import { ETHERNET_HEADER_BYTES, ETHERTYPE_VLAN, FRAME_TYPE, MAX_FRAME_BYTES, MIN_FRAME_BYTES } from '../ethernet.ts';
import { framesFor } from '../offload.ts';
import { joined, lengthOf, sliceParts, writeU16 } from '../wire.ts';
import { DESCRIPTOR_BYTES } from './registers.ts';

const COMMAND_EOP = 1 << 0;
const COMMAND_IC = 1 << 2;
const COMMAND_TSE = 1 << 2;
const COMMAND_RS = 1 << 3;
const COMMAND_DEXT = 1 << 5;
const COMMAND_VLE = 1 << 6;
const TYPE_CONTEXT = 0;
const TYPE_DATA = 1;
const STATUS_DD = 1;
const OPTION_IXSM = 1;
const OPTION_TXSM = 2;
const CONTEXT_TCP = 1 << 0;
const CONTEXT_IP = 1 << 1;

const MAX_PARTS = 64;
/** Headers of a packet to segment: HDRLEN has 8 bits. */
const MIN_TSO_HEADERS = ETHERNET_HEADER_BYTES + 20 + 20;
const DESCRIPTORS_A_TURN = 1024;
const PROTOCOL_TCP = 6;

/** Where checksums go and how packets are cut, as a context descriptor says. */
interface Context {
  ipStart: number;
  ipOffset: number;
  ipEnd: number;
  transportStart: number;
  transportOffset: number;
  transportEnd: number;
  headerBytes: number;
  segmentBytes: number;
  command: number;
}

const NO_CONTEXT: Context = {
  ipStart: 0,
  ipOffset: 0,
  ipEnd: 0,
  transportStart: 0,
  transportOffset: 0,
  transportEnd: 0,
  headerBytes: 0,
  segmentBytes: 0,
  command: 0,
};

/** A packet whose last descriptor has not come yet. */
interface Assembly {
  /** Where it lies in guest memory. */
  regions: { readonly gpa: number; readonly lengthBytes: number }[];
  count: number;
  lengthBytes: number;
  /** Of the first data descriptor: IXSM, TXSM. */
  options: number;
  segmented: boolean;
  broken: boolean;
}

const emptyAssembly = (): Assembly => ({
  regions: [],
  count: 0,
  lengthBytes: 0,
  options: 0,
  segmented: false,
  broken: false,
});

export interface TransmitRing {
  readonly base: number;
  readonly lengthBytes: number;
  head: number;
  readonly tail: number;
}

export interface TransmitHost {
  readonly memory: GuestMemory;
  readonly backend: Pick<NetworkBackend, 'offload' | 'send'>;
  readonly ring: TransmitRing;
  /** Tags are put in, with this type, where a descriptor asks for one (CTRL.VME). */
  readonly vlanType: number | undefined;
  readonly padsShort: boolean;
  sent(frameBytes: number, start: Uint8Array): void;
  /** A packet that was cut. */
  segmented(): void;
  /** A packet or descriptor that makes no sense. */
  bad(): void;
}

/** What a run over the ring came to. `blocked`: the backend takes no more; `more`: the turn is over. */
export type TransmitResult = { readonly state: 'done' | 'blocked' | 'more'; readonly reported: boolean };

export class Transmitter {
  #context: Context = { ...NO_CONTEXT };
  #assembly = emptyAssembly();

  constructor(private readonly host: TransmitHost) {}

  reset(): void {
    this.#context = { ...NO_CONTEXT };
    this.#assembly = emptyAssembly();
  }

  /** Works through the ring from its head to its tail. */
  run(): TransmitResult {
    const { ring, memory } = this.host;
    const size = Math.floor(ring.lengthBytes / DESCRIPTOR_BYTES);
    let reported = false;
    if (ring.head >= size || ring.tail >= size) return { state: 'done', reported };
    const bytes = new Uint8Array(DESCRIPTOR_BYTES);
    const view = new DataView(bytes.buffer);
    for (let count = 0; ring.head !== ring.tail; count++) {
      if (count === DESCRIPTORS_A_TURN) return { state: 'more', reported };
      const at = ring.base + ring.head * DESCRIPTOR_BYTES;
      try {
        memory.read(at, bytes);
        if (!this.#take(view)) return { state: 'blocked', reported };
        if ((view.getUint8(11) & COMMAND_RS) !== 0) {
          memory.writeU8(at + 12, (view.getUint8(12) & 0xf0) | STATUS_DD);
          reported = true;
        }
      } catch (error) {
        if (!(error instanceof GuestAddressError)) throw error;
        this.host.bad();
        this.#assembly = emptyAssembly();
      }
      ring.head = (ring.head + 1) % size;
    }
    return { state: 'done', reported };
  }

  /** Takes a descriptor; false when its packet has to wait. */
  #take(view: DataView): boolean {
    const command = view.getUint8(11);
    const isExtended = (command & COMMAND_DEXT) !== 0;
    if (isExtended && (view.getUint8(10) & 0xf0) === TYPE_CONTEXT << 4) {
      this.#context = readContext(view);
      return true;
    }
    if (isExtended && (view.getUint8(10) & 0xf0) !== TYPE_DATA << 4) {
      this.host.bad();
      return true;
    }
    const before = { ...this.#assembly, regions: [...this.#assembly.regions] };
    this.#append(view, isExtended, command);
    if (!(command & COMMAND_EOP)) return true;
    const assembly = this.#assembly;
    this.#assembly = emptyAssembly();
    if (assembly.broken || assembly.lengthBytes === 0) {
      this.host.bad();
      return true;
    }
    const frame = this.#finish(assembly, view, isExtended, command);
    if (!frame) {
      this.host.bad();
      return true;
    }
    if (this.#send(frame)) return true;
    // The last descriptor is taken again.
    this.#assembly = before;
    return false;
  }

  #append(view: DataView, isExtended: boolean, command: number): void {
    const assembly = this.#assembly;
    const lengthBytes = isExtended ? view.getUint32(8, true) & 0xfffff : view.getUint16(8, true);
    if (assembly.count === 0 && isExtended) {
      assembly.options = view.getUint8(13);
      assembly.segmented = (command & COMMAND_TSE) !== 0;
    }
    assembly.count++;
    assembly.lengthBytes += lengthBytes;
    if (assembly.count > MAX_PARTS || assembly.lengthBytes > MAX_FRAME_BYTES) assembly.broken = true;
    if (assembly.broken || lengthBytes === 0) return;
    const gpa = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
    if (this.host.memory.contains(gpa, lengthBytes)) assembly.regions.push({ gpa, lengthBytes });
    else assembly.broken = true;
  }

  /** The packet as a frame, with what is left to do for whoever takes it. */
  #finish(assembly: Assembly, view: DataView, isExtended: boolean, command: number): NetworkFrame | undefined {
    const parts = assembly.regions.flatMap(({ gpa, lengthBytes }) => this.host.memory.views(gpa, lengthBytes));
    if (assembly.segmented) return this.#segmented(parts);
    // The guest changes its memory meanwhile; checksums are of what is sent.
    let bytes = joined(parts);
    if (bytes.length < ETHERNET_HEADER_BYTES) return undefined;
    let offload: FrameOffload | undefined;
    if (isExtended) {
      const context = this.#context;
      if (assembly.options & OPTION_IXSM) insertChecksum(bytes, context.ipStart, context.ipOffset, context.ipEnd);
      if (assembly.options & OPTION_TXSM) {
        const { transportStart, transportOffset, transportEnd } = context;
        const isPlain =
          transportEnd === 0 && transportStart >= ETHERNET_HEADER_BYTES && transportOffset >= transportStart;
        if (isPlain && transportOffset + 2 <= bytes.length) {
          offload = { checksumStart: transportStart, checksumOffset: transportOffset - transportStart };
        } else insertChecksum(bytes, transportStart, transportOffset, transportEnd);
      }
    } else if (command & COMMAND_IC) insertChecksum(bytes, view.getUint8(13), view.getUint8(10), 0);
    const tagged = (command & COMMAND_VLE) !== 0 ? this.host.vlanType : undefined;
    if (tagged !== undefined) {
      bytes = withTag(bytes, tagged, view.getUint16(14, true));
      if (offload) offload = { ...offload, checksumStart: offload.checksumStart + 4 };
    }
    if (this.host.padsShort && bytes.length < MIN_FRAME_BYTES) {
      const padded = new Uint8Array(MIN_FRAME_BYTES);
      padded.set(bytes);
      bytes = padded;
    }
    return { parts: [bytes], offload };
  }

  /**
   * A packet to cut: its headers leave out lengths and checksums, which are those of the pieces. They are filled in for the whole here, so
   * that it is like a long packet of a virtio card.
   */
  #segmented(parts: readonly Uint8Array[]): NetworkFrame | undefined {
    const { headerBytes, segmentBytes, ipStart, transportStart, transportOffset, command } = this.#context;
    const lengthBytes = lengthOf(parts);
    const isTcp = (command & CONTEXT_TCP) !== 0;
    const isV4 = (command & CONTEXT_IP) !== 0;
    // FreeBSD-SA-19:21: each of these numbers is the guest's.
    const fits =
      isTcp &&
      headerBytes >= MIN_TSO_HEADERS &&
      headerBytes < lengthBytes &&
      segmentBytes > 0 &&
      ipStart >= ETHERNET_HEADER_BYTES &&
      transportStart >= ipStart + (isV4 ? 20 : 40) &&
      transportOffset >= transportStart &&
      headerBytes >= transportStart + 20 &&
      transportOffset + 2 <= headerBytes;
    if (!fits) return undefined;
    const head = joined(sliceParts(parts, 0, headerBytes));
    const transportBytes = lengthBytes - transportStart;
    const networkBytes = lengthBytes - ipStart;
    if (networkBytes > 0xffff) return undefined;
    let pseudo: number;
    if (isV4) {
      writeU16(head, ipStart + 2, networkBytes);
      storeChecksum(head, ipStart + 10, ipStart, transportStart);
      const addresses = head.subarray(ipStart + 12, ipStart + 20);
      pseudo = pseudoHeaderSum(addresses.subarray(0, 4), addresses.subarray(4), PROTOCOL_TCP, transportBytes);
    } else {
      writeU16(head, ipStart + 4, networkBytes - 40);
      const addresses = head.subarray(ipStart + 8, ipStart + 40);
      pseudo = pseudoHeaderSum(addresses.subarray(0, 16), addresses.subarray(16), PROTOCOL_TCP, transportBytes);
    }
    writeU16(head, transportOffset, foldedSum(pseudo));
    this.host.segmented();
    return {
      parts: [head, ...sliceParts(parts, headerBytes, lengthBytes)],
      offload: {
        checksumStart: transportStart,
        checksumOffset: transportOffset - transportStart,
        segmentation: { kind: isV4 ? 'tcp4' : 'tcp6', segmentBytes },
      },
    };
  }

  /** False: the backend took nothing. */
  #send(frame: NetworkFrame): boolean {
    const pieces = framesFor(this.host.backend.offload, frame);
    if (pieces.length === 0) this.host.bad();
    for (const [index, piece] of pieces.entries()) {
      // Segments after the first are lost when there is no room: TCP sends them again.
      if (!this.host.backend.send(piece)) return index > 0;
      this.host.sent(lengthOf(piece.parts), joined(sliceParts(piece.parts, 0, 6)));
    }
    return true;
  }

  save(): { readonly [field: string]: StateValue } {
    const c = this.#context;
    return {
      context: [
        ...[c.ipStart, c.ipOffset, c.ipEnd, c.transportStart, c.transportOffset, c.transportEnd],
        ...[c.headerBytes, c.segmentBytes, c.command],
      ],
    };
  }

  /** A packet whose descriptors had come in part is lost with the snapshot. */
  prepareRestore(fields: StateFields): () => void {
    const values = fields.integers('context', 9, 0xffff);
    return () => {
      const [ipStart = 0, ipOffset = 0, ipEnd = 0, transportStart = 0, transportOffset = 0] = values;
      const [transportEnd = 0, headerBytes = 0, segmentBytes = 0, command = 0] = values.slice(5);
      this.#context = {
        ipStart,
        ipOffset,
        ipEnd,
        transportStart,
        transportOffset,
        transportEnd,
        headerBytes,
        segmentBytes,
        command,
      };
      this.#assembly = { ...emptyAssembly(), broken: values.length !== 9 };
    };
  }
}

function readContext(view: DataView): Context {
  return {
    ipStart: view.getUint8(0),
    ipOffset: view.getUint8(1),
    ipEnd: view.getUint16(2, true),
    transportStart: view.getUint8(4),
    transportOffset: view.getUint8(5),
    transportEnd: view.getUint16(6, true),
    command: view.getUint8(11),
    headerBytes: view.getUint8(13),
    segmentBytes: view.getUint16(14, true),
  };
}

/** Sums `bytes[start, end]` (0: to the end of the packet) and puts the result at `offset`; nothing when that lies outside. */
function insertChecksum(bytes: Uint8Array, start: number, offset: number, last: number): void {
  const end = last === 0 ? bytes.length : Math.min(last + 1, bytes.length);
  if (start >= end || offset + 2 > bytes.length) return;
  // The field's present value is summed as well: drivers put the pseudo-header's sum there.
  writeU16(bytes, offset, finishChecksum(addToSum(0, bytes, start, end)));
}

function withTag(bytes: Uint8Array, type: number, tag: number): Uint8Array<ArrayBuffer> {
  const tagged = new Uint8Array(bytes.length + 4);
  tagged.set(bytes.subarray(0, FRAME_TYPE));
  writeU16(tagged, FRAME_TYPE, type === 0 ? ETHERTYPE_VLAN : type);
  writeU16(tagged, FRAME_TYPE + 2, tag);
  tagged.set(bytes.subarray(FRAME_TYPE), FRAME_TYPE + 4);
  return tagged;
}
