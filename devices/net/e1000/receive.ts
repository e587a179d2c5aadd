/** The receiver: address filters (manual, 14.4), the ring of legacy descriptors (3.2), checksums (3.2.9), VLAN tags. */
import { GuestAddressError, type GuestMemory } from '../../bus/guest-memory.ts';
import { addPartsToSum, addToSum, finishChecksum, pseudoHeaderSum } from '../checksum.ts';
import { ETHERNET_HEADER_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FRAME_TYPE } from '../ethernet.ts';
import { readU16, readU32 } from '../wire.ts';
import * as R from './registers.ts';

const STATUS_DD = 1 << 0;
const STATUS_EOP = 1 << 1;
const STATUS_IXSM = 1 << 2;
const STATUS_VP = 1 << 3;
const STATUS_TCPCS = 1 << 5;
const STATUS_IPCS = 1 << 6;
const STATUS_PIF = 1 << 7;
const ERROR_TCPE = 1 << 5;
const ERROR_IPE = 1 << 6;

/** Drivers take the frame check sequence off; its value is not computed, since nothing corrupts frames in memory. */
const FCS_BYTES = 4;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;

export interface FilterRegisters {
  readonly rctl: number;
  readonly ral: Uint32Array;
  readonly rah: Uint32Array;
  readonly mta: Uint32Array;
  readonly vfta: Uint32Array;
  readonly vet: number;
}

export type FilterResult = 'exact' | 'inexact' | undefined;

/** Whether the card takes a frame; `inexact`: by a hash or in promiscuous mode, so that software looks again. */
export function filterFrame(frame: Uint8Array, filter: FilterRegisters): FilterResult {
  const { rctl, vfta } = filter;
  if (rctl & R.RCTL_VFE && readU16(frame, FRAME_TYPE) === filter.vet) {
    const vlan = readU16(frame, FRAME_TYPE + 2) & 0xfff;
    if (!((vfta[vlan >> 5] ?? 0) & (1 << (vlan & 31)))) return undefined;
  }
  const isGroup = ((frame[0] ?? 0) & 1) !== 0;
  const isBroadcast = isGroup && frame.subarray(0, 6).every((byte) => byte === 0xff);
  if (isBroadcast && rctl & R.RCTL_BAM) return 'exact';
  const low = ((frame[0] ?? 0) | ((frame[1] ?? 0) << 8) | ((frame[2] ?? 0) << 16) | ((frame[3] ?? 0) << 24)) >>> 0;
  const high = (frame[4] ?? 0) | ((frame[5] ?? 0) << 8);
  for (let index = 0; index < R.RECEIVE_ADDRESSES; index++) {
    const rah = filter.rah[index] ?? 0;
    if (rah >= R.RAH_VALID && (rah & 0xffff) === high && filter.ral[index] === low) return 'exact';
  }
  if (isGroup && rctl & R.RCTL_MPE) return 'inexact';
  if (isGroup && !isBroadcast) {
    // RCTL.MO chooses 12 of the address's upper 16 bits.
    const shift = [4, 3, 2, 0][(rctl >> 12) & 3] ?? 4;
    const hash = (high >> shift) & 0xfff;
    if ((filter.mta[hash >> 5] ?? 0) & (1 << (hash & 31))) return 'inexact';
  }
  return !isGroup && rctl & R.RCTL_UPE ? 'inexact' : undefined;
}

/** Bytes of a receive buffer (RCTL.BSIZE and BSEX). */
export function bufferBytes(rctl: number): number {
  const size = (rctl >> 16) & 3;
  if (rctl & R.RCTL_BSEX && size !== 0) return 32_768 >> size;
  return 2048 >> size;
}

/** Longest frame: jumbo frames only where they are enabled (RCTL.LPE). */
export function longestFrame(rctl: number): number {
  return rctl & R.RCTL_LPE ? 16_384 - FCS_BYTES : 1522 - FCS_BYTES;
}

/** Status and error bits about a frame's checksums (manual, 3.2.9): what was looked at, and what was wrong. */
function checksumBits(frame: Uint8Array, rxcsum: number): readonly [status: number, errors: number] {
  const none = [STATUS_IXSM, 0] as const;
  const type = readU16(frame, FRAME_TYPE);
  const ip = ETHERNET_HEADER_BYTES;
  let status = 0;
  let errors = 0;
  let transport: number;
  let end: number;
  let protocol: number;
  let addresses: Uint8Array;
  if (type === ETHERTYPE_IPV4) {
    transport = ip + 4 * ((frame[ip] ?? 0) & 15);
    end = ip + readU16(frame, ip + 2);
    if (transport < ip + 20 || end < transport || end > frame.length) return none;
    if (rxcsum & R.RXCSUM_IPOFLD) {
      status |= STATUS_IPCS;
      if (finishChecksum(addToSum(0, frame, ip, transport)) !== 0) errors |= ERROR_IPE;
    }
    // Pieces of packets have no checksum of their own.
    if ((readU16(frame, ip + 6) & 0x3fff) !== 0) return status === 0 ? none : [status, errors];
    protocol = frame[ip + 9] ?? 0;
    addresses = frame.subarray(ip + 12, ip + 20);
  } else if (type === ETHERTYPE_IPV6) {
    transport = ip + 40;
    end = transport + readU16(frame, ip + 4);
    if (end > frame.length) return none;
    protocol = frame[ip + 6] ?? 0;
    addresses = frame.subarray(ip + 8, ip + 40);
  } else return none;
  const field = protocol === PROTOCOL_TCP ? transport + 16 : protocol === PROTOCOL_UDP ? transport + 6 : 0;
  const hasChecksum = field !== 0 && field + 2 <= end && (protocol === PROTOCOL_TCP || readU16(frame, field) !== 0);
  if (hasChecksum && rxcsum & R.RXCSUM_TUOFLD) {
    status |= STATUS_TCPCS;
    const half = addresses.length / 2;
    const pseudo = pseudoHeaderSum(addresses.subarray(0, half), addresses.subarray(half), protocol, end - transport);
    if (finishChecksum(addToSum(pseudo, frame, transport, end)) !== 0) errors |= ERROR_TCPE;
  }
  return status === 0 ? none : [status, errors];
}

