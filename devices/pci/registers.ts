/** PCI configuration space: PCI Local Bus 3.0, 6.1-6.8, and PCI Express Base 3.0, 7.8. */

export const CONFIG_SPACE_BYTES = 256;
/** A function's share of the ECAM window (PCI Express Base 3.0, 7.2.2). */
export const ECAM_FUNCTION_BYTES = 4096;

export const PCI_VENDOR_ID = 0x00;
export const PCI_DEVICE_ID = 0x02;
export const PCI_COMMAND = 0x04;
export const PCI_STATUS = 0x06;
export const PCI_REVISION_ID = 0x08;
export const PCI_PROG_IF = 0x09;
export const PCI_SUBCLASS = 0x0a;
export const PCI_CLASS = 0x0b;
export const PCI_CACHE_LINE_SIZE = 0x0c;
export const PCI_LATENCY_TIMER = 0x0d;
export const PCI_HEADER_TYPE = 0x0e;
export const PCI_BAR0 = 0x10;
export const PCI_BAR_COUNT = 6;
export const PCI_BARS_END = 0x28;
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;
export const PCI_SUBSYSTEM_ID = 0x2e;
export const PCI_CAPABILITIES = 0x34;
export const PCI_INTERRUPT_LINE = 0x3c;
export const PCI_INTERRUPT_PIN = 0x3d;
export const PCI_DEVICE_SPECIFIC = 0x40;

export const COMMAND_IO = 0x0001;
export const COMMAND_MEMORY = 0x0002;
export const COMMAND_BUS_MASTER = 0x0004;
export const COMMAND_INTX_DISABLE = 0x0400;
/** Command bits 0-6 and 8-10; everything else, and all of the status register, is read-only (bhyve's mask). */
export const COMMAND_WRITABLE = 0x077f;

export const STATUS_INTERRUPT = 0x0008;
export const STATUS_CAPABILITIES = 0x0010;

export const HEADER_MULTIFUNCTION = 0x80;

export const BAR_IO = 0x1;
export const BAR_MEM64 = 0x4;
export const BAR_PREFETCH = 0x8;

export const CAP_MSI = 0x05;
export const CAP_VENDOR_SPECIFIC = 0x09;
export const CAP_PCIE = 0x10;
export const CAP_MSIX = 0x11;

/** Message control of MSI (PCI Local Bus 3.0, 6.8.1.3), at +2 of the capability. */
export const MSI_ENABLE = 0x0001;
export const MSI_MULTIPLE_ENABLE = 0x0070;
export const MSI_64BIT = 0x0080;
/** 64-bit MSI capability without mask bits. */
export const MSI_CAP_BYTES = 14;

/** Message control of MSI-X (6.8.2.3), at +2 of the capability. */
export const MSIX_ENABLE = 0x8000;
export const MSIX_FUNCTION_MASK = 0x4000;
export const MSIX_CAP_BYTES = 12;
export const MSIX_ENTRY_BYTES = 16;

/** PCI Express capability, version 2 (PCI Express Base 3.0, 7.8). */
export const PCIE_CAP_BYTES = 60;
export const PCIE_TYPE_ENDPOINT = 0x0;
export const PCIE_TYPE_ROOT_PORT = 0x4;
export const PCIE_TYPE_ROOT_INTEGRATED_ENDPOINT = 0x9;
