/** What a card does for a driver that left checksums or segmentation to it, done in software for a receiver that takes neither. */
import type { FrameOffload, NetworkFrame, OffloadCapabilities, Segmentation } from '../backends/network.ts';
import { addPartsToSum, addToSum, finishChecksum, pseudoHeaderSum, storeChecksum } from './checksum.ts';
import { ETHERNET_HEADER_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, FRAME_TYPE } from './ethernet.ts';
import { joined, lengthOf, readU16, readU32, sliceParts, writeU16, writeU32 } from './wire.ts';

/** Ethernet, two VLAN tags, IP with all its options, TCP with all of its. */
const MAX_HEADER_BYTES = 256;
const TCP_MIN_HEADER_BYTES = 20;
const FLAG_FIN_PSH = 0x09;
const FLAG_CWR = 0x80;
const TCP_PROTOCOL = 6;

/** True when `capabilities` cover what was left to do. */
export function accepts(capabilities: OffloadCapabilities, offload: FrameOffload): boolean {
  return offload.segmentation === undefined ? capabilities.checksum : capabilities[offload.segmentation.kind];
}

/** The frame as the receiver takes it: itself, with its checksum done, or in segments. Nothing when its headers make no sense. */
export function framesFor(capabilities: OffloadCapabilities, frame: NetworkFrame): readonly NetworkFrame[] {
  const { offload } = frame;
  if (offload === undefined || accepts(capabilities, offload)) return [frame];
  if (offload.segmentation !== undefined) return segmentTcp(frame.parts, offload.segmentation);
  const finished = withChecksum(frame.parts, offload);
  return finished ? [{ parts: finished }] : [];
}

/** The parts with the checksum in its place, or undefined when that lies outside. The first bytes are copied, the rest is not. */
export function withChecksum(
  parts: readonly Uint8Array[],
  { checksumStart, checksumOffset }: FrameOffload,
): Uint8Array[] | undefined {
  const field = checksumStart + checksumOffset;
  const lengthBytes = lengthOf(parts);
  if (checksumStart < ETHERNET_HEADER_BYTES || field + 2 > lengthBytes || field > 0xffff) return undefined;
  const head = joined(sliceParts(parts, 0, field + 2));
  const rest = sliceParts(parts, field + 2, lengthBytes);
  // The field holds the pseudo-header's sum and is summed with the rest (virtio 1.2, 5.1.6.2).
  const checksum = finishChecksum(addPartsToSum(0, [head.subarray(checksumStart), ...rest]));
  // For UDP zero would say that there is none; 0xFFFF is the same number (RFC 768). TCP does not mind.
  writeU16(head, field, checksum === 0 ? 0xffff : checksum);
  return [head, ...rest];
}

/** Where the headers of a TCP frame lie. */
export interface TcpLayout {
  /** Start of the IP header. */
  readonly network: number;
  readonly transport: number;
  readonly payload: number;
  readonly version: 4 | 6;
}

/** Finds the headers at the start of a frame; undefined when they are not TCP's or do not fit. */
export function tcpLayout(head: Uint8Array): TcpLayout | undefined {
  let network = ETHERNET_HEADER_BYTES;
  let type = readU16(head, FRAME_TYPE);
  for (let tags = 0; type === ETHERTYPE_VLAN && tags < 2; tags++) {
    type = readU16(head, network + 2);
    network += 4;
  }
  let transport: number;
  if (type === ETHERTYPE_IPV4) {
    const headerBytes = 4 * ((head[network] ?? 0) & 15);
    if (headerBytes < 20 || head[network + 9] !== TCP_PROTOCOL) return undefined;
    transport = network + headerBytes;
  } else if (type === ETHERTYPE_IPV6) {
    if (head[network + 6] !== TCP_PROTOCOL) return undefined;
    transport = network + 40;
  } else return undefined;
  const headerBytes = 4 * ((head[transport + 12] ?? 0) >> 4);
  const payload = transport + headerBytes;
  if (headerBytes < TCP_MIN_HEADER_BYTES || payload > head.length) return undefined;
  return { network, transport, payload, version: type === ETHERTYPE_IPV4 ? 4 : 6 };
}

/** Cuts a TCP packet into segments whose checksums are complete (what hardware calls TSO). Empty when it is not one. */
export function segmentTcp(parts: readonly Uint8Array[], { segmentBytes }: Segmentation): NetworkFrame[] {
  const lengthBytes = lengthOf(parts);
  const head = joined(sliceParts(parts, 0, Math.min(lengthBytes, MAX_HEADER_BYTES)));
  const layout = tcpLayout(head);
  // A guest that asks for segments of one byte asks for 65,000 frames; no link's segments are so short (RFC 9293, 3.7.1).
  if (!layout || segmentBytes < 64) return [];
  const { network, transport, payload, version } = layout;
  const headers = head.subarray(0, payload);
  const sequence = readU32(headers, transport + 4);
  const identification = readU16(headers, network + 4);
  const flags = headers[transport + 13] ?? 0;
  const [source, destination] =
    version === 4
      ? [headers.subarray(network + 12, network + 16), headers.subarray(network + 16, network + 20)]
      : [headers.subarray(network + 8, network + 24), headers.subarray(network + 24, network + 40)];
  const frames: NetworkFrame[] = [];
  for (let start = payload, index = 0; start < lengthBytes || index === 0; start += segmentBytes, index++) {
    const end = Math.min(start + segmentBytes, lengthBytes);
    const own = headers.slice();
    if (version === 4) {
      writeU16(own, network + 2, payload - network + end - start);
      writeU16(own, network + 4, (identification + index) & 0xffff);
      storeChecksum(own, network + 10, network, transport);
    } else {
      writeU16(own, network + 4, payload - transport + end - start);
    }
    writeU32(own, transport + 4, (sequence + start - payload) >>> 0);
    let ownFlags = flags;
    if (end < lengthBytes) ownFlags &= ~FLAG_FIN_PSH;
    if (index > 0) ownFlags &= ~FLAG_CWR;
    own[transport + 13] = ownFlags;
    writeU16(own, transport + 16, 0);
    const data = sliceParts(parts, start, end);
    const sum = pseudoHeaderSum(source, destination, TCP_PROTOCOL, payload - transport + end - start);
    writeU16(own, transport + 16, finishChecksum(addPartsToSum(addToSum(sum, own, transport), data)));
    frames.push({ parts: [own, ...data] });
  }
  return frames;
}
