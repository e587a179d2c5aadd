/** INQUIRY data and vital product data pages (SPC-4 6.6, 7.8). */
import { paddedText } from '../block/scatter.ts';
import type { ScsiIdentity } from './logical-unit.ts';

/** Version descriptors: SAM-5, SPC-4, and SBC-3 or MMC-6 (SPC-4 table 142). */
const VERSION_SAM5 = 0x00a0;
const VERSION_SPC4 = 0x0460;
const VERSION_SBC3 = 0x04c0;
const VERSION_MMC6 = 0x04e0;
const TYPE_CD = 0x05;

/** Standard INQUIRY data of 74 bytes. */
export function inquiryData(deviceType: number, removable: boolean, identity: ScsiIdentity): Uint8Array {
  const bytes = new Uint8Array(74);
  bytes[0] = deviceType;
  bytes[1] = removable ? 0x80 : 0;
  bytes[2] = 6; // SPC-4
  bytes[3] = 0x12; // HISUP, response data format 2
  bytes[4] = bytes.length - 5;
  bytes[7] = 0x02; // CMDQUE
  bytes.set(paddedText(identity.vendor, 8), 8);
  bytes.set(paddedText(identity.product, 16), 16);
  bytes.set(paddedText(identity.revision, 4), 32);
  const view = new DataView(bytes.buffer);
  view.setUint16(58, VERSION_SAM5);
  view.setUint16(60, VERSION_SPC4);
  view.setUint16(62, deviceType === TYPE_CD ? VERSION_MMC6 : VERSION_SBC3);
  return bytes;
}

export const VPD_SUPPORTED_PAGES = 0x00;
export const VPD_UNIT_SERIAL = 0x80;
export const VPD_DEVICE_ID = 0x83;
export const VPD_BLOCK_LIMITS = 0xb0;
export const VPD_BLOCK_CHARACTERISTICS = 0xb1;
export const VPD_LOGICAL_BLOCK_PROVISIONING = 0xb2;

/** Pages of one unit by number, without their four bytes of header. */
export type VpdPages = ReadonlyMap<number, Uint8Array>;

/** A whole VPD page, or undefined when the unit does not have it. Page 0 lists the others. */
export function vitalProductData(deviceType: number, page: number, pages: VpdPages): Uint8Array | undefined {
  const body =
    page === VPD_SUPPORTED_PAGES
      ? Uint8Array.from([VPD_SUPPORTED_PAGES, ...[...pages.keys()].sort((a, b) => a - b)])
      : pages.get(page);
  if (!body) return undefined;
  const bytes = new Uint8Array(4 + body.length);
  bytes[0] = deviceType;
  bytes[1] = page;
  new DataView(bytes.buffer).setUint16(2, body.length);
  bytes.set(body, 4);
  return bytes;
}

/** Unit serial number page. */
export function serialPage(serial: string): Uint8Array {
  return paddedText(serial, serial.length);
}

/**
 * Device identification page (SPC-4 7.8.6): a T10 vendor designator and, for the kernel's by-id names, a locally assigned NAA designator
 * made of the serial number.
 */
export function deviceIdPage({ vendor, product, serial }: ScsiIdentity): Uint8Array {
  const text = Uint8Array.from([...paddedText(vendor, 8), ...paddedText(product, 16), ...serialPage(serial)]);
  const t10 = [0x02, 0x01, 0, text.length, ...text];
  const naa = locallyAssignedNaa(serial);
  return Uint8Array.from([...t10, 0x01, 0x03, 0, naa.length, ...naa]);
}

/** NAA 3, locally assigned (SPC-4 7.8.6.6.4): 60 bits of an FNV-1a hash, so that equal serial numbers have equal names. */
function locallyAssignedNaa(serial: string): Uint8Array {
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < serial.length; i++) {
    hash = ((hash ^ BigInt(serial.charCodeAt(i) & 0xff)) * 0x100000001b3n) & 0xffffffffffffffffn;
  }
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, (hash & 0x0fffffffffffffffn) | 0x3000000000000000n);
  return bytes;
}
