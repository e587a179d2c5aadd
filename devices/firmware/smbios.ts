/** SMBIOS 2.6 structures (DMTF DSP0134), with the contents that bhyve 14 gives them. */
import { md5 } from '../bus/md5.ts';
import { FirmwareTableError } from './acpi/parameters.ts';
import { ascii, ByteWriter, checksumByte } from './byte-writer.ts';
import { FOUR_GIB, SMBIOS_GPA, SMBIOS_MAX_BYTES } from './layout.ts';

/** The strings that configuration variables replace: bios.*, system.*, board.*, chassis.*. */
export interface SmbiosStrings {
  biosVendor?: string | undefined;
  biosVersion?: string | undefined;
  biosReleaseDate?: string | undefined;
  systemManufacturer?: string | undefined;
  systemProductName?: string | undefined;
  systemVersion?: string | undefined;
  systemSerialNumber?: string | undefined;
  systemSku?: string | undefined;
  systemFamilyName?: string | undefined;
  boardManufacturer?: string | undefined;
  boardProductName?: string | undefined;
  boardVersion?: string | undefined;
  boardSerialNumber?: string | undefined;
  boardAssetTag?: string | undefined;
  boardLocation?: string | undefined;
  chassisManufacturer?: string | undefined;
  chassisVersion?: string | undefined;
  chassisSerialNumber?: string | undefined;
  chassisAssetTag?: string | undefined;
  chassisSku?: string | undefined;
}

export interface SmbiosParameters {
  /** The -U string; absent: derived from the two names below. */
  readonly uuid?: string | undefined;
  readonly vmName: string;
  readonly hostName: string;
  readonly sockets: number;
  readonly coresPerSocket: number;
  readonly threadsPerCore: number;
  readonly lowmemBytes: number;
  readonly highmemBytes: number;
  readonly strings?: SmbiosStrings | undefined;
}

/** Size of the host name buffer that takes part in the derived UUID (MAXHOSTNAMELEN). */
const HOST_NAME_BYTES = 256;
const UUID_PATTERN = /^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$/i;
const ENTRY_POINT_BYTES = 0x1f;
const INTERMEDIATE_OFFSET = 0x10;
const NO_HANDLE = 0xffff;
/** What the TSC counts in a microsecond (core-as/time.ts). bhyve leaves it 0, which firmware shows as 0.00 GHz. */
const SPEED_MHZ = 2013;

/** True for the form that -U takes: 8-4-4-4-12 hexadecimal digits. */
export function isUuid(text: string): boolean {
  return UUID_PATTERN.test(text);
}

/** The 16 bytes of the system UUID (DSP0134 7.2.1). */
export function systemUuid(parameters: Pick<SmbiosParameters, 'uuid' | 'vmName' | 'hostName'>): Uint8Array {
  const { uuid } = parameters;
  if (uuid !== undefined) {
    const match = UUID_PATTERN.exec(uuid);
    if (!match) throw new FirmwareTableError(`"${uuid}" is not a UUID`);
    const [, timeLow = '', timeMid = '', timeHigh = '', clock = '', node = ''] = match;
    // The first three fields are little-endian, the rest is a byte string.
    const writer = new ByteWriter()
      .u32(Number.parseInt(timeLow, 16))
      .u16(Number.parseInt(timeMid, 16))
      .u16(Number.parseInt(timeHigh, 16));
    for (const digits of (clock + node).match(/../g) ?? []) writer.u8(Number.parseInt(digits, 16));
    return writer.finish();
  }
  const encoder = new TextEncoder();
  const host = encoder.encode(parameters.hostName).slice(0, HOST_NAME_BYTES - 1);
  const digest = md5(
    new ByteWriter()
      .bytes(encoder.encode(parameters.vmName))
      .bytes(host)
      .zeros(HOST_NAME_BYTES - host.length)
      .finish(),
  ).slice();
  digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x30;
  digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80;
  return digest;
}

/** Collects structures: formatted area, then the string set that its string numbers refer to (6.1.3). */
class StructureTable {
  readonly #bytes = new ByteWriter();
  #count = 0;
  #largestBytes = 0;

  /** Adds one structure and returns its handle; handles count from 1. `fill` writes what follows the 4-byte header. */
  add(type: number, fill: (area: ByteWriter, text: (value: string) => number) => void): number {
    const handle = this.#count + 1;
    const strings: string[] = [];
    const area = new ByteWriter().u8(type).u8(0).u16(handle);
    fill(area, (value) => (value === '' ? 0 : strings.push(value)));
    area.patchU8(1, area.lengthBytes);
    for (const text of strings) area.bytes(printable(text)).u8(0);
    area.zeros(strings.length === 0 ? 2 : 1);
    const structure = area.finish();
    this.#bytes.bytes(structure);
    this.#count = handle;
    this.#largestBytes = Math.max(this.#largestBytes, structure.length);
    return handle;
  }

