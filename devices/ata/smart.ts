/**
 * SMART (ACS-3 7.48) of a disk that does not wear: bhyve has none, but guests' tools ask for it. Attributes are the few that can be told truly.
 */

export const SMART_READ_DATA = 0xd0;
export const SMART_READ_THRESHOLDS = 0xd1;
export const SMART_AUTOSAVE = 0xd2;
export const SMART_EXECUTE_OFFLINE = 0xd4;
export const SMART_READ_LOG = 0xd5;
export const SMART_ENABLE = 0xd8;
export const SMART_DISABLE = 0xd9;
export const SMART_RETURN_STATUS = 0xda;

/** LBA registers of every SMART command: C24Fh in bits 23:8. */
export const SMART_KEY = 0xc24f;
export const SMART_LOG_DIRECTORY = 0x00;
export const SMART_LOG_SUMMARY_ERRORS = 0x01;
export const SMART_LOG_SELF_TEST = 0x06;

/** What the attributes show. */
export interface SmartFigures {
  /** Requests that the backend failed to read. */
  readonly readErrors: number;
  readonly powerOnHours: number;
  readonly powerCycles: number;
  /** Errors that a real disk would have counted as uncorrectable. */
  readonly uncorrectable: number;
}

const SECTOR = 512;

function checksum(bytes: Uint8Array): Uint8Array {
  let sum = 0;
  for (let i = 0; i < SECTOR - 1; i++) sum += bytes[i] ?? 0;
  bytes[SECTOR - 1] = -sum & 0xff;
  return bytes;
}

interface Attribute {
  readonly id: number;
  readonly flags: number;
  readonly threshold: number;
  readonly raw: number;
}

function attributes(figures: SmartFigures): Attribute[] {
  return [
    { id: 1, flags: 0x000b, threshold: 6, raw: figures.readErrors },
    { id: 9, flags: 0x0032, threshold: 0, raw: figures.powerOnHours },
    { id: 12, flags: 0x0032, threshold: 0, raw: figures.powerCycles },
    { id: 187, flags: 0x0032, threshold: 0, raw: figures.uncorrectable },
    { id: 190, flags: 0x0022, threshold: 0, raw: 23 },
  ];
}

export function smartData(figures: SmartFigures): Uint8Array {
  const bytes = new Uint8Array(SECTOR);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 10, true);
  for (const [index, { id, flags, raw }] of attributes(figures).entries()) {
    const at = 2 + 12 * index;
    bytes[at] = id;
    view.setUint16(at + 1, flags, true);
    bytes[at + 3] = 100;
    bytes[at + 4] = 100;
    view.setUint32(at + 5, Math.min(raw, 0xffffffff), true);
  }
  bytes[362] = 0x00; // off-line collection never started
  bytes[367] = 0x11; // off-line immediate, self-test
  view.setUint16(368, 0x0003, true); // saves before power mode, autosave
  bytes[370] = 0x01; // error logging
  bytes[372] = 1; // minutes of a short self-test
  bytes[373] = 1;
  return checksum(bytes);
}

export function smartThresholds(figures: SmartFigures): Uint8Array {
  const bytes = new Uint8Array(SECTOR);
  new DataView(bytes.buffer).setUint16(0, 10, true);
  for (const [index, { id, threshold }] of attributes(figures).entries()) {
    bytes[2 + 12 * index] = id;
    bytes[3 + 12 * index] = threshold;
  }
  return checksum(bytes);
}

/** A log's sectors, or undefined when there is no such log. Error and self-test logs are empty: nothing is kept in them. */
export function smartLog(address: number): Uint8Array | undefined {
  const bytes = new Uint8Array(SECTOR);
  switch (address) {
    case SMART_LOG_DIRECTORY:
      bytes[0] = 1;
      bytes[2 * SMART_LOG_SUMMARY_ERRORS] = 1;
      bytes[2 * SMART_LOG_SELF_TEST] = 1;
      return bytes;
    case SMART_LOG_SUMMARY_ERRORS:
      bytes[0] = 1;
      return checksum(bytes);
    case SMART_LOG_SELF_TEST:
      bytes[0] = 1;
      return checksum(bytes);
    default:
      return undefined;
  }
}
