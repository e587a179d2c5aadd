/** The MP configuration table (MultiProcessor Specification 1.4, chapter 4), filled as bhyve does. */
import { FirmwareTableError } from './acpi/parameters.ts';
import { ByteWriter, checksumByte } from './byte-writer.ts';
import { IOAPIC_GPA, IOAPIC_VERSION, LAPIC_GPA, MP_TABLE_GPA, MP_TABLE_MAX_BYTES, SCI_IRQ } from './layout.ts';

export interface MpTableParameters {
  readonly cpus: number;
  /** Legacy interrupts of PCI bus 0; pin 1 is INTA. */
  readonly routing: readonly { readonly slot: number; readonly pin: number; readonly ioapicPin: number }[];
}

const SPEC_REVISION = 4;
const FLOATING_POINTER_BYTES = 16;

const ENTRY_PROCESSOR = 0;
const ENTRY_BUS = 1;
const ENTRY_IOAPIC = 2;
const ENTRY_IO_INTERRUPT = 3;
const ENTRY_LOCAL_INTERRUPT = 4;

const CPU_ENABLED = 1;
const CPU_BOOTSTRAP = 2;
/** Family 6, model 26, stepping 5 and its features: bhyve states these whatever the processor is. */
const CPU_SIGNATURE = 0x6a5;
const CPU_FEATURES = 0xbfebfbff;
const LAPIC_VERSION = 0x10;

const PCI_BUS_ID = 0;
const ISA_BUS_ID = 1;
const IOAPIC_ID = 0;
const ISA_IRQS = 16;

/** Interrupt types (table 4-10). */
const INT = 0;
const NMI = 1;
const EXT_INT = 3;
/** MPS INTI flags: conforming to the bus, or level and active low. */
const CONFORMING = 0;
const ACTIVE_LOW_LEVEL = 0xf;
const ALL_LOCAL_APICS = 0xff;

/** The floating pointer at 0xF0000 and, right behind it, the configuration table. */
export function buildMpTable(parameters: MpTableParameters): Uint8Array {
  const { cpus } = parameters;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > 254) {
    throw new FirmwareTableError(`${cpus} processors do not fit the MP table`);
  }
  const entries = new ByteWriter();
  let count = 0;
  for (let cpu = 0; cpu < cpus; cpu++, count++) {
    entries
      .u8(ENTRY_PROCESSOR)
      .u8(cpu)
      .u8(LAPIC_VERSION)
      .u8(CPU_ENABLED | (cpu === 0 ? CPU_BOOTSTRAP : 0))
      .u32(CPU_SIGNATURE)
      .u32(CPU_FEATURES)
      .zeros(8);
  }
  entries.u8(ENTRY_BUS).u8(PCI_BUS_ID).text('PCI', 6);
  entries.u8(ENTRY_BUS).u8(ISA_BUS_ID).text('ISA', 6);
  entries.u8(ENTRY_IOAPIC).u8(IOAPIC_ID).u8(IOAPIC_VERSION).u8(1).u32(IOAPIC_GPA);
  count += 3;
  for (let pin = 0; pin < ISA_IRQS; pin++, count++) {
    // Pin 0 takes the 8259 pair, so that IRQ 0 is wired to pin 2, where the cascade would be.
    const type = pin === 0 ? EXT_INT : INT;
    const irq = pin === 2 ? 0 : pin;
    const flags = pin === SCI_IRQ ? ACTIVE_LOW_LEVEL : CONFORMING;
    entries.u8(ENTRY_IO_INTERRUPT).u8(type).u16(flags).u8(ISA_BUS_ID).u8(irq).u8(IOAPIC_ID).u8(pin);
  }
  for (const route of parameters.routing) {
    const sourceIrq = (route.slot << 2) | (route.pin - 1);
    entries
      .u8(ENTRY_IO_INTERRUPT)
      .u8(INT)
      .u16(CONFORMING)
      .u8(PCI_BUS_ID)
      .u8(sourceIrq)
      .u8(IOAPIC_ID)
      .u8(route.ioapicPin);
    count++;
  }
  for (const [lint, type] of [EXT_INT, NMI].entries()) {
    entries.u8(ENTRY_LOCAL_INTERRUPT).u8(type).u16(CONFORMING).u8(PCI_BUS_ID).u8(0).u8(ALL_LOCAL_APICS).u8(lint);
    count++;
  }

  const table = new ByteWriter()
    .text('PCMP', 4)
    .u16(44 + entries.lengthBytes)
    .u8(SPEC_REVISION)
    .u8(0)
    .text('BHyVe', 8)
    .text('Hypervisor', 12)
    .u32(0)
    .u16(0)
    .u16(count)
    .u32(LAPIC_GPA)
    .u32(0)
    .bytes(entries.finish())
    .finish();
  table[7] = checksumByte(table);

  const pointer = new ByteWriter()
    .text('_MP_', 4)
    .u32(MP_TABLE_GPA + FLOATING_POINTER_BYTES)
    .u8(1) // length in paragraphs
    .u8(SPEC_REVISION)
    .u8(0)
    .zeros(5)
    .finish();
  pointer[10] = checksumByte(pointer);

  const all = new ByteWriter().bytes(pointer).bytes(table).finish();
  if (all.length > MP_TABLE_MAX_BYTES) throw new FirmwareTableError('the MP table does not fit its 4 KiB');
  return all;
}
