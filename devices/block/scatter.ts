/** Lists of views of guest memory, as scatter-gather lists become them: copying small parameter data, cutting, counting. */

/** Bytes of all views together. */
export function viewsBytes(views: readonly Uint8Array[]): number {
  let sum = 0;
  for (const view of views) sum += view.length;
  return sum;
}

/** Copies `bytes` into the views, one after the other; returns how many bytes fitted. */
export function scatter(views: readonly Uint8Array[], bytes: Uint8Array): number {
  let done = 0;
  for (const view of views) {
    if (done === bytes.length) break;
    const part = bytes.subarray(done, done + view.length);
    view.set(part);
    done += part.length;
  }
  return done;
}

/** A copy of the first bytes of the views, at most `limitBytes`: guest memory may change while a device looks at it. */
export function gather(views: readonly Uint8Array[], limitBytes: number): Uint8Array {
  const bytes = new Uint8Array(Math.min(limitBytes, viewsBytes(views)));
  let done = 0;
  for (const view of views) {
    if (done === bytes.length) break;
    const part = view.subarray(0, bytes.length - done);
    bytes.set(part, done);
    done += part.length;
  }
  return bytes;
}

/** The views of the byte range [start, end) of what the given views hold together. */
export function sliceViews(views: readonly Uint8Array[], start: number, end: number): Uint8Array[] {
  const slice: Uint8Array[] = [];
  let at = 0;
  for (const view of views) {
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, view.length);
    if (from < to) slice.push(from === 0 && to === view.length ? view : view.subarray(from, to));
    at += view.length;
    if (at >= end) break;
  }
  return slice;
}

/** The views without their first bytes. */
export function dropViews(views: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = bytes;
  for (const view of views) {
    if (skip >= view.length) skip -= view.length;
    else {
      rest.push(skip > 0 ? view.subarray(skip) : view);
      skip = 0;
    }
  }
  return rest;
}

/** ASCII text in a field of fixed length, cut or padded with blanks, as SCSI, ATA and NVMe hold their strings. */
export function paddedText(text: string, lengthBytes: number): Uint8Array {
  const field = new Uint8Array(lengthBytes).fill(0x20);
  for (let i = 0; i < Math.min(text.length, lengthBytes); i++) {
    const code = text.charCodeAt(i);
    field[i] = code >= 0x20 && code < 0x7f ? code : 0x3f;
  }
  return field;
}