  get count(): number {
    return this.#count;
  }

  get largestBytes(): number {
    return this.#largestBytes;
  }

  finish(): Uint8Array {
    return this.#bytes.finish();
  }
}

function printable(text: string): Uint8Array {
  if (!/^[\x20-\x7e]+$/.test(text)) throw new FirmwareTableError(`"${text}" is not printable ASCII`);
  return ascii(text);
}

function biosInformation(table: StructureTable, strings: SmbiosStrings): void {
  const ISA = 1 << 4;
  const PCI = 1 << 7;
  const SHADOWING = 1 << 12;
  const BOOT_FROM_CD = 1 << 15;
  const EDD = 1 << 19;
  const ACPI = 1 << 0;
  const BIOS_BOOT_SPECIFICATION = 1 << 0;
  const VIRTUAL_MACHINE = 1 << 4;
  table.add(0, (area, text) => {
    area
      .u8(text(strings.biosVendor ?? 'BHYVE'))
      .u8(text(strings.biosVersion ?? '14.0'))
      .u16(0xf000)
      .u8(text(strings.biosReleaseDate ?? '10/17/2021'))
      .u8(0) // ROM size: 64 KiB
      .u64(ISA | PCI | SHADOWING | BOOT_FROM_CD | EDD)
      .u8(ACPI)
      .u8(BIOS_BOOT_SPECIFICATION | VIRTUAL_MACHINE)
      .u8(0)
      .u8(0)
      .u8(0xff) // no embedded controller
      .u8(0xff);
  });
}

function systemInformation(table: StructureTable, strings: SmbiosStrings, uuid: Uint8Array): void {
  const WAKE_UP_POWER_SWITCH = 6;
  table.add(1, (area, text) => {
    area
      .u8(text(strings.systemManufacturer ?? 'FreeBSD'))
      .u8(text(strings.systemProductName ?? 'BHYVE'))
      .u8(text(strings.systemVersion ?? '1.0'))
      .u8(text(strings.systemSerialNumber ?? 'None'))
      .bytes(uuid)
      .u8(WAKE_UP_POWER_SWITCH)
      .u8(text(strings.systemSku ?? 'None'))
      .u8(text(strings.systemFamilyName ?? 'Virtual Machine'));
  });
}

function baseboard(table: StructureTable, strings: SmbiosStrings, chassisHandle: number): void {
  const HOSTING_BOARD = 1 << 0;
  const MOTHERBOARD = 0x0a;
  table.add(2, (area, text) => {
    area
      .u8(text(strings.boardManufacturer ?? 'FreeBSD'))
      .u8(text(strings.boardProductName ?? 'BHYVE'))
      .u8(text(strings.boardVersion ?? '1.0'))
      .u8(text(strings.boardSerialNumber ?? 'None'))
      .u8(text(strings.boardAssetTag ?? 'None'))
      .u8(HOSTING_BOARD)
      .u8(text(strings.boardLocation ?? 'None'))
      .u16(chassisHandle)
      .u8(MOTHERBOARD)
      .u8(0);
  });
}

function chassis(table: StructureTable, strings: SmbiosStrings): number {
  const TYPE_UNKNOWN = 2;
  const STATE_SAFE = 3;
  const SECURITY_NONE = 3;
  return table.add(3, (area, text) => {
    area
      .u8(text(strings.chassisManufacturer ?? 'FreeBSD'))
      .u8(TYPE_UNKNOWN)
      .u8(text(strings.chassisVersion ?? '1.0'))
      .u8(text(strings.chassisSerialNumber ?? 'None'))
      .u8(text(strings.chassisAssetTag ?? 'None'))
      .u8(STATE_SAFE)
      .u8(STATE_SAFE)
      .u8(STATE_SAFE)
      .u8(SECURITY_NONE)
      .u32(0)
      .u8(0) // height: unspecified
      .u8(1) // power cords
      .u8(0)
      .u8(0) // no contained elements
      .u8(text(strings.chassisSku ?? 'None'));
  });
}

function processor(table: StructureTable, index: number, cores: number, threads: number): void {
  const CENTRAL_PROCESSOR = 3;
  const FAMILY_OTHER = 1;
  const POPULATED_AND_ENABLED = 0x41;
  const UPGRADE_NONE = 6;
  const CAPABLE_64_BIT = 1 << 2;
  // The counts are bytes; 0xFF would mean "see the 3.0 fields", which version 2.6 lacks.
  const count = (value: number): number => Math.min(value, 0xfe);
  table.add(4, (area, text) => {
    area
      .u8(text(`CPU #${index}`))
      .u8(CENTRAL_PROCESSOR)
      .u8(FAMILY_OTHER)
      .u8(text(' '))
      .u64(0)
      .u8(text(' '))
      .u8(0) // voltage
      .u16(0) // external clock
      .u16(SPEED_MHZ)
      .u16(SPEED_MHZ)
      .u8(POPULATED_AND_ENABLED)
      .u8(UPGRADE_NONE)
      .u16(NO_HANDLE)
      .u16(NO_HANDLE)
      .u16(NO_HANDLE)
      .u8(text(' '))
      .u8(text(' '))
      .u8(text(' '))
      .u8(count(cores))
      .u8(count(cores))
      .u8(count(cores * threads))
      .u16(CAPABLE_64_BIT)
      .u16(FAMILY_OTHER);
  });
}