export interface ReceiveRing {
  readonly base: number;
  readonly lengthBytes: number;
  head: number;
  readonly tail: number;
}

export interface ReceiveHost {
  readonly memory: GuestMemory;
  readonly ring: ReceiveRing;
  readonly rctl: number;
  readonly rxcsum: number;
  /** Tags are taken off, of this type (CTRL.VME). */
  readonly vlanType: number | undefined;
  bad(): void;
}

/** Free descriptors of a ring. */
export function freeDescriptors({ lengthBytes, head, tail }: ReceiveRing): number {
  const size = Math.floor(lengthBytes / R.DESCRIPTOR_BYTES);
  if (size === 0 || head >= size || tail >= size) return 0;
  return (tail - head + size) % size;
}

/** Writes a frame, in one private piece, into the ring. False: there is no room for all of it. */
export function storeFrame(frame: Uint8Array, filtered: FilterResult, host: ReceiveHost): boolean {
  const { ring, memory, rctl } = host;
  const size = Math.floor(ring.lengthBytes / R.DESCRIPTOR_BYTES);
  const room = bufferBytes(rctl);
  const fcs = rctl & R.RCTL_SECRC ? 0 : FCS_BYTES;
  const [checksumStatus, errors] = checksumBits(frame, host.rxcsum);
  let status = STATUS_DD | checksumStatus | (filtered === 'inexact' ? STATUS_PIF : 0);
  let special = 0;
  let parts = [frame, new Uint8Array(fcs)];
  if (host.vlanType !== undefined && readU16(frame, FRAME_TYPE) === host.vlanType) {
    special = readU16(frame, FRAME_TYPE + 2);
    status |= STATUS_VP;
    parts = [frame.subarray(0, FRAME_TYPE), frame.subarray(FRAME_TYPE + 4), new Uint8Array(fcs)];
  }
  const lengthBytes = parts.reduce((sum, part) => sum + part.length, 0);
  if (freeDescriptors(ring) < Math.ceil(lengthBytes / room)) return false;
  const packetSum = finishChecksum(addPartsToSum(0, parts.slice(0, -1), ETHERNET_HEADER_BYTES)) ^ 0xffff;
  const bytes = new Uint8Array(lengthBytes);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  const descriptor = new Uint8Array(8);
  const view = new DataView(descriptor.buffer);
  for (let start = 0; start < lengthBytes; start += room) {
    const piece = bytes.subarray(start, start + room);
    const isLast = start + room >= lengthBytes;
    const where = ring.base + ring.head * R.DESCRIPTOR_BYTES;
    view.setUint16(0, piece.length, true);
    view.setUint16(2, packetSum, true);
    view.setUint8(4, status | (isLast ? STATUS_EOP : 0));
    view.setUint8(5, isLast ? errors : 0);
    view.setUint16(6, special, true);
    try {
      const gpa = memory.readU32(where + 4) * 2 ** 32 + memory.readU32(where);
      // A descriptor without a buffer takes its part of the frame and keeps nothing (manual, 3.2.3).
      if (gpa !== 0) memory.write(gpa, piece);
      // The status is what the driver polls: it goes last.
      memory.write(where + 8, descriptor.subarray(0, 4));
      memory.write(where + 14, descriptor.subarray(6, 8));
      memory.write(where + 12, descriptor.subarray(4, 6));
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      host.bad();
    }
    ring.head = (ring.head + 1) % size;
  }
  return true;
}

/** True when so few descriptors are left that the driver wants to know (RCTL.RDMTS). */
export function runsLow(ring: ReceiveRing, rctl: number): boolean {
  const size = Math.floor(ring.lengthBytes / R.DESCRIPTOR_BYTES);
  return freeDescriptors(ring) <= size >> (1 + Math.min((rctl >> 8) & 3, 2));
}

/** The start of a MAC address as RAL has it. */
export function addressWords(mac: Uint8Array): readonly [ral: number, rah: number] {
  const reversed = Uint8Array.from([...mac].reverse());
  return [readU32(reversed, 2), readU16(reversed, 0)];
}
