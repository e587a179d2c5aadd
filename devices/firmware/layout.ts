/** Where bhyve 14 places firmware tables and platform hardware: the addresses that tables state and guests look at. */

/** MP floating pointer structure (inside the BIOS area that MP spec 1.4, section 4 has the guest scan). */
export const MP_TABLE_GPA = 0xf0000;
export const MP_TABLE_MAX_BYTES = 0x1000;
/** SMBIOS entry point structure (DSP0134 5.2.1: on a paragraph in 0xF0000-0xFFFFF). */
export const SMBIOS_GPA = 0xf1000;
export const SMBIOS_MAX_BYTES = 0x1400;
/** ACPI RSDP; the other tables follow, up to {@link FIRMWARE_TABLES_END}. */
export const ACPI_RSDP_GPA = 0xf2400;
/** The area that holds every table above. */
export const FIRMWARE_TABLES_START = 0xf0000;
export const FIRMWARE_TABLES_END = 0x100000;

/**
 * The VM generation identifier, in the first page of the BIOS area, which no guest takes for memory. bhyve puts it into the boot ROM's region;
 * here machines without a boot ROM have one, too.
 */
export const GENERATION_ID_GPA = 0xe0000;
export const GENERATION_ID_BYTES = 16;

/** Locality 0 of a TPM (TCG PC Client Platform TPM Profile, 6.3.2). */
export const TPM_GPA = 0xfed40000;
export const TPM_BYTES = 0x5000;

/** End of conventional memory that a loader may hand to a guest; the last KiB is where an EBDA would lie. */
export const CONVENTIONAL_MEMORY_END = 0x9fc00;
export const LOW_MEGABYTE_END = 0x100000;
export const FOUR_GIB = 0x1_0000_0000;

export const LAPIC_GPA = 0xfee00000;
export const IOAPIC_GPA = 0xfec00000;
/** I/O APIC version register: 24 pins, version 0x11. */
export const IOAPIC_VERSION = 0x11;
export const HPET_GPA = 0xfed00000;
export const HPET_BYTES = 0x400;

export const SCI_IRQ = 9;
export const SMI_CMD_PORT = 0xb2;
export const SMI_CMD_ACPI_ENABLE = 0xa0;
export const SMI_CMD_ACPI_DISABLE = 0xa1;
export const PM1A_EVT_PORT = 0x400;
export const PM1A_CNT_PORT = 0x404;
export const PM_TMR_PORT = 0x408;
export const GPE0_PORT = 0x40c;
export const RESET_PORT = 0xcf9;
/** CMOS index of the century byte. */
export const RTC_CENTURY_INDEX = 0x32;
/** First I/O port that PCI BARs may use. */
export const PCI_IO_BASE = 0x2000;
