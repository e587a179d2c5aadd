/** The files that bhyve 14 offers its firmware through fw_cfg. */
import type { PlacedTable } from './acpi/tables.ts';
import { ByteWriter } from './byte-writer.ts';
import { encodeE820, firmwareMemoryMap, type RamSizes } from './e820.ts';
import type { FwCfgFile } from './fw-cfg.ts';

/** A boot device: PCI slot and function on bus 0, in the order of its bootindex. */
export interface BootDevice {
  readonly slot: number;
  readonly func: number;
  readonly bootIndex: number;
}

export interface FwCfgFilesParameters extends RamSizes {
  readonly cpus: number;
  readonly bootDevices: readonly BootDevice[];
  /** What buildAcpiTables returned; empty without ACPI. */
  readonly acpiTables: readonly PlacedTable[];
}

/** Everything but the user's own files (-f). */
export function fwCfgFiles(parameters: FwCfgFilesParameters): FwCfgFile[] {
  const files: FwCfgFile[] = [
    { name: 'opt/bhyve/hw.ncpu', bytes: new ByteWriter().u32(parameters.cpus).finish() },
    { name: 'etc/e820', bytes: encodeE820(firmwareMemoryMap(parameters)) },
  ];
  if (parameters.bootDevices.length > 0) {
    const ordered = [...parameters.bootDevices].sort((left, right) => left.bootIndex - right.bootIndex);
    const lines = ordered.map(({ slot, func }) => `/pci@i0cf8/pci@${slot},${func}\n`).join('');
    files.push({ name: 'bootorder', bytes: new ByteWriter().text(lines).u8(0).finish() });
  }
  return [...files, ...acpiFiles(parameters.acpiTables)];
}

const RSDP_FILE = 'etc/acpi/rsdp';
const TABLES_FILE = 'etc/acpi/tables';
const LOADER_FILE = 'etc/table-loader';

const COMMAND_BYTES = 128;
const FILE_NAME_BYTES = 56;
const COMMAND_ALLOCATE = 1;
const COMMAND_ADD_POINTER = 2;
const COMMAND_ADD_CHECKSUM = 3;
const ZONE_HIGH = 1;
const ZONE_FSEG = 2;

/** A field of a table that holds the address of another one. */
interface PointerField {
  readonly offset: number;
  readonly bytes: 4 | 8;
}

/** Address fields by table (ACPI 6.5: 5.2.5.3, 5.2.7, 5.2.8, 5.2.9). */
function pointerFields(table: PlacedTable): PointerField[] {
  const fields: PointerField[] = [];
  switch (table.name) {
    case 'RSDP':
      return [
        { offset: 16, bytes: 4 },
        { offset: 24, bytes: 8 },
      ];
    case 'RSDT':
      for (let offset = 36; offset < table.bytes.length; offset += 4) fields.push({ offset, bytes: 4 });
      return fields;
    case 'XSDT':
      for (let offset = 36; offset < table.bytes.length; offset += 8) fields.push({ offset, bytes: 8 });
      return fields;
    case 'FADT':
      return [
        { offset: 36, bytes: 4 },
        { offset: 40, bytes: 4 },
        { offset: 132, bytes: 8 },
        { offset: 140, bytes: 8 },
      ];
    default:
      return fields;
  }
}

/** The linker/loader script of QEMU's hw/acpi/bios-linker-loader.c: fixed-size commands. */
class LoaderScript {
  readonly #writer = new ByteWriter();

  #command(code: number, fill: (writer: ByteWriter) => void): void {
    const command = new ByteWriter().u32(code);
    fill(command);
    this.#writer.bytes(command.zeros(COMMAND_BYTES - command.lengthBytes).finish());
  }

  allocate(file: string, alignment: number, zone: number): void {
    this.#command(COMMAND_ALLOCATE, (writer) => writer.text(file, FILE_NAME_BYTES, 0).u32(alignment).u8(zone));
  }

  addPointer(destination: string, source: string, offset: number, bytes: number): void {
    this.#command(COMMAND_ADD_POINTER, (writer) =>
      writer.text(destination, FILE_NAME_BYTES, 0).text(source, FILE_NAME_BYTES, 0).u32(offset).u8(bytes),
    );
  }

  addChecksum(file: string, resultOffset: number, start: number, lengthBytes: number): void {
    this.#command(COMMAND_ADD_CHECKSUM, (writer) =>
      writer.text(file, FILE_NAME_BYTES, 0).u32(resultOffset).u32(start).u32(lengthBytes),
    );
  }

  finish(): Uint8Array {
    return this.#writer.finish();
  }
}

/**
 * The tables as two files with addresses relative to the second one, and the script by which firmware places them.
 * Checksum fields that the script computes are zero, as firmware adds nothing but the result.
 */
function acpiFiles(tables: readonly PlacedTable[]): FwCfgFile[] {
  const rsdp = tables.find(({ name }) => name === 'RSDP');
  const placed = tables.filter(({ name }) => name !== 'RSDP');
  if (!rsdp || placed.length === 0) return [];
  const start = Math.min(...placed.map(({ gpa }) => gpa));
  const end = Math.max(...placed.map(({ gpa, bytes }) => gpa + bytes.length));
  const rsdpBytes = rsdp.bytes.slice();
  const tableBytes = new Uint8Array(end - start);
  for (const { gpa, bytes } of placed) tableBytes.set(bytes, gpa - start);

  const script = new LoaderScript();
  script.allocate(RSDP_FILE, 16, ZONE_FSEG);
  script.allocate(TABLES_FILE, 64, ZONE_HIGH);
  const relocate = (file: string, bytes: Uint8Array, base: number, table: PlacedTable): void => {
    const view = new DataView(bytes.buffer);
    for (const field of pointerFields(table)) {
      const at = base + field.offset;
      if (field.bytes === 4) view.setUint32(at, view.getUint32(at, true) - start, true);
      else view.setBigUint64(at, view.getBigUint64(at, true) - BigInt(start), true);
      script.addPointer(file, TABLES_FILE, at, field.bytes);
    }
  };
  for (const table of placed) {
    const base = table.gpa - start;
    relocate(TABLES_FILE, tableBytes, base, table);
    if (pointerFields(table).length === 0) continue;
    const checksumAt = base + 9;
    tableBytes[checksumAt] = 0;
    script.addChecksum(TABLES_FILE, checksumAt, base, table.bytes.length);
  }
  relocate(RSDP_FILE, rsdpBytes, 0, rsdp);
  rsdpBytes[8] = 0;
  rsdpBytes[32] = 0;
  script.addChecksum(RSDP_FILE, 8, 0, 20);
  script.addChecksum(RSDP_FILE, 32, 0, rsdpBytes.length);
  return [
    { name: RSDP_FILE, bytes: rsdpBytes },
    { name: TABLES_FILE, bytes: tableBytes },
    { name: LOADER_FILE, bytes: script.finish() },
  ];
}
