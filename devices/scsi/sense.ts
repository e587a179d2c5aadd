/** SCSI status codes and sense data (SAM-5 5.3.1, SPC-4 4.5). */

export const STATUS_GOOD = 0x00;
export const STATUS_CHECK_CONDITION = 0x02;
export const STATUS_RESERVATION_CONFLICT = 0x18;

export const KEY_NO_SENSE = 0x0;
export const KEY_NOT_READY = 0x2;
export const KEY_MEDIUM_ERROR = 0x3;
export const KEY_HARDWARE_ERROR = 0x4;
export const KEY_ILLEGAL_REQUEST = 0x5;
export const KEY_UNIT_ATTENTION = 0x6;
export const KEY_DATA_PROTECT = 0x7;
export const KEY_ABORTED_COMMAND = 0xb;
export const KEY_MISCOMPARE = 0xe;

/** Why a command did not end well: sense key, additional sense code and qualifier. */
export interface Sense {
  readonly key: number;
  readonly asc: number;
  readonly ascq: number;
  /** Logical block (or byte offset of a miscompare) that the sense is about. */
  readonly information?: number;
}

const sense = (key: number, asc: number, ascq = 0): Sense => ({ key, asc, ascq });

export const SENSE_NONE = sense(KEY_NO_SENSE, 0x00);
export const SENSE_INVALID_OPCODE = sense(KEY_ILLEGAL_REQUEST, 0x20);
export const SENSE_LBA_OUT_OF_RANGE = sense(KEY_ILLEGAL_REQUEST, 0x21);
export const SENSE_INVALID_FIELD_IN_CDB = sense(KEY_ILLEGAL_REQUEST, 0x24);
export const SENSE_LUN_NOT_SUPPORTED = sense(KEY_ILLEGAL_REQUEST, 0x25);
export const SENSE_INVALID_FIELD_IN_PARAMETERS = sense(KEY_ILLEGAL_REQUEST, 0x26);
export const SENSE_PARAMETER_LIST_LENGTH = sense(KEY_ILLEGAL_REQUEST, 0x1a);
export const SENSE_SAVING_NOT_SUPPORTED = sense(KEY_ILLEGAL_REQUEST, 0x39);
export const SENSE_REMOVAL_PREVENTED = sense(KEY_ILLEGAL_REQUEST, 0x53, 0x02);
export const SENSE_ILLEGAL_MODE_FOR_TRACK = sense(KEY_ILLEGAL_REQUEST, 0x64);
export const SENSE_WRITE_PROTECTED = sense(KEY_DATA_PROTECT, 0x27);
export const SENSE_BECOMING_READY = sense(KEY_NOT_READY, 0x04, 0x01);
export const SENSE_NOT_READY_STOPPED = sense(KEY_NOT_READY, 0x04, 0x02);
export const SENSE_MEDIUM_NOT_PRESENT = sense(KEY_NOT_READY, 0x3a, 0x01);
export const SENSE_TRAY_OPEN = sense(KEY_NOT_READY, 0x3a, 0x02);
export const SENSE_UNRECOVERED_READ_ERROR = sense(KEY_MEDIUM_ERROR, 0x11);
export const SENSE_WRITE_ERROR = sense(KEY_MEDIUM_ERROR, 0x0c);
export const SENSE_INTERNAL_FAILURE = sense(KEY_HARDWARE_ERROR, 0x44);
export const SENSE_DATA_TOO_SHORT = sense(KEY_ABORTED_COMMAND, 0x4b, 0x04);
export const SENSE_MISCOMPARE = sense(KEY_MISCOMPARE, 0x1d);
export const SENSE_POWER_ON = sense(KEY_UNIT_ATTENTION, 0x29, 0x01);
export const SENSE_RESET = sense(KEY_UNIT_ATTENTION, 0x29, 0x02);
export const SENSE_DEVICE_RESET = sense(KEY_UNIT_ATTENTION, 0x29, 0x03);
export const SENSE_CAPACITY_CHANGED = sense(KEY_UNIT_ATTENTION, 0x2a, 0x09);
export const SENSE_MEDIUM_CHANGED = sense(KEY_UNIT_ATTENTION, 0x28);
export const SENSE_LUNS_CHANGED = sense(KEY_UNIT_ATTENTION, 0x3f, 0x0e);

/** Bytes of fixed format sense data as built here. */
export const FIXED_SENSE_BYTES = 18;

/** Fixed format sense data (SPC-4 4.5.3). */
export function fixedSense({ key, asc, ascq, information }: Sense): Uint8Array {
  const bytes = new Uint8Array(FIXED_SENSE_BYTES);
  bytes[0] = 0x70;
  bytes[2] = key;
  bytes[7] = FIXED_SENSE_BYTES - 8;
  bytes[12] = asc;
  bytes[13] = ascq;
  if (information !== undefined && information <= 0xffffffff) {
    bytes[0] |= 0x80;
    new DataView(bytes.buffer).setUint32(3, information);
  }
  return bytes;
}

/** Descriptor format sense data (SPC-4 4.5.2), for REQUEST SENSE with DESC set. */
export function descriptorSense({ key, asc, ascq, information }: Sense): Uint8Array {
  const bytes = new Uint8Array(information === undefined ? 8 : 20);
  bytes.set([0x72, key, asc, ascq]);
  bytes[7] = bytes.length - 8;
  if (information !== undefined) {
    bytes.set([0x00, 10, 0x80], 8);
    new DataView(bytes.buffer).setBigUint64(12, BigInt(information));
  }
  return bytes;
}

/** Thrown by a command's handler to end it with CHECK CONDITION. Never leaves the logical unit. */
export class CheckCondition extends Error {
  override readonly name = 'CheckCondition';
  constructor(readonly sense: Sense) {
    super(`sense ${sense.key.toString(16)}/${sense.asc.toString(16)}/${sense.ascq.toString(16)}`);
  }
}
