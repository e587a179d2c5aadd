/** From a device model's name in the configuration to the PCI function. */
import { errnoText } from '../config/index.ts';
import type { Clock } from '../bus/clock.ts';
import type { GuestMemory } from '../bus/guest-memory.ts';
import type { Interrupts } from '../bus/interrupts.ts';
import type { MmioBus } from '../bus/mmio-bus.ts';
import type { PortBus } from '../bus/port-bus.ts';
import { unplugged, type CharacterBackend } from '../serial/character-backend.ts';
import { PciUart, type CoreUart } from '../serial/pci-uart.ts';
import type { BlockBackend } from '../storage/block-backend.ts';
import { VirtioBlk, defaultSerial } from '../virtio/blk.ts';
import { MAX_CONSOLE_PORTS, VirtioConsole, type ConsolePortOptions } from '../virtio/console.ts';
import type { VirtioDeviceOptions } from '../virtio/device.ts';
import { VirtioRnd } from '../virtio/rnd.ts';
import { DummyDevice } from './dummy.ts';
import type { PciAddress, PciFunction } from './function.ts';
import { AMD_HOSTBRIDGE, HOSTBRIDGE, HostBridge, type HostBridgeIdentity } from './hostbridge.ts';
import { LPC_DEFAULT_IDENTITY, Lpc } from './lpc.ts';

/** What device models may need from the machine. */
export interface PciDeviceContext {
  readonly memory: GuestMemory;
  readonly interrupts: Interrupts;
  readonly clock: Clock;
  readonly ports: PortBus;
  readonly mmio: MmioBus;
  /** `virtio_msix`: false (-W) leaves virtio functions with MSI alone. */
  readonly virtioMsix: boolean;
  readonly vmName: string;
  /** Opens a disk; rejects with an error whose message names what is wrong. `options` are the block variables of bhyve_config(5). */
  openBlock(path: string, options: Record<string, string>): Promise<BlockBackend>;
  /** Opens the far end of a console port, as MachineHost.openSerial does. */
  openSerial?(path: string): Promise<CharacterBackend | undefined>;
  /** Fills with random bytes from the host. The array is never guest memory. */
  entropy(into: Uint8Array): void;
  /** UART block `n` of the core: 4-7 belong to PCI functions. */
  coreUart?(n: number): CoreUart;
  log(text: string): void;
}

/** Variables below the device's node; a nested one is named with dots (`pcireg.vendor`). */
export interface PciDeviceVariables {
  get(name: string): string | undefined;
}

export type PciDeviceFactory = (
  context: PciDeviceContext,
  where: PciAddress,
  variables: PciDeviceVariables,
) => Promise<PciFunction>;

/** A device that the configuration does not describe well enough to build. */
export class PciDeviceError extends Error {
  override readonly name = 'PciDeviceError';
}

function pciRegister(variables: PciDeviceVariables, name: string, fallback: number): number {
  const text = variables.get(`pcireg.${name}`);
  if (text === undefined) return fallback;
  const value = /^(0x)?[0-9a-f]{1,4}$/i.test(text) ? Number.parseInt(text, 16) : NaN;
  if (Number.isNaN(value)) throw new PciDeviceError(`Invalid value ${text} for pcireg.${name}`);
  return value;
}

function hostBridge(kind: 'hostbridge' | 'amd_hostbridge', identity: HostBridgeIdentity): PciDeviceFactory {
  return (_context, _where, variables) => {
    const vendorId = pciRegister(variables, 'vendor', identity.vendorId);
    const deviceId = pciRegister(variables, 'device', identity.deviceId);
    return Promise.resolve(new HostBridge(kind, { vendorId, deviceId }));
  };
}

const lpc: PciDeviceFactory = (_context, where, variables) => {
  if (where.bus !== 0) return Promise.reject(new PciDeviceError('LPC bridge can be present only on bus 0'));
  return Promise.resolve(
    new Lpc({
      vendorId: pciRegister(variables, 'vendor', LPC_DEFAULT_IDENTITY.vendorId),
      deviceId: pciRegister(variables, 'device', LPC_DEFAULT_IDENTITY.deviceId),
      revisionId: pciRegister(variables, 'revid', LPC_DEFAULT_IDENTITY.revisionId),
      subsystemVendorId: pciRegister(variables, 'subvendor', LPC_DEFAULT_IDENTITY.subsystemVendorId),
      subsystemId: pciRegister(variables, 'subdevice', LPC_DEFAULT_IDENTITY.subsystemId),
    }),
  );
};

