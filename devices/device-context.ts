/** What a device is built from: the machine's buses, its variables, and backends by kind. */
import type { Backends, BackendKind, BackendSettings } from './backends/kinds.ts';
import type { BlockBackend } from './backends/block.ts';
import type { DeviceRam } from './bus/device-ram.ts';
import type { Clock } from './bus/clock.ts';
import type { GuestMemory } from './bus/guest-memory.ts';
import type { Interrupts } from './bus/interrupts.ts';
import type { MmioBus } from './bus/mmio-bus.ts';
import type { PortBus } from './bus/port-bus.ts';
import { BLOCK_OPTIONS } from './config/declarations/block.ts';
import { readSettings } from './config/settings-of.ts';
import type { PciAddress, PciFunction } from './pci/function.ts';
import type { CdDrive } from './scsi/cd-drive.ts';
import type { Display } from './display/display.ts';
import type { InputRouter } from './input/input-router.ts';
import type { VirtioTransport } from './virtio/transport/target.ts';
import type { CoreUart } from './serial/pci-uart.ts';

/** What device models may need from the machine. */
export interface DeviceContext {
  readonly memory: GuestMemory;
  readonly interrupts: Interrupts;
  readonly clock: Clock;
  readonly ports: PortBus;
  readonly mmio: MmioBus;
  /** `virtio_msix`: false (-W) leaves virtio functions with MSI alone. */
  readonly virtioMsix: boolean;
  /** `virtio.transport`: which register interfaces virtio functions have. */
  readonly virtioTransport: VirtioTransport;
  readonly vmName: string;
  /** Opens a backend. Rejects with an error whose message is for the user, or NoBackendError when the host has none of the kind. */
  open<K extends BackendKind>(kind: K, settings: BackendSettings[K]): Promise<Backends[K] | undefined>;
  /**
   * Memory of the device's own, for a RAM BAR; at most what the catalog says of the device (`ramBytes`). Throws RangeError beyond that.
   */
  allocateRam(lengthBytes: number): DeviceRam;
  /** Fills with random bytes from the host. The array is never guest memory. */
  entropy(into: Uint8Array): void;
  /** Where keyboards and pointing devices register for the user's input. */
  readonly input: InputRouter;
  /** The machine has a display. */
  addDisplay(display: Display): void;
  /** The machine has a CD drive, named after its variables: `pci.0.4.0.port.1`. */
  addCdDrive(name: string, drive: CdDrive): void;
  /** The machine's processors do not start before this resolves. */
  holdStart(until: Promise<void>): void;
  /** The machine's snapshots hold what this disk has in memory; nothing happens for one that a file keeps. */
  keepContents(disk: BlockBackend): void;
  /** Takes one of the core's UART blocks that belong to PCI functions; undefined when all are taken. */
  takeUart(): { readonly uart: CoreUart; readonly index: number } | undefined;
  /** Something for the user to read: one line, no newline. */
  log(text: string): void;
}

/** Variables below the device's node; a nested one is named with dots (`pcireg.vendor`). */
export interface DeviceVariables {
  get(name: string): string | undefined;
}

/** Builds a function from its variables, which its declaration has checked. Rejects with {@link DeviceError} or a backend's error. */
export type DeviceBuilder = (
  context: DeviceContext,
  where: PciAddress,
  variables: DeviceVariables,
) => Promise<PciFunction> | PciFunction;

/** A device that the configuration does not describe well enough to build. */
export class DeviceError extends Error {
  override readonly name = 'DeviceError';
}

/** Opens the disk that variables describe; `prefix` stands before their names (`port.0.`). */
export async function openDisk(context: DeviceContext, variables: DeviceVariables, prefix = ''): Promise<BlockBackend> {
  const { path, ...options } = readSettings(BLOCK_OPTIONS, (name) => variables.get(prefix + name));
  if (path === undefined || path === '') throw new DeviceError('Missing "path" for block device.');
  const backend = await context.open('block', { ...options, path });
  if (!backend) throw new DeviceError(`${path}: nothing here keeps disks`);
  context.keepContents(backend);
  return backend;
}

/** Opens what is put into a CD drive: read-only, with the other options of the drive's own variables. */
export function cdOpener(
  context: DeviceContext,
  variables: DeviceVariables,
  prefix: string,
): (path: string) => Promise<BlockBackend> {
  return (path) => {
    const own = new Map([
      [`${prefix}path`, path],
      [`${prefix}ro`, 'true'],
    ]);
    return openDisk(context, { get: (name) => own.get(name) ?? variables.get(name) }, prefix);
  };
}
