/** All tables that the machine writes into guest memory before the first instruction. */
import { buildAcpiTables } from './acpi/tables.ts';
import type { AcpiParameters } from './acpi/parameters.ts';
import { ACPI_RSDP_GPA, MP_TABLE_GPA, SMBIOS_GPA } from './layout.ts';
import { buildMpTable, type MpTableParameters } from './mptable.ts';
import { buildSmbios, type SmbiosParameters } from './smbios.ts';

/** Bytes to be written at a guest-physical address. */
export interface FirmwareTable {
  readonly gpa: number;
  readonly bytes: Uint8Array;
  /** Signature or common name, for messages and dumps. */
  readonly name: string;
}

/** What to build; a part that is absent (-Y, -A off) is not built. */
export interface FirmwareTablesParameters {
  readonly acpi?: AcpiParameters | undefined;
  readonly mpTable?: MpTableParameters | undefined;
  readonly smbios?: SmbiosParameters | undefined;
}

/** Throws FirmwareTableError when the configuration cannot be expressed (too many processors, over-long strings). */
export function buildFirmwareTables(parameters: FirmwareTablesParameters): FirmwareTable[] {
  const tables: FirmwareTable[] = [];
  if (parameters.mpTable) tables.push({ gpa: MP_TABLE_GPA, bytes: buildMpTable(parameters.mpTable), name: 'MPTABLE' });
  if (parameters.smbios) tables.push({ gpa: SMBIOS_GPA, bytes: buildSmbios(parameters.smbios), name: 'SMBIOS' });
  if (parameters.acpi) tables.push(...buildAcpiTables(parameters.acpi));
  return tables;
}

/** Where a loader may tell the guest to look for ACPI; undefined when the machine has no tables. */
export function rsdpGpa(parameters: FirmwareTablesParameters): number | undefined {
  return parameters.acpi ? ACPI_RSDP_GPA : undefined;
}