/** The core's UART blocks after COM1-4. */
const FIRST_PCI_UART = 4;
const PCI_UART_COUNT = 4;
const uartsInUse = new WeakMap<PciDeviceContext, number>();

const uart: PciDeviceFactory = (context) => {
  const used = uartsInUse.get(context) ?? 0;
  if (!context.coreUart || used >= PCI_UART_COUNT) {
    return Promise.reject(new PciDeviceError(`no more than ${PCI_UART_COUNT} uart functions`));
  }
  uartsInUse.set(context, used + 1);
  const index = FIRST_PCI_UART + used;
  return Promise.resolve(new PciUart(context.coreUart(index), index));
};

/** Variables of a disk besides its path (bhyve_config(5)). */
const BLOCK_VARIABLES = ['ro', 'nocache', 'sync', 'direct', 'nodelete', 'sectorsize', 'bootindex'] as const;

/** Opens the disk that a device's variables describe. */
export async function openDisk(context: PciDeviceContext, variables: PciDeviceVariables): Promise<BlockBackend> {
  const path = variables.get('path');
  if (path === undefined || path === '') throw new PciDeviceError('Missing "path" for block device.');
  const options: Record<string, string> = {};
  for (const name of BLOCK_VARIABLES) {
    const value = variables.get(name);
    if (value !== undefined) options[name] = value;
  }
  return context.openBlock(path, options);
}

function virtioOptions(context: PciDeviceContext): VirtioDeviceOptions {
  return { memory: context.memory, msix: context.virtioMsix, log: (text) => context.log(text) };
}

const virtioBlk: PciDeviceFactory = async (context, _where, variables) => {
  const backend = await openDisk(context, variables);
  const serial = variables.get('ser') ?? variables.get('serial') ?? defaultSerial(variables.get('path') ?? '');
  return new VirtioBlk({ ...virtioOptions(context), backend, serial });
};

const virtioRnd: PciDeviceFactory = (context) =>
  Promise.resolve(new VirtioRnd(virtioOptions(context), (into) => context.entropy(into)));

const virtioConsole: PciDeviceFactory = async (context, _where, variables) => {
  const ports: ConsolePortOptions[] = [];
  if (!context.openSerial) context.log('virtio-console: no sockets here, its ports lead nowhere');
  try {
    for (let index = 0; index < MAX_CONSOLE_PORTS; index++) {
      const name = variables.get(`port.${index}.name`);
      const path = variables.get(`port.${index}.path`);
      if (name === undefined && path === undefined) continue;
      if (!name || !path) throw new PciDeviceError(`virtio-console: port ${index} needs a name and a path`);
      // bhyve makes a listening socket at the path; without a host's sockets the port has no other end.
      const backend = await context.openSerial?.(`unix=${path}`).catch((error: unknown) => {
        throw new PciDeviceError(`virtio-console: cannot open ${path} for port ${name}: ${errnoText(error)}`, {
          cause: error,
        });
      });
      ports.push({ name, backend: backend ?? unplugged });
    }
  } catch (error) {
    for (const { backend } of ports) await backend.close();
    throw error;
  }
  return new VirtioConsole(virtioOptions(context), ports);
};

/** Device models that exist, by their name in the configuration. */
export const pciDevices: Readonly<Record<string, PciDeviceFactory>> = {
  hostbridge: hostBridge('hostbridge', HOSTBRIDGE),
  amd_hostbridge: hostBridge('amd_hostbridge', AMD_HOSTBRIDGE),
  lpc,
  'virtio-blk': virtioBlk,
  'virtio-rnd': virtioRnd,
  'virtio-console': virtioConsole,
  uart,
  dummy: () => Promise.resolve(new DummyDevice()),
};
