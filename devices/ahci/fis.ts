/** Frame information structures (Serial ATA 3.2, section 10.5). */
import type { AtaRegisters, AtaResult } from '../ata/command.ts';
import { ATA_BSY, ATA_DRQ } from '../ata/command.ts';

export const FIS_REGISTER_H2D = 0x27;
const FIS_REGISTER_D2H = 0x34;
const FIS_PIO_SETUP = 0x5f;
const FIS_SET_DEVICE_BITS = 0xa1;
const INTERRUPT = 0x40;
const DIRECTION_IN = 0x20;
/** Bit 7 of byte 1: the FIS carries a command, not device control. */
export const FIS_COMMAND = 0x80;
export const CONTROL_SRST = 0x04;
export const COMMAND_FIS_BYTES = 64;

/** Registers of a host to device register FIS. */
export function registersOf(fis: Uint8Array): AtaRegisters {
  const at = (index: number): number => fis[index] ?? 0;
  const low = at(4) | (at(5) << 8) | (at(6) << 16);
  const high = at(8) | (at(9) << 8) | (at(10) << 16);
  return {
    command: at(2),
    features: at(3) | (at(11) << 8),
    lba: high * 0x1000000 + low,
    count: at(12) | (at(13) << 8),
    device: at(7),
    auxiliary: (at(16) | (at(17) << 8) | (at(18) << 16) | (at(19) << 24)) >>> 0,
  };
}

function putRegisters(fis: Uint8Array, sent: AtaRegisters, result: AtaResult): void {
  const lba = result.lba ?? sent.lba;
  const count = result.count ?? sent.count;
  const low = lba % 0x1000000;
  const high = Math.floor(lba / 0x1000000);
  fis[2] = result.status;
  fis[3] = result.error;
  fis.set([low & 0xff, (low >> 8) & 0xff, (low >> 16) & 0xff, result.device ?? sent.device], 4);
  fis.set([high & 0xff, (high >> 8) & 0xff, (high >> 16) & 0xff], 8);
  fis.set([count & 0xff, (count >> 8) & 0xff], 12);
}

/** Register device to host FIS with the interrupt bit. */
export function registerFis(sent: AtaRegisters, result: AtaResult): Uint8Array {
  const fis = new Uint8Array(20);
  fis[0] = FIS_REGISTER_D2H;
  fis[1] = INTERRUPT;
  putRegisters(fis, sent, result);
  return fis;
}

/** PIO setup FIS of the last (here: only) data transfer of a command; E_Status says how it ended. */
export function pioSetupFis(sent: AtaRegisters, result: AtaResult): Uint8Array {
  const fis = new Uint8Array(20);
  fis[0] = FIS_PIO_SETUP;
  fis[1] = INTERRUPT | (result.protocol === 'pio-in' ? DIRECTION_IN : 0);
  putRegisters(fis, sent, result);
  fis[2] = result.status | ATA_DRQ;
  fis[15] = result.status;
  new DataView(fis.buffer).setUint16(16, Math.min(result.transferredBytes, 0xffff), true);
  return fis;
}

/** Set device bits FIS: queued commands of the mask are done. */
export function setDeviceBitsFis(status: number, error: number, active: number): Uint8Array {
  const fis = new Uint8Array(8);
  fis[0] = FIS_SET_DEVICE_BITS;
  fis[1] = INTERRUPT;
  fis[2] = status & ~(ATA_BSY | ATA_DRQ);
  fis[3] = error;
  new DataView(fis.buffer).setUint32(4, active >>> 0, true);
  return fis;
}

/** Register FIS that a device sends after a reset: its signature. */
export function signatureFis(signature: number, status: number): Uint8Array {
  const fis = new Uint8Array(20);
  fis[0] = FIS_REGISTER_D2H;
  fis[2] = status;
  fis[3] = 0x01;
  fis.set([(signature >>> 8) & 0xff, (signature >>> 16) & 0xff, signature >>> 24], 4);
  fis[12] = signature & 0xff;
  return fis;
}
