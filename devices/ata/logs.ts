/** General purpose logs (ACS-3 9, annex A): the directory, queued errors, SEND FPDMA QUEUED, identify data. */
import { IDENTIFY_BYTES } from './identify.ts';

export const LOG_PAGE_BYTES = 512;
export const LOG_DIRECTORY = 0x00;
export const LOG_QUEUED_ERROR = 0x10;
export const LOG_SEND_FPDMA = 0x13;
export const LOG_IDENTIFY_DATA = 0x30;

/** The one queued command that failed, as log 10h shows it (ACS-3 A.14). */
export interface QueuedError {
  readonly tag: number;
  readonly status: number;
  readonly error: number;
  readonly lba: number;
  readonly count: number;
  readonly device: number;
}

export function queuedErrorLog(failure: QueuedError | undefined): Uint8Array {
  const bytes = new Uint8Array(LOG_PAGE_BYTES);
  if (failure) {
    const { lba } = failure;
    bytes[0] = failure.tag & 0x1f;
    bytes[2] = failure.status;
    bytes[3] = failure.error;
    const low = lba % 0x1000000;
    const high = Math.floor(lba / 0x1000000);
    bytes.set([low & 0xff, (low >> 8) & 0xff, (low >> 16) & 0xff, failure.device], 4);
    bytes.set([high & 0xff, (high >> 8) & 0xff, (high >> 16) & 0xff], 8);
    bytes[12] = failure.count & 0xff;
    bytes[13] = failure.count >> 8;
  } else {
    bytes[0] = 0x80; // the last error was none of a queued command
  }
  let sum = 0;
  for (let i = 0; i < 511; i++) sum += bytes[i] ?? 0;
  bytes[511] = -sum & 0xff;
  return bytes;
}

/** Log 13h: SEND FPDMA QUEUED does data set management, with TRIM. */
export function sendFpdmaLog(canTrim: boolean): Uint8Array {
  const bytes = new Uint8Array(LOG_PAGE_BYTES);
  if (canTrim) {
    bytes[0] = 1;
    bytes[4] = 1;
  }
  return bytes;
}

/** Log 30h (ACS-3 A.11): page 0 lists the pages, page 1 is a copy of IDENTIFY DEVICE data. */
export function identifyDataLog(page: number, identify: Uint8Array): Uint8Array | undefined {
  if (page === 1) return identify.slice(0, IDENTIFY_BYTES);
  if (page !== 0) return undefined;
  const bytes = new Uint8Array(LOG_PAGE_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, (1n << 63n) | 1n, true);
  bytes.set([2, 0, 1], 8);
  return bytes;
}

/** The directory: how many pages each log has. */
export function logDirectory(): Uint8Array {
  const bytes = new Uint8Array(LOG_PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(2 * LOG_DIRECTORY, 1, true);
  view.setUint16(2 * LOG_QUEUED_ERROR, 1, true);
  view.setUint16(2 * LOG_SEND_FPDMA, 1, true);
  view.setUint16(2 * LOG_IDENTIFY_DATA, 2, true);
  return bytes;
}
