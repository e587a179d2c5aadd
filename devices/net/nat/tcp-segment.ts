/** TCP segments (RFC 9293, 3.1) and the options that this end knows: MSS, window scale (RFC 7323), SACK (RFC 2018). */
import { addToSum, finishChecksum, pseudoHeaderSum } from '../checksum.ts';
import { readU16, readU32, writeU16, writeU32 } from '../wire.ts';
import { PROTOCOL_TCP, type IpPacket } from './ip.ts';

export const FLAG_FIN = 0x01;
export const FLAG_SYN = 0x02;
export const FLAG_RST = 0x04;
export const FLAG_PSH = 0x08;
export const FLAG_ACK = 0x10;

export const TCP_HEADER_BYTES = 20;
export const TCP_CHECKSUM_OFFSET = 16;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_WINDOW_SCALE = 3;
const OPTION_SACK_PERMITTED = 4;
const OPTION_SACK = 5;
/** RFC 7323, 2.3. */
const MAX_WINDOW_SHIFT = 14;
/** As many blocks as fit beside nothing else (RFC 2018, 3). */
export const MAX_SACK_BLOCKS = 4;

export interface TcpSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  /** As it stands in the header, not scaled. */
  readonly window: number;
  readonly payload: Uint8Array;
  /** Of segments with SYN. */
  readonly mss: number | undefined;
  readonly windowShift: number | undefined;
  readonly sackPermitted: boolean;
  /** Blocks that came out of order: the first sequence number of each and the one after its last. */
  readonly sack: readonly (readonly [number, number])[];
}

/** a - b of sequence numbers, from -2^31 to 2^31 - 1 (RFC 9293, 3.4). */
export function sequenceDistance(a: number, b: number): number {
  return (a - b) | 0;
}

export function sequenceAdd(sequence: number, count: number): number {
  return (sequence + count) >>> 0;
}

/** Reads a segment; undefined when its header or checksum is wrong. */
export function parseTcp(packet: IpPacket): TcpSegment | undefined {
  const { payload: bytes } = packet;
  const headerBytes = 4 * ((bytes[12] ?? 0) >> 4);
  if (headerBytes < TCP_HEADER_BYTES || headerBytes > bytes.length) return undefined;
  if (!packet.checksumDone) {
    const pseudo = pseudoHeaderSum(packet.source, packet.destination, PROTOCOL_TCP, bytes.length);
    if (finishChecksum(addToSum(pseudo, bytes)) !== 0) return undefined;
  }
  const flags = bytes[13] ?? 0;
  let mss: number | undefined;
  let windowShift: number | undefined;
  let sackPermitted = false;
  const sack: (readonly [number, number])[] = [];
  for (let at = TCP_HEADER_BYTES; at < headerBytes;) {
    const option = bytes[at];
    if (option === OPTION_END) break;
    if (option === OPTION_NOP) {
      at++;
      continue;
    }
    const lengthBytes = bytes[at + 1] ?? 0;
    if (lengthBytes < 2 || at + lengthBytes > headerBytes) break;
    if (option === OPTION_MSS && lengthBytes === 4) mss = readU16(bytes, at + 2);
    if (option === OPTION_WINDOW_SCALE && lengthBytes === 3)
      windowShift = Math.min(bytes[at + 2] ?? 0, MAX_WINDOW_SHIFT);
    if (option === OPTION_SACK_PERMITTED) sackPermitted = true;
    if (option === OPTION_SACK) {
      for (let block = at + 2; block + 8 <= at + lengthBytes; block += 8) {
        sack.push([readU32(bytes, block), readU32(bytes, block + 4)]);
      }
    }
    at += lengthBytes;
  }
  return {
    sourcePort: readU16(bytes, 0),
    destinationPort: readU16(bytes, 2),
    sequence: readU32(bytes, 4),
    acknowledgement: readU32(bytes, 8),
    flags,
    window: readU16(bytes, 14),
    payload: bytes.subarray(headerBytes),
    mss,
    windowShift,
    sackPermitted,
    sack,
  };
}

export interface TcpHeaderFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
  /** With SYN. */
  readonly mss?: number;
  readonly windowShift?: number | undefined;
  readonly sackPermitted?: boolean;
  /** Received blocks beyond the acknowledgement: first and end sequence number of each. */
  readonly sack?: readonly (readonly [number, number])[] | undefined;
}

/** A header with its options, checksum zero. */
export function tcpHeader(fields: TcpHeaderFields): Uint8Array {
  const options: number[] = [];
  if (fields.mss !== undefined) options.push(OPTION_MSS, 4, fields.mss >>> 8, fields.mss & 0xff);
  if (fields.sackPermitted) options.push(OPTION_NOP, OPTION_NOP, OPTION_SACK_PERMITTED, 2);
  if (fields.windowShift !== undefined) options.push(OPTION_NOP, OPTION_WINDOW_SCALE, 3, fields.windowShift);
  const blocks = fields.sack?.slice(0, MAX_SACK_BLOCKS) ?? [];
  if (blocks.length > 0) options.push(OPTION_NOP, OPTION_NOP, OPTION_SACK, 2 + 8 * blocks.length);
  const optionBytes = options.length + 8 * blocks.length;
  const header = new Uint8Array(TCP_HEADER_BYTES + optionBytes);
  writeU16(header, 0, fields.sourcePort);
  writeU16(header, 2, fields.destinationPort);
  writeU32(header, 4, fields.sequence);
  writeU32(header, 8, fields.acknowledgement);
  header[12] = (header.length / 4) << 4;
  header[13] = fields.flags;
  writeU16(header, 14, fields.window);
  header.set(options, TCP_HEADER_BYTES);
  blocks.forEach(([start, end], index) => {
    writeU32(header, TCP_HEADER_BYTES + options.length + 8 * index, start);
    writeU32(header, TCP_HEADER_BYTES + options.length + 8 * index + 4, end);
  });
  return header;
}
