/** The ACPI tables, at the addresses where bhyve 14 places them (ACPI 6.5, chapter 5; field values are bhyve's). */
import { ByteWriter, checksumByte } from '../byte-writer.ts';
import * as at from '../layout.ts';
import { buildDsdtBody } from './dsdt.ts';
import { FirmwareTableError, type AcpiDomain, type AcpiParameters } from './parameters.ts';

/** A table and its guest-physical address. */
export interface PlacedTable {
  readonly name: string;
  readonly gpa: number;
  readonly bytes: Uint8Array;
}

const OEM_ID = 'BHYVE';
const CREATOR_ID = 'BASL';
const CREATOR_REVISION = 0x20220504;

const HEADER_BYTES = 36;
const CHECKSUM_OFFSET = 9;

// Slots of the tables after the RSDP; the sizes are bhyve's.
const RSDT_OFFSET = 0x40;
const XSDT_OFFSET = 0x80;
const MADT_OFFSET = 0x100;
const FADT_SLOT = 0x140;
const SMALL_SLOT = 0x40;
const TABLE_ALIGN = 0x40;

/** The most local APICs that 8-bit APIC ids can name, 0xFF being the broadcast id. */
const MAX_CPUS = 254;

/** System description table header (5.2.6) around a body. */
function table(signature: string, revision: number, oemTableId: string, body: Uint8Array): Uint8Array {
  const bytes = new ByteWriter()
    .text(signature, 4)
    .u32(HEADER_BYTES + body.length)
    .u8(revision)
    .u8(0)
    .text(OEM_ID, 6)
    .text(oemTableId, 8)
    .u32(1)
    .text(CREATOR_ID, 4)
    .u32(CREATOR_REVISION)
    .bytes(body)
    .finish();
  bytes[CHECKSUM_OFFSET] = checksumByte(bytes);
  return bytes;
}

/** RSDP, version 2 (5.2.5.3): the first checksum covers the 20 bytes of version 1, the second all 36. */
function rsdp(rsdtGpa: number, xsdtGpa: number): Uint8Array {
  const bytes = new ByteWriter()
    .text('RSD PTR ', 8)
    .u8(0)
    .text(OEM_ID, 6)
    .u8(2)
    .u32(rsdtGpa)
    .u32(36)
    .u64(xsdtGpa)
    .zeros(4)
    .finish();
  bytes[8] = checksumByte(bytes, 0, 20);
  bytes[32] = checksumByte(bytes);
  return bytes;
}

function rsdt(gpas: readonly number[]): Uint8Array {
  const body = new ByteWriter();
  for (const gpa of gpas) body.u32(gpa);
  return table('RSDT', 1, 'BVRSDT', body.finish());
}

function xsdt(gpas: readonly number[]): Uint8Array {
  const body = new ByteWriter();
  for (const gpa of gpas) body.u64(gpa);
  return table('XSDT', 1, 'BVXSDT', body.finish());
}

/** MPS INTI flags (5.2.12.5): polarity in bits 1:0, trigger mode in bits 3:2. */
const INTI_ACTIVE_HIGH_EDGE = 0x5;
const INTI_ACTIVE_LOW_LEVEL = 0xf;

function madt(cpus: number): Uint8Array {
  const body = new ByteWriter().u32(at.LAPIC_GPA).u32(1); // PCAT_COMPAT: 8259s exist
  for (let cpu = 0; cpu < cpus; cpu++) body.u8(0).u8(8).u8(cpu).u8(cpu).u32(1);
  body.u8(1).u8(12).u8(0).u8(0).u32(at.IOAPIC_GPA).u32(0);
  const override = (irq: number, gsi: number, flags: number): void => {
    body.u8(2).u8(10).u8(0).u8(irq).u32(gsi).u16(flags);
  };
  // bhyve 14 says level/active-low for the timer too; the 8254 is an edge source, and guests warn about the claim.
  override(0, 2, INTI_ACTIVE_HIGH_EDGE);
  override(at.SCI_IRQ, at.SCI_IRQ, INTI_ACTIVE_LOW_LEVEL);
  // LINT1 of every processor is NMI.
  body.u8(4).u8(6).u8(0xff).u16(INTI_ACTIVE_HIGH_EDGE).u8(1);
  return table('APIC', 1, 'BVMADT', body.finish());
}

/** Generic address structure (5.2.3.2). */
function genericAddress(writer: ByteWriter, space: number, bits: number, access: number, address: number): void {
  writer.u8(space).u8(bits).u8(0).u8(access).u64(address);
}
const SPACE_MEMORY = 0;
const SPACE_IO = 1;
const ACCESS_BYTE = 1;
const ACCESS_WORD = 2;
const ACCESS_DWORD = 3;

