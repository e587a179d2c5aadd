/** IDENTIFY DEVICE data of a disk (ACS-3 7.12), as bhyve fills it in, and SMART and general purpose logging on top. */
import { putAtaText, sealIdentify } from './command.ts';

export const SECTOR_BYTES = 512;
export const IDENTIFY_BYTES = 512;
/** Commands that can be queued, less one. */
const QUEUE_DEPTH = 32;

export interface AtaIdentity {
  readonly serial: string;
  readonly revision: string;
  readonly model: string;
  /** Nominal media rotation rate: 1 a solid state disk, 0 not reported. */
  readonly rotationRate: number;
}

export interface AtaGeometry {
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly sectors: number;
  readonly canTrim: boolean;
}

export interface AtaSettings {
  /** Mode of SET FEATURES 03h: 0x40 | n for Ultra DMA n, 0x20 | n for multiword DMA n. */
  readonly transferMode: number;
  readonly multipleSectors: number;
  readonly writeCache: boolean;
  readonly readLookAhead: boolean;
  readonly smart: boolean;
}

/** Cylinders, heads and sectors by the algorithm of the VHD specification, which bhyve uses. */
export function vhdGeometry(sectors: number): { cylinders: number; heads: number; sectorsPerTrack: number } {
  const total = Math.min(sectors, 65535 * 16 * 255);
  if (total >= 65536 * 16 * 63) {
    return { cylinders: Math.floor(total / 255 / 16), heads: 16, sectorsPerTrack: 255 };
  }
  let sectorsPerTrack = 17;
  let cylinderHeads = Math.floor(total / sectorsPerTrack);
  let heads = Math.max(4, Math.floor((cylinderHeads + 1023) / 1024));
  if (cylinderHeads >= heads * 1024 || heads > 16) {
    sectorsPerTrack = 31;
    heads = 16;
    cylinderHeads = Math.floor(total / sectorsPerTrack);
  }
  if (cylinderHeads >= heads * 1024) {
    sectorsPerTrack = 63;
    heads = 16;
    cylinderHeads = Math.floor(total / sectorsPerTrack);
  }
  return { cylinders: Math.floor(cylinderHeads / heads), heads, sectorsPerTrack };
}

/** Bits of the multiword or Ultra DMA word: modes supported, and the selected one. */
function modeBits(transferMode: number, kind: number, supported: number): number {
  return supported | ((transferMode & 0xf8) === kind ? 0x100 << (transferMode & 7) : 0);
}

export function identifyDevice(identity: AtaIdentity, geometry: AtaGeometry, settings: AtaSettings): Uint8Array {
  const bytes = new Uint8Array(IDENTIFY_BYTES);
  const view = new DataView(bytes.buffer);
  const set = (word: number, value: number): void => view.setUint16(2 * word, value & 0xffff, true);
  const set32 = (word: number, value: number): void => view.setUint32(2 * word, value, true);
  const { cylinders, heads, sectorsPerTrack } = vhdGeometry(geometry.sectors);
  const lba28 = Math.min(geometry.sectors, 0x0fffffff);

  set(0, 0x0040);
  set(1, Math.min(cylinders, 0xffff));
  set(3, heads);
  set(6, sectorsPerTrack);
  putAtaText(view, 10, 10, identity.serial);
  putAtaText(view, 23, 4, identity.revision);
  putAtaText(view, 27, 20, identity.model);
  set(47, 0x8000 | 128);
  set(49, 0x0b00); // DMA, LBA, IORDY
  set(50, 1 << 14);
  set(53, 0x0006);
  if (settings.multipleSectors > 0) set(59, 0x0100 | settings.multipleSectors);
  set32(60, lba28);
  set(63, modeBits(settings.transferMode, 0x20, 0x07));
  set(64, 0x03);
  for (const word of [65, 66, 67, 68]) set(word, 120);
  if (geometry.canTrim) set(69, 1 << 14); // deterministic after TRIM: what lies in the backend
  set(75, QUEUE_DEPTH - 1);
  set(76, 0x010e); // NCQ, generations 1 to 3
  set(77, 0x0006 | (geometry.canTrim ? 0x0040 : 0)); // running at generation 3; SEND FPDMA QUEUED for TRIM
  set(80, 0x03f0);
  set(81, 0x0028);
  set(82, 0x4069); // NOP, look-ahead, write cache, power management, SMART
  set(83, (1 << 14) | (1 << 13) | (1 << 12) | (1 << 10)); // flush cache (ext), 48-bit addresses
  set(84, (1 << 14) | (1 << 6) | (1 << 5) | (1 << 1) | 1); // WRITE FUA, logs, self-test, error log
  set(85, 0x4008 | (settings.smart ? 1 : 0) | (settings.writeCache ? 0x20 : 0) | (settings.readLookAhead ? 0x40 : 0));
  set(86, (1 << 13) | (1 << 12) | (1 << 10) | (1 << 15)); // words 119 and 120 are valid
  set(87, (1 << 14) | (1 << 6) | (1 << 5) | (1 << 1) | 1);
  set(88, modeBits(settings.transferMode, 0x40, 0x7f));
  view.setBigUint64(200, BigInt(geometry.sectors), true);
  if (geometry.canTrim) {
    set(105, 1);
    set(169, 1);
  }
  const perPhysical = Math.floor(geometry.physicalSectorBytes / geometry.logicalSectorBytes);
  let topology = 1 << 14;
  if (perPhysical > 1) topology |= (1 << 13) | Math.floor(Math.log2(perPhysical));
  if (geometry.logicalSectorBytes > SECTOR_BYTES) {
    topology |= 1 << 12;
    set32(117, geometry.logicalSectorBytes / 2);
  }
  set(106, topology);
  set(119, (1 << 14) | (1 << 3)); // READ LOG DMA EXT
  set(120, (1 << 14) | (1 << 3));
  if (perPhysical > 1) set(209, 1 << 14);
  set(217, identity.rotationRate);
  set(222, 0x1020);
  sealIdentify(bytes);
  return bytes;
}
