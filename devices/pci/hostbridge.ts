/** The host bridge `hostbridge` (1275:1275), and as `amd_hostbridge` 1022:7432: identification and nothing else. */
import type { DeviceBuilder } from '../device-context.ts';
import { PciFunction } from './function.ts';
import { pciRegister } from './identity-variables.ts';
import { PCIE_TYPE_ROOT_PORT } from './registers.ts';

export interface HostBridgeIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
}

export const HOSTBRIDGE: HostBridgeIdentity = { vendorId: 0x1275, deviceId: 0x1275 };

export class HostBridge extends PciFunction {
  constructor(identity: HostBridgeIdentity = HOSTBRIDGE) {
    super('hostbridge', { ...identity, classCode: 0x06, subclass: 0x00 });
    this.addPcieCapability(PCIE_TYPE_ROOT_PORT);
  }
}

export const buildHostBridge: DeviceBuilder = (_context, _where, variables) =>
  new HostBridge({
    vendorId: pciRegister(variables, 'vendor', HOSTBRIDGE.vendorId),
    deviceId: pciRegister(variables, 'device', HOSTBRIDGE.deviceId),
  });
