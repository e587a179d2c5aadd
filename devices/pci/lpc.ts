/**
 * The LPC bridge `lpc` (8086:7000): identification, and the PIRQ routing registers at 0x60-0x63 (links A-D) and 0x68-0x6B (E-H).
 * What hangs off it (COM ports, keyboard controller, timers) claims its ports itself.
 */
import type { AccessSize } from '../bus/port-bus.ts';
import { DeviceError, type DeviceBuilder } from '../device-context.ts';
import { PciFunction } from './function.ts';
import { pciRegister } from './identity-variables.ts';

export interface LpcIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revisionId: number;
  readonly subsystemVendorId: number;
  readonly subsystemId: number;
}

export const LPC_DEFAULT_IDENTITY: LpcIdentity = {
  vendorId: 0x8086,
  deviceId: 0x7000,
  revisionId: 0,
  subsystemVendorId: 0,
  subsystemId: 0,
};

/** Configuration registers of links 1-8. */
const LINK_REGISTERS = [0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b] as const;

/** The link whose register this is, or 0. */
function linkAt(offset: number): number {
  return LINK_REGISTERS.findIndex((register) => register === offset) + 1;
}

export class Lpc extends PciFunction {
  constructor(identity: LpcIdentity = LPC_DEFAULT_IDENTITY) {
    super('lpc', { ...identity, classCode: 0x06, subclass: 0x01 });
    for (const register of LINK_REGISTERS) this.setConfigMask(register, 0);
  }

  override readConfig(offset: number, size: AccessSize): number {
    // The router holds the registers, and saves them; configuration space only shows them.
    let value = super.readConfig(offset, size);
    for (let byte = 0; byte < size; byte++) {
      const link = linkAt(offset + byte);
      if (link === 0) continue;
      value = (value & ~(0xff << (8 * byte))) | (this.attachment.pirqs.readLink(link) << (8 * byte));
    }
    return value >>> 0;
  }

  protected override writeDeviceConfig(offset: number, size: AccessSize, value: number): boolean {
    const link = linkAt(offset);
    if (link === 0 || size !== 1) return false;
    this.attachment.pirqs.writeLink(link, value);
    return true;
  }
}

export const buildLpc: DeviceBuilder = (_context, where, variables) => {
  if (where.bus !== 0) throw new DeviceError('LPC bridge can be present only on bus 0');
  return new Lpc({
    vendorId: pciRegister(variables, 'vendor', LPC_DEFAULT_IDENTITY.vendorId),
    deviceId: pciRegister(variables, 'device', LPC_DEFAULT_IDENTITY.deviceId),
    revisionId: pciRegister(variables, 'revid', LPC_DEFAULT_IDENTITY.revisionId),
    subsystemVendorId: pciRegister(variables, 'subvendor', LPC_DEFAULT_IDENTITY.subsystemVendorId),
    subsystemId: pciRegister(variables, 'subdevice', LPC_DEFAULT_IDENTITY.subsystemId),
  });
};
