/**
 * Every PCI device: its declaration, from which the command line, help, validation and docs/devices.md derive, and its builder. This is
 * the only file that imports them all, and the only one outside its own folder that a new device touches.
 */
import { AHCI, AHCI_CD, AHCI_HD, NVME, VIRTIO_BLK } from './config/declarations/block.ts';
import { AMD_HOSTBRIDGE, DUMMY, HOSTBRIDGE, LPC, PASSTHRU, PCI_UART } from './config/declarations/bridges.ts';
import { FBUF, HDA, XHCI } from './config/declarations/desktop.ts';
import { E1000, VIRTIO_NET } from './config/declarations/network.ts';
import { VIRTIO_9P, VIRTIO_CONSOLE, VIRTIO_INPUT, VIRTIO_RND, VIRTIO_SCSI } from './config/declarations/virtio.ts';
import type { DeviceDeclaration } from './config/declare.ts';
import { buildAhci } from './ahci/build.ts';
import type { DeviceBuilder, DeviceVariables } from './device-context.ts';
import { buildE1000 } from './net/e1000/device.ts';
import { buildHda } from './audio/hda/hda.ts';
import { buildFbuf, FRAMEBUFFER_BYTES } from './display/fbuf.ts';
import { buildNvme } from './nvme/build.ts';
import { buildDummy } from './pci/dummy.ts';
import { buildHostBridge } from './pci/hostbridge.ts';
import { buildLpc } from './pci/lpc.ts';
import { buildPciUart } from './serial/pci-uart.ts';
import { buildXhci } from './usb/xhci/xhci.ts';
import { buildVirtioBlk } from './virtio/blk.ts';
import { buildVirtioConsole } from './virtio/console.ts';
import { buildVirtioInput } from './virtio/input.ts';
import { buildVirtioNineP } from './virtio/nine-p.ts';
import { buildVirtioNet } from './virtio/net.ts';
import { buildVirtioRnd } from './virtio/rnd.ts';
import { buildVirtioScsi } from './virtio/scsi-build.ts';

interface CatalogEntry {
  readonly declaration: DeviceDeclaration;
  /** Absent for another spelling of a device, and for one that is understood and not emulated. */
  readonly build?: DeviceBuilder;
  /** Memory that the device allocates for its RAM BARs, in bytes; what the machine sets aside for it. */
  readonly ramBytes?: (variables: DeviceVariables) => number;
}

/** Sorted by name: the order of `-s help`. */
const CATALOG: readonly CatalogEntry[] = [
  { declaration: AHCI, build: buildAhci },
  { declaration: AHCI_CD },
  { declaration: AHCI_HD },
  { declaration: AMD_HOSTBRIDGE },
  { declaration: DUMMY, build: buildDummy },
  { declaration: E1000, build: buildE1000 },
  { declaration: FBUF, build: buildFbuf, ramBytes: () => FRAMEBUFFER_BYTES },
  { declaration: HDA, build: buildHda },
  { declaration: HOSTBRIDGE, build: buildHostBridge },
  { declaration: LPC, build: buildLpc },
  { declaration: NVME, build: buildNvme },
  { declaration: PASSTHRU },
  { declaration: PCI_UART, build: buildPciUart },
  { declaration: VIRTIO_9P, build: buildVirtioNineP },
  { declaration: VIRTIO_BLK, build: buildVirtioBlk },
  { declaration: VIRTIO_CONSOLE, build: buildVirtioConsole },
  { declaration: VIRTIO_INPUT, build: buildVirtioInput },
  { declaration: VIRTIO_NET, build: buildVirtioNet },
  { declaration: VIRTIO_RND, build: buildVirtioRnd },
  { declaration: VIRTIO_SCSI, build: buildVirtioScsi },
  { declaration: XHCI, build: buildXhci },
];

export const PCI_DEVICES: readonly DeviceDeclaration[] = CATALOG.map((entry) => entry.declaration);

const BY_NAME = new Map(CATALOG.map((entry) => [entry.declaration.name, entry]));

/** The declaration of a PCI device; names are matched exactly. */
export function declaration(name: string): DeviceDeclaration | undefined {
  return BY_NAME.get(name)?.declaration;
}

/** Builds the device of that name; undefined when it is not emulated. */
export function builderOf(name: string): DeviceBuilder | undefined {
  return BY_NAME.get(name)?.build;
}

/** Device memory that a device needs, in bytes. */
export function ramBytesOf(name: string, variables: DeviceVariables): number {
  return BY_NAME.get(name)?.ramBytes?.(variables) ?? 0;
}

/** Names of the devices that are emulated. */
export const BUILT_DEVICES: readonly string[] = CATALOG.flatMap(({ declaration: { name }, build }) =>
  build ? [name] : [],
);

/** What the machine says of a device that is declared here and that it cannot build. */
export function notBuiltMessage(name: string): string {
  if (name === 'passthru') return 'passthru: a device of the host cannot be handed to an emulated machine';
  return `${name}: webhyve knows this device's options but does not emulate it yet`;
}
