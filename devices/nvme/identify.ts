/** Identify data structures (NVM Express 1.4, 5.15.2) as bhyve fills them in. */
import { paddedText } from '../block/scatter.ts';
import { MDTS } from './registers.ts';

export const IDENTIFY_BYTES = 4096;
/** Asynchronous event requests kept, less one. */
export const ASYNC_EVENT_LIMIT = 4;
/** Kelvin: 70 degrees Celsius. */
export const WARNING_TEMPERATURE = 0x157;
export const TEMPERATURE = 296;
const VENDOR_ID = 0xfb5d;
const ONCS_DATASET_MANAGEMENT = 1 << 2;
/** A volatile write cache is present, and flushes of all namespaces at once are not supported. */
const VWC_PRESENT = 0x05;

export interface ControllerIdentity {
  readonly serial: string;
  readonly datasetManagement: boolean;
}

export function identifyController({ serial, datasetManagement }: ControllerIdentity): Uint8Array {
  const bytes = new Uint8Array(IDENTIFY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, VENDOR_ID, true);
  bytes.set(paddedText(serial, 20), 4);
  bytes.set(paddedText('bhyve-NVMe', 40), 24);
  bytes.set(paddedText('1.0', 8), 64);
  bytes[72] = 4; // recommended arbitration burst
  bytes.set([0xfc, 0x9c, 0x58], 73); // IEEE OUI 58-9C-FC
  bytes[77] = MDTS;
  view.setUint32(80, 0x00010400, true);
  view.setUint32(92, 1 << 8, true); // OAES: namespace attribute notices
  bytes[111] = 1; // controller type: I/O
  view.setUint16(256, 1 << 1, true); // OACS: format
  bytes[258] = 2; // abort command limit
  bytes[259] = ASYNC_EVENT_LIMIT;
  bytes[260] = (1 << 1) | 1; // one firmware slot, read-only
  view.setUint16(266, WARNING_TEMPERATURE, true);
  view.setUint16(268, WARNING_TEMPERATURE, true);
  view.setUint32(328, 1 << 30, true); // SANICAP: no modification after sanitizing
  bytes[512] = 0x66;
  bytes[513] = 0x44;
  view.setUint32(516, 1, true);
  view.setUint16(520, datasetManagement ? ONCS_DATASET_MANAGEMENT : 0, true);
  bytes[524] = 1; // FNA: format concerns all namespaces
  // bhyve says that there is no cache. Then no guest would flush, and its fsync would end in the host's page cache.
  bytes[525] = VWC_PRESENT;
  return bytes;
}

export interface NamespaceIdentity {
  readonly blocks: number;
  readonly blockBytes: number;
  readonly eui64: bigint;
  readonly readOnly: boolean;
}

export function identifyNamespace({ blocks, blockBytes, eui64, readOnly }: NamespaceIdentity): Uint8Array {
  const bytes = new Uint8Array(IDENTIFY_BYTES);
  const view = new DataView(bytes.buffer);
  for (const offset of [0, 8, 16]) view.setBigUint64(offset, BigInt(blocks), true);
  bytes[24] = 1 << 2; // deallocation is understood
  bytes[99] = readOnly ? 1 : 0;
  view.setBigUint64(120, eui64);
  view.setUint32(128, Math.log2(blockBytes) << 16, true);
  return bytes;
}

/** Namespace identification descriptors (CNS 03h): the EUI-64. */
export function namespaceDescriptors(eui64: bigint): Uint8Array {
  const bytes = new Uint8Array(IDENTIFY_BYTES);
  bytes.set([0x01, 8]);
  new DataView(bytes.buffer).setBigUint64(4, eui64);
  return bytes;
}

/** A list of namespace numbers greater than `after`, of the one that there is. */
export function namespaceList(after: number): Uint8Array {
  const bytes = new Uint8Array(IDENTIFY_BYTES);
  if (after < 1) new DataView(bytes.buffer).setUint32(0, 1, true);
  return bytes;
}

const OUI = 0x589cfcn;

/** CRC-16 with the reversed polynomial A001h, start value 0. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
  }
  return crc;
}

/** The identifier of a namespace without one of its own: the OUI, a checksum of machine name and address, and the namespace's number. */
export function defaultEui64(vmName: string, bus: number, slot: number, func: number): bigint {
  const checksum = crc16(new TextEncoder().encode(`${vmName}${bus}${slot}${func}`));
  return (OUI << 40n) | (BigInt(checksum) << 16n) | 1n;
}