/** FADT revision 5 (5.2.9). */
function fadt(facsGpa: number, dsdtGpa: number): Uint8Array {
  const NO_VGA = 1 << 2;
  const NO_ASPM = 1 << 4;
  const WBINVD = 1 << 0;
  const PROC_C1 = 1 << 2;
  const SLP_BUTTON = 1 << 5;
  const TMR_VAL_EXT = 1 << 8;
  const RESET_REG_SUP = 1 << 10;
  const HEADLESS = 1 << 12;
  const FORCE_APIC_PHYSICAL = 1 << 19;
  const body = new ByteWriter()
    .u32(facsGpa)
    .u32(dsdtGpa)
    .u8(0)
    .u8(0) // preferred PM profile: unspecified
    .u16(at.SCI_IRQ)
    .u32(at.SMI_CMD_PORT)
    .u8(at.SMI_CMD_ACPI_ENABLE)
    .u8(at.SMI_CMD_ACPI_DISABLE)
    .u8(0) // S4BIOS_REQ
    .u8(0) // PSTATE_CNT
    .u32(at.PM1A_EVT_PORT)
    .u32(0)
    .u32(at.PM1A_CNT_PORT)
    .u32(0)
    .u32(0) // PM2_CNT
    .u32(at.PM_TMR_PORT)
    .u32(at.GPE0_PORT)
    .u32(0) // GPE1
    .u8(4)
    .u8(2)
    .u8(0)
    .u8(4)
    .u8(2)
    .u8(0) // GPE1 length
    .u8(0) // GPE1 base
    .u8(0) // C-state control
    .u16(0) // C2 latency
    .u16(0) // C3 latency
    .u16(0) // flush size
    .u16(0) // flush stride
    .u8(0) // duty offset
    .u8(0) // duty width
    .u8(0) // day alarm
    .u8(0) // month alarm
    .u8(at.RTC_CENTURY_INDEX)
    .u16(NO_VGA | NO_ASPM)
    .u8(0)
    .u32(WBINVD | PROC_C1 | SLP_BUTTON | TMR_VAL_EXT | RESET_REG_SUP | HEADLESS | FORCE_APIC_PHYSICAL);
  genericAddress(body, SPACE_IO, 8, ACCESS_BYTE, at.RESET_PORT);
  body
    .u8(6) // reset value
    .u16(0) // ARM boot flags
    .u8(1) // minor revision
    .u64(facsGpa)
    .u64(dsdtGpa);
  genericAddress(body, SPACE_IO, 32, ACCESS_WORD, at.PM1A_EVT_PORT);
  genericAddress(body, SPACE_MEMORY, 0, 0, 0); // PM1b events
  genericAddress(body, SPACE_IO, 16, ACCESS_WORD, at.PM1A_CNT_PORT);
  genericAddress(body, SPACE_MEMORY, 0, 0, 0); // PM1b control
  genericAddress(body, SPACE_MEMORY, 0, 0, 0); // PM2 control
  genericAddress(body, SPACE_IO, 32, ACCESS_DWORD, at.PM_TMR_PORT);
  genericAddress(body, SPACE_IO, 16, ACCESS_BYTE, at.GPE0_PORT);
  genericAddress(body, SPACE_MEMORY, 0, 0, 0); // GPE1
  genericAddress(body, SPACE_MEMORY, 0, 0, 0); // sleep control
  genericAddress(body, SPACE_MEMORY, 0, 0, 0); // sleep status
  return table('FACP', 5, 'BVFACP', body.finish());
}

/** HPET description table (IA-PC HPET specification 1.0a, 3.2.4). */
function hpet(): Uint8Array {
  const PAGE_PROTECTION_4K = 1;
  const body = new ByteWriter().u32(0x80860701);
  genericAddress(body, SPACE_MEMORY, 0, 0, at.HPET_GPA);
  body.u8(0).u16(0).u8(PAGE_PROTECTION_4K);
  return table('HPET', 1, 'BVHPET', body.finish());
}

/** MCFG (PCI Firmware specification 3.2, 4.1.2). */
function mcfg(ecam: { readonly base: number; readonly buses: number }): Uint8Array {
  const body = new ByteWriter()
    .zeros(8)
    .u64(ecam.base)
    .u16(0)
    .u8(0)
    .u8(ecam.buses - 1)
    .u32(0);
  return table('MCFG', 1, 'BVMCFG', body.finish());
}

const AFFINITY_ENABLED = 1;

