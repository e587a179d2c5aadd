/**
 * PCI configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2), as far as no device takes part: the address register, and accesses to slots in
 * which nothing is plugged. Linux alone reads some 8,000 of those while it boots.
 */
import { PCI_CONFIG_ADDRESS, PCI_SLOTS } from '../layout';

const ADDRESS_PORT: u32 = 0xcf8;
const DATA_PORT: u32 = 0xcfc;
const ENABLE: u32 = 0x80000000;
/** The bits that exist: enable, bus, device, function, register. */
const ADDRESS_BITS: u32 = 0x80fffffc;

// @ts-ignore: decorator
@inline
function isAddress(port: u32, sizeBytes: u32): bool {
  // Narrower accesses are no accesses to the register.
  return port === ADDRESS_PORT && sizeBytes === 4;
}

/** True when the core does an access by itself: configRead or configWrite. */
export function configClaims(port: u32, sizeBytes: u32): bool {
  if (port < ADDRESS_PORT || port + sizeBytes > DATA_PORT + 4) return false;
  if (port < DATA_PORT) return isAddress(port, sizeBytes);
  const address = atomic.load<u32>(PCI_CONFIG_ADDRESS);
  if (!(address & ENABLE)) return true;
  const slots = atomic.load<u32>(PCI_SLOTS + (((address >> 16) & 0xff) << 2));
  return !(slots & (1 << ((address >> 11) & 31)));
}

/** Nobody answers: all bits set. */
export function configRead(port: u32, sizeBytes: u32): u32 {
  return isAddress(port, sizeBytes) ? atomic.load<u32>(PCI_CONFIG_ADDRESS) : u32.MAX_VALUE >> (32 - (sizeBytes << 3));
}

export function configWrite(port: u32, sizeBytes: u32, value: u32): void {
  if (isAddress(port, sizeBytes)) atomic.store<u32>(PCI_CONFIG_ADDRESS, value & ADDRESS_BITS);
}
