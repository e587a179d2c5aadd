/** What the ACPI tables say about one machine. */
import type { Window } from './resources.ts';

/** One used legacy interrupt of a PCI slot. */
export interface InterruptRoute {
  /** Device number on the bus, 0-31. */
  readonly slot: number;
  /** Interrupt pin as in PCI configuration register 0x3D: 1 is INTA, 4 is INTD. */
  readonly pin: number;
  /** I/O APIC input (global system interrupt), 16-23. */
  readonly ioapicPin: number;
  /** PIRQ link of the 8259 mode: 0 is LNKA, 7 is LNKH. */
  readonly pirqLink: number;
}

/** One PCI root bus with the windows that its BARs may use. */
export interface AcpiBus {
  readonly bus: number;
  readonly io: Window;
  readonly mem32: Window;
  readonly mem64: Window;
  readonly routing: readonly InterruptRoute[];
}

/** A NUMA domain: a proximity domain in ACPI's words. */
export interface AcpiDomain {
  readonly id: number;
  /** Processors, which are local APICs by their number. */
  readonly cpus: readonly number[];
  readonly memory: readonly Window[];
}

export interface AcpiParameters {
  readonly cpus: number;
  /** Where the LPC bridge sits; absent: no ISA devices and no PIRQ links. It must lie on one of `buses`. */
  readonly lpc?: { readonly bus: number; readonly slot: number; readonly func: number } | undefined;
  /** COM ports with a backend, 1-4. */
  readonly comPorts: readonly number[];
  readonly buses: readonly AcpiBus[];
  /** PCI Express enhanced configuration space; absent: no MCFG. */
  readonly ecam?: { readonly base: number; readonly buses: number } | undefined;
  readonly hpet: boolean;
  /** Guest-physical address of the 16-byte VM generation identifier; absent: no GENC device. */
  readonly generationIdGpa?: number | undefined;
  /** NUMA domains; absent or empty: no SRAT. */
  readonly domains?: readonly AcpiDomain[] | undefined;
  /** Guest-physical address of a TPM's command-response buffer (locality 0); absent: no TPM2 table, no device. */
  readonly tpmGpa?: number | undefined;
  /** QEMU's fw_cfg device answers at ports 0x510-0x511. */
  readonly fwCfg?: boolean | undefined;
}

/** Parameters that no table can express: a mistake of the caller, not of the guest. */
export class FirmwareTableError extends Error {
  override readonly name = 'FirmwareTableError';
}
