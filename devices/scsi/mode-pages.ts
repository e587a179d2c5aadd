/** Mode parameter lists (SPC-4 7.5): header, block descriptor, pages. */

/** MODE SENSE data: a header of 4 or (long) 8 bytes, a block descriptor that may be empty, and pages. */
export function modeParameters(
  long: boolean,
  deviceSpecific: number,
  blockDescriptor: Uint8Array,
  pages: readonly Uint8Array[],
): Uint8Array {
  const headerBytes = long ? 8 : 4;
  const pageBytes = pages.reduce((sum, page) => sum + page.length, 0);
  const bytes = new Uint8Array(headerBytes + blockDescriptor.length + pageBytes);
  const view = new DataView(bytes.buffer);
  if (long) {
    view.setUint16(0, bytes.length - 2);
    bytes[3] = deviceSpecific;
    view.setUint16(6, blockDescriptor.length);
  } else {
    bytes[0] = Math.min(bytes.length - 1, 0xff);
    bytes[2] = deviceSpecific;
    bytes[3] = blockDescriptor.length;
  }
  bytes.set(blockDescriptor, headerBytes);
  let at = headerBytes + blockDescriptor.length;
  for (const page of pages) {
    bytes.set(page, at);
    at += page.length;
  }
  return bytes;
}

/** A page in page_0 format: number, length of the rest, the rest. */
export function modePage(number: number, body: readonly number[]): Uint8Array {
  return Uint8Array.from([number, body.length, ...body]);
}

/** Read-write error recovery: no retries to speak of, automatic reallocation (SBC-3 6.4.7). */
export const PAGE_ERROR_RECOVERY = 0x01;
/** Caching (SBC-3 6.4.5). */
export const PAGE_CACHING = 0x08;
/** Control (SPC-4 7.5.8). */
export const PAGE_CONTROL = 0x0a;
/** Informational exceptions control (SBC-3 6.4.6). */
export const PAGE_EXCEPTIONS = 0x1c;

/** Caching page; `writeCache` sets WCE. */
export function cachingPage(writeCache: boolean): Uint8Array {
  const body: number[] = Array.from({ length: 18 }, () => 0);
  body[0] = writeCache ? 0x04 : 0;
  return modePage(PAGE_CACHING, body);
}

/** Control page: unrestricted reordering (commands that overlap are the host's affair), fixed format sense data. */
export function controlPage(): Uint8Array {
  return modePage(PAGE_CONTROL, [0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]);
}