/** Types 16, 17 and 19: one array, one device of the whole size, and where it is mapped. */
function memory(table: StructureTable, lowmemBytes: number, highmemBytes: number): void {
  const SYSTEM_BOARD = 3;
  const SYSTEM_MEMORY = 3;
  const ECC_NONE = 3;
  const USE_EXTENDED = 0x80000000;
  const totalBytes = lowmemBytes + highmemBytes;
  const array = table.add(16, (area) => {
    area
      .u8(SYSTEM_BOARD)
      .u8(SYSTEM_MEMORY)
      .u8(ECC_NONE)
      .u32(USE_EXTENDED)
      .u16(0xfffe) // no error information
      .u16(1)
      .u64(totalBytes);
  });

  const UNKNOWN_BITS = 64;
  const FORM_FACTOR_UNKNOWN = 2;
  const MEMORY_TYPE_UNKNOWN = 2;
  const DETAIL_UNKNOWN = 1 << 2;
  const SIZE_IN_EXTENDED_FIELD = 0x7fff;
  const megabytes = Math.floor(totalBytes / 0x100000);
  const extended = megabytes >= SIZE_IN_EXTENDED_FIELD;
  table.add(17, (area, text) => {
    area
      .u16(array)
      .u16(0xfffe)
      .u16(UNKNOWN_BITS)
      .u16(UNKNOWN_BITS)
      .u16(extended ? SIZE_IN_EXTENDED_FIELD : megabytes)
      .u8(FORM_FACTOR_UNKNOWN)
      .u8(0)
      .u8(text(' '))
      .u8(text(' '))
      .u8(MEMORY_TYPE_UNKNOWN)
      .u16(DETAIL_UNKNOWN)
      .u16(0) // speed
      .u8(text(' '))
      .u8(text(' '))
      .u8(text(' '))
      .u8(text(' '))
      .u8(0)
      .u32(extended ? megabytes : 0)
      .u16(0);
  });

  const mapped = (base: number, lengthBytes: number): void => {
    // Ends in KiB as 32 bits; ranges past 4 TiB use the 2.7 fields, which no machine of ours reaches.
    table.add(19, (area) => {
      area
        .u32(Math.floor(base / 1024))
        .u32(Math.floor((base + lengthBytes) / 1024) - 1)
        .u16(array)
        .u8(1)
        .u64(0)
        .u64(0);
    });
  };
  mapped(0, lowmemBytes);
  if (highmemBytes > 0) mapped(FOUR_GIB, highmemBytes);
}

/** The entry point structure at 0xF1000 and the structure table right behind it. */
export function buildSmbios(parameters: SmbiosParameters): Uint8Array {
  const strings = parameters.strings ?? {};
  const table = new StructureTable();
  biosInformation(table, strings);
  systemInformation(table, strings, systemUuid(parameters));
  baseboard(table, strings, table.count + 2); // the chassis comes next
  chassis(table, strings);
  for (let socket = 0; socket < parameters.sockets; socket++) {
    processor(table, socket, parameters.coresPerSocket, parameters.threadsPerCore);
  }
  memory(table, parameters.lowmemBytes, parameters.highmemBytes);
  // Type 32: no boot error. Type 127: end of the table.
  table.add(32, (area) => area.zeros(7));
  table.add(127, () => undefined);
  const structures = table.finish();

  // Entry point structure of version 2.1 and later (5.2.1), with two checksums: all of it, and the DMI part.
  const entry = new ByteWriter()
    .text('_SM_', 4)
    .u8(0)
    .u8(ENTRY_POINT_BYTES)
    .u8(2)
    .u8(6)
    .u16(table.largestBytes)
    .u8(0)
    .zeros(5)
    .text('_DMI_', 5)
    .u8(0)
    .u16(structures.length)
    .u32(SMBIOS_GPA + ENTRY_POINT_BYTES)
    .u16(table.count)
    .u8(0x26)
    .finish();
  entry[INTERMEDIATE_OFFSET + 5] = checksumByte(entry, INTERMEDIATE_OFFSET);
  entry[4] = checksumByte(entry);
  const all = new ByteWriter().bytes(entry).bytes(structures).finish();
  if (all.length > SMBIOS_MAX_BYTES) throw new FirmwareTableError('the SMBIOS strings are too long for the table area');
  return all;
}