/** SRAT (5.2.16): which processors and which memory are near each other. */
function srat(domains: readonly AcpiDomain[]): Uint8Array {
  const body = new ByteWriter().u32(1).zeros(8);
  for (const { id, cpus } of domains) {
    for (const cpu of cpus) body.u8(0).u8(16).u8(id).u8(cpu).u32(AFFINITY_ENABLED).zeros(8);
  }
  for (const { id, memory } of domains) {
    for (const { base, length } of memory) {
      body.u8(1).u8(40).u32(id).zeros(2).u64(base).u64(length).zeros(4).u32(AFFINITY_ENABLED).zeros(8);
    }
  }
  return table('SRAT', 1, 'BVSRAT', body.finish());
}

/** Start methods of a TPM (TCG ACPI specification 1.2, 7.3): command-response buffer. */
const TPM_START_CRB = 7;
/** The control area lies behind the locality's registers (TCG PC Client Platform TPM Profile, 6.5.3.1). */
const TPM_CONTROL_AREA = 0x40;

/** TPM2, revision 4. */
function tpm2(gpa: number): Uint8Array {
  const body = new ByteWriter()
    .u16(0)
    .u16(0)
    .u64(gpa + TPM_CONTROL_AREA)
    .u32(TPM_START_CRB);
  body.zeros(12).u32(0).u64(0);
  return table('TPM2', 4, 'BVTPM2', body.finish());
}

/** FACS version 2 (5.2.10): no header, no checksum. */
function facs(): Uint8Array {
  return new ByteWriter().text('FACS', 4).u32(64).zeros(24).u8(2).zeros(31).finish();
}

/** Every ACPI table of a machine, RSDP first. */
export function buildAcpiTables(parameters: AcpiParameters): PlacedTable[] {
  const { cpus, ecam } = parameters;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_CPUS) {
    throw new FirmwareTableError(`${cpus} processors do not fit the MADT`);
  }
  if (ecam && (ecam.buses < 1 || ecam.buses > 256)) {
    throw new FirmwareTableError(`an ECAM of ${ecam.buses} buses does not exist`);
  }
  const base = at.ACPI_RSDP_GPA;
  const madtBytes = madt(cpus);
  const rsdtGpa = base + RSDT_OFFSET;
  const xsdtGpa = base + XSDT_OFFSET;
  const madtGpa = base + MADT_OFFSET;
  const fadtGpa = madtGpa + Math.ceil(madtBytes.length / 0x100) * 0x100;
  const hpetGpa = fadtGpa + FADT_SLOT;
  const mcfgGpa = hpetGpa + SMALL_SLOT;
  const facsGpa = mcfgGpa + SMALL_SLOT;
  const dsdtGpa = facsGpa + SMALL_SLOT;
  const optional: PlacedTable[] = [];
  if (parameters.hpet) optional.push({ name: 'HPET', gpa: hpetGpa, bytes: hpet() });
  if (ecam) optional.push({ name: 'MCFG', gpa: mcfgGpa, bytes: mcfg(ecam) });
  const dsdt = table('DSDT', 2, 'BVDSDT', buildDsdtBody(parameters));
  let end = dsdtGpa + dsdt.length;
  const append = (name: string, bytes: Uint8Array): void => {
    const gpa = Math.ceil(end / TABLE_ALIGN) * TABLE_ALIGN;
    optional.push({ name, gpa, bytes });
    end = gpa + bytes.length;
  };
  if (parameters.tpmGpa !== undefined) append('TPM2', tpm2(parameters.tpmGpa));
  if (parameters.domains && parameters.domains.length > 0) append('SRAT', srat(parameters.domains));
  const optionalGpas = optional.map(({ gpa }) => gpa);
  const tables: PlacedTable[] = [
    { name: 'RSDP', gpa: base, bytes: rsdp(rsdtGpa, xsdtGpa) },
    { name: 'RSDT', gpa: rsdtGpa, bytes: rsdt([madtGpa, fadtGpa, ...optionalGpas]) },
    { name: 'XSDT', gpa: xsdtGpa, bytes: xsdt([fadtGpa, madtGpa, ...optionalGpas]) },
    { name: 'MADT', gpa: madtGpa, bytes: madtBytes },
    { name: 'FADT', gpa: fadtGpa, bytes: fadt(facsGpa, dsdtGpa) },
    ...optional,
    { name: 'FACS', gpa: facsGpa, bytes: facs() },
    { name: 'DSDT', gpa: dsdtGpa, bytes: dsdt },
  ];
  if (end > at.FIRMWARE_TABLES_END) {
    throw new FirmwareTableError('the ACPI tables do not fit below 1 MiB');
  }
  return tables;
}
