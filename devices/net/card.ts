/** What virtio-net and e1000 have in common when they are built: their options, their address, their cable. */
import { unconnected, type NetworkBackend, type NetworkSettings } from '../backends/network.ts';
import { NETWORK_OPTIONS } from '../config/declarations/network.ts';
import { readSettings } from '../config/settings-of.ts';
import type { DeviceContext, DeviceVariables } from '../device-context.ts';
import type { PciAddress } from '../pci/function.ts';
import type { MacAddress } from './addresses.ts';
import { derivedMac } from './mac-address.ts';

export interface NetworkCardParts {
  readonly mac: MacAddress;
  readonly backend: NetworkBackend;
}

/** Opens the backend that a card's variables name. Rejects with a sentence for the user. */
export async function openNetworkCard(
  context: DeviceContext,
  where: PciAddress,
  variables: DeviceVariables,
): Promise<NetworkCardParts> {
  const settings = readSettings(NETWORK_OPTIONS, (name) => variables.get(name));
  const mac = settings.mac ?? derivedMac(where.slot, where.func, context.vmName);
  const { backend } = settings;
  if (backend === undefined) return { mac, backend: unconnected };
  const mtu = variables.get('mtu');
  const network: NetworkSettings = { ...settings, backend, mtu: mtu === undefined ? undefined : Number(mtu) };
  return { mac, backend: (await context.open('network', network)) ?? unconnected };
}
