/** A packet device: PACKET commands carry SCSI command blocks to a CD drive (ACS-3 4.3; MMC-6). */
import { scatter } from '../block/scatter.ts';
import type { ScsiCdrom } from '../scsi/cdrom.ts';
import { OP_REQUEST_SENSE } from '../scsi/logical-unit.ts';
import { SENSE_NONE, STATUS_GOOD } from '../scsi/sense.ts';
import type { Counters } from '../device.ts';
import * as A from './command.ts';
import type { AtaIdentity } from './identify.ts';
import * as C from './opcodes.ts';

const SIGNATURE = 0xeb140101;
/** Sector count of the packet protocol: command/data, and direction. Both set: status. */
const INTERRUPT_REASON_STATUS = 0x03;
const SF_ENABLE_NOTIFICATION = 0x10;
const SF_DISABLE_NOTIFICATION = 0x90;
const SF_SET_TRANSFER_MODE = 0x03;
/** No PACKET command here moves more: the host's scatter list is followed no further. */
const MAX_PACKET_DATA_BYTES = 32 * 1024 * 1024;

function identifyPacketDevice(identity: AtaIdentity): Uint8Array {
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  const set = (word: number, value: number): void => view.setUint16(2 * word, value, true);
  set(0, 0x85c0); // CD-ROM, removable, 12-byte packets
  A.putAtaText(view, 10, 10, identity.serial);
  A.putAtaText(view, 23, 4, identity.revision);
  A.putAtaText(view, 27, 20, identity.model);
  set(49, 0x0b00);
  set(50, 1 << 14);
  set(53, 0x0006);
  set(62, 0x003f);
  set(63, 0x0007);
  set(64, 0x0003);
  for (const word of [65, 66, 67, 68]) set(word, 120);
  set(76, 0x000e);
  set(77, 0x0006);
  set(78, 1 << 5); // asynchronous notification
  set(80, 0x01f0);
  set(82, (1 << 14) | (1 << 9) | (1 << 5) | (1 << 4)); // NOP, DEVICE RESET, packet
  set(83, 1 << 14);
  set(84, 1 << 14);
  set(85, (1 << 14) | (1 << 9) | (1 << 4));
  set(87, 1 << 14);
  set(88, 0x407f);
  set(222, 0x1020);
  A.sealIdentify(bytes);
  return bytes;
}

export class PacketDevice implements A.AtaDevice {
  readonly signature = SIGNATURE;
  readonly isPacketDevice = true;
  readonly drive: ScsiCdrom;
  readonly #identity: AtaIdentity;

  constructor(drive: ScsiCdrom, identity: AtaIdentity) {
    this.drive = drive;
    this.#identity = identity;
  }

  counters(): Counters {
    return { 'read errors': this.drive.backendErrors, 'rejected commands': this.drive.rejectedCommands };
  }

  isQueued(): boolean {
    return false;
  }

  queuedError(): void {}

  reset(): void {
    this.drive.reset();
  }

  powerOn(): void {
    this.drive.powerOn();
  }

  close(): Promise<void> {
    return this.drive.close();
  }

  save(): A.AtaDeviceState {
    return this.drive.save();
  }

  restore(state: A.AtaDeviceState): void {
    this.drive.restore(state);
  }

  execute(command: A.AtaCommand): A.AtaResult | Promise<A.AtaResult> {
    const { registers, data } = command;
    switch (registers.command) {
      case C.PACKET:
        return this.#packet(command);
      case C.IDENTIFY_PACKET_DEVICE: {
        const stored = scatter(data.take(512), identifyPacketDevice(this.#identity));
        return A.ok('pio-in', stored, stored);
      }
      case C.IDENTIFY_DEVICE:
        // A packet device aborts and shows its signature (ACS-3 7.12.2).
        return { ...A.aborted, lba: SIGNATURE >>> 8, count: SIGNATURE & 0xff };
      case C.DEVICE_RESET:
      case C.EXECUTE_DEVICE_DIAGNOSTIC:
        this.drive.reset();
        return { ...A.ok('non-data'), status: 0, error: 0x01, lba: SIGNATURE >>> 8, count: SIGNATURE & 0xff };
      case C.SET_FEATURES: {
        const feature = registers.features & 0xff;
        const known = [SF_SET_TRANSFER_MODE, SF_ENABLE_NOTIFICATION, SF_DISABLE_NOTIFICATION].includes(feature);
        return known ? A.ok('non-data') : A.aborted;
      }
      case C.CHECK_POWER_MODE:
        return { ...A.ok('non-data'), count: 0xff };
      case C.STANDBY_IMMEDIATE:
      case C.IDLE_IMMEDIATE:
      case C.SLEEP:
        return A.ok('non-data');
      default:
        return A.aborted;
    }
  }

  async #packet({ packet, data }: A.AtaCommand): Promise<A.AtaResult> {
    const views = data.available(MAX_PACKET_DATA_BYTES);
    // Sense data lasts until the next command, which asks for it or forgets it (SPC-4 4.5.1).
    if (packet[0] !== OP_REQUEST_SENSE) this.drive.holdSense(SENSE_NONE);
    const result = await this.drive.execute({ cdb: packet, dataIn: views, dataOut: views });
    const moved = result.dataInBytes + result.dataOutBytes;
    if (result.status === STATUS_GOOD) {
      return { ...A.ok('packet', moved, result.dataInBytes), count: INTERRUPT_REASON_STATUS };
    }
    const sense = result.sense ?? { key: 0, asc: 0, ascq: 0 };
    this.drive.holdSense(sense);
    return { ...A.failed((sense.key << 4) | A.ERROR_ABORT, 'packet'), count: INTERRUPT_REASON_STATUS };
  }
}
