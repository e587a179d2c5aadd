/** Takes a snapshot apart and puts it together again with something changed (devices/machine/snapshot-format.ts). */

const MAGIC_BYTES = 8;

export interface SnapshotParts {
  /** The header and the lengths of the pieces, as JSON has them. */
  readonly document: { header: { [field: string]: unknown }; lengths: number[]; version: number };
  readonly pieces: Uint8Array[];
  readonly pages: Uint8Array;
}

const padded = (length: number): number => Math.ceil(length / 8) * 8;

export function takeApart(snapshot: Uint8Array): SnapshotParts {
  const jsonBytes = new DataView(snapshot.buffer, snapshot.byteOffset).getUint32(MAGIC_BYTES, true);
  const start = MAGIC_BYTES + 4;
  const text = new TextDecoder().decode(snapshot.subarray(start, start + jsonBytes));
  const document = JSON.parse(text) as SnapshotParts['document'];
  let at = padded(start + jsonBytes);
  const pieces = document.lengths.map((length) => {
    const piece = snapshot.slice(at, at + length);
    at += padded(length);
    return piece;
  });
  return { document, pieces, pages: snapshot.subarray(at) };
}

/** `json` replaces the document's text. */
export function putTogether(parts: SnapshotParts, json = JSON.stringify(parts.document)): Uint8Array {
  const text = new TextEncoder().encode(json);
  const start = MAGIC_BYTES + 4;
  const head = new Uint8Array(padded(start + text.length));
  head.set(new TextEncoder().encode('WEBHYVE\u0001'));
  new DataView(head.buffer).setUint32(MAGIC_BYTES, text.length, true);
  head.set(text, start);
  const pieces = parts.pieces.map((piece) => {
    const bytes = new Uint8Array(padded(piece.length));
    bytes.set(piece);
    return bytes;
  });
  return Buffer.concat([head, ...pieces, parts.pages]);
}
