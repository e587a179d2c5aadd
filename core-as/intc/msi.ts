/** Message-signalled interrupts (SDM vol. 3, 11.11): a memory write to FEExxxxx. Needs no lock. */
import { DELIVERY_FIXED, DELIVERY_LOWEST_PRIORITY, DELIVERY_STARTUP, deliverInterrupt } from './lapic';

/** Sends a message. Addresses outside FEE00000-FEEFFFFF are no interrupts and are dropped. */
export function sendMessage(addressLow: u32, data: u32): void {
  if (addressLow >> 20 !== 0xfee) return;
  const mode = (data >> 8) & 7;
  // Start-up IPIs only exist between processors; mode 3 is reserved and dropped on delivery.
  if (mode === DELIVERY_STARTUP) return;
  // The SDM ties the destination mode to the redirection hint, and bhyve reads it so; processors honour it alone, and
  // Linux sends logical destinations without the hint.
  const logical = (addressLow & 4) !== 0;
  const level = (data & 0x8000) !== 0 && (mode === DELIVERY_FIXED || mode === DELIVERY_LOWEST_PRIORITY);
  // A level-triggered message with bit 14 clear is the de-assert half.
  if (level && !(data & 0x4000)) return;
  deliverInterrupt((addressLow >> 12) & 0xff, logical, false, mode, data & 0xff, level);
}
