/** All PCI devices by name. */
import type { DeviceDeclaration } from '../declare.ts';
import { BLOCK_DEVICES } from './block.ts';
import { BRIDGE_DEVICES } from './bridges.ts';
import { DESKTOP_DEVICES } from './desktop.ts';
import { NETWORK_DEVICES } from './network.ts';
import { VIRTIO_DEVICES } from './virtio.ts';

/** Sorted by name: the order of `-s help`. */
export const PCI_DEVICES: readonly DeviceDeclaration[] = [
  ...BLOCK_DEVICES,
  ...BRIDGE_DEVICES,
  ...DESKTOP_DEVICES,
  ...NETWORK_DEVICES,
  ...VIRTIO_DEVICES,
].sort((a, b) => (a.name < b.name ? -1 : 1));

const BY_NAME = new Map(PCI_DEVICES.map((device) => [device.name, device]));

/** The declaration of a PCI device; names are matched exactly. */
export function declaration(name: string): DeviceDeclaration | undefined {
  return BY_NAME.get(name);
}

/** What the machine says of a device that is declared here and that it cannot build. */
export function notBuiltMessage(name: string): string {
  if (name === 'passthru') return 'passthru: a device of the host cannot be handed to an emulated machine';
  return `${name}: webhyve knows this device's options but does not emulate it yet`;
}
