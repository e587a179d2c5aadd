/** The host bridges `hostbridge` (1275:1275) and `amd_hostbridge` (1022:7432): identification and nothing else. */
import { PciFunction } from './function.ts';
import { PCIE_TYPE_ROOT_PORT } from './registers.ts';

export interface HostBridgeIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
}

export const HOSTBRIDGE: HostBridgeIdentity = { vendorId: 0x1275, deviceId: 0x1275 };
export const AMD_HOSTBRIDGE: HostBridgeIdentity = { vendorId: 0x1022, deviceId: 0x7432 };

export class HostBridge extends PciFunction {
  constructor(kind: 'hostbridge' | 'amd_hostbridge', identity: HostBridgeIdentity) {
    super(kind, { ...identity, classCode: 0x06, subclass: 0x00 });
    this.addPcieCapability(PCIE_TYPE_ROOT_PORT);
  }
}
