/**
 * A snapshot's container. In order:
 *
 *   magic          8 bytes
 *   u32            length of the document
 *   document       JSON: the {@link SnapshotHeader}, and the lengths of the pieces
 *   pieces         byte arrays that the header refers to by number, each padded to 8 bytes
 *   pages          the guest's memory (snapshot-memory.ts)
 *
 * A snapshot may come from a stranger: whatever this file reads has been checked for its type, and nothing is allocated
 * for a length that has not been compared with a limit and with the length of the whole. What the values mean is checked where they
 * are used.
 */
import { CHUNK_COUNT } from '../../core-as/layout.ts';
import {
  SnapshotError,
  type DeviceState,
  type SnapshotPart,
  type SnapshotSource,
  type StateValue,
} from '../snapshot.ts';

const MAGIC = new TextEncoder().encode('WEBHYVE\u0001');
const FORMAT_VERSION = 3;
/** Document and pieces together; a machine of 16 vCPUs needs some 2 MiB, and each device what it buffers. */
const MAX_HEAD_BYTES = 128 * 1024 * 1024;
const MAX_PIECES = 10_000;
/** Device states nest five deep; a deeper document is not ours. */
const MAX_DEPTH = 32;
/** Decimal digits of a u64 or i64. */
const BIGINT_TEXT = /^-?\d{1,20}$/;

/** Values of a StateValue in JSON: byte arrays by number, bigints as decimal text. */
export type Encoded =
  number | boolean | string | { readonly bytes: number } | { readonly bigint: string } | EncodedList | EncodedFields;
type EncodedList = { readonly list: readonly Encoded[] };
type EncodedFields = { readonly fields: { readonly [name: string]: Encoded } };

/** What must be the same in the machine that a snapshot is restored into. */
export interface Fingerprint {
  readonly vcpus: number;
  readonly lowBytes: number;
  readonly highBytes: number;
  readonly poolStart: number;
  readonly romBytes: number;
}

/** Numbers of pieces are named `...Piece`. */
export interface SnapshotHeader {
  readonly machine: Fingerprint;
  readonly nowNs: number;
  /** Deterministic clock, ns. */
  readonly countedNs: bigint;
  /** vCPUs, one bit each, that were started, and that rest in HLT for good. */
  readonly activeCpus: number;
  readonly haltedCpus: number;
  readonly usedChunks: number;
  /** Numbers of the chunks that were in the swap file; their pages follow those of the pool. */
  readonly outside: readonly number[];
  /** Interrupt controllers, timers and UARTs of the core. */
  readonly platformPiece: number;
  readonly uartRingsPiece: number;
  readonly chunksPiece: number;
  readonly pageMapPiece: number;
  readonly vcpuPieces: readonly number[];
  /** PEND_* bits of each vCPU: an NMI, INIT or SIPI may be on its way. */
  readonly pending: readonly number[];
  readonly devices: Readonly<Record<string, Encoded>>;
}

/** The pieces of a snapshot that is being made. */
export class PieceList {
  readonly pieces: Uint8Array[] = [];

  /** Returns the piece's number. */
  add(bytes: Uint8Array): number {
    // A copy: the memory behind it may be shared and goes on changing.
    this.pieces.push(new Uint8Array(bytes));
    return this.pieces.length - 1;
  }
}

export function encodeState(state: DeviceState, pieces: PieceList): Encoded {
  return encode({ kind: state.kind, version: state.version, fields: state.fields }, pieces);
}

function encode(value: StateValue, pieces: PieceList): Encoded {
  if (typeof value === 'bigint') return { bigint: value.toString() };
  if (typeof value !== 'object') return value;
  if (value instanceof Uint8Array) return { bytes: pieces.add(value) };
  if (Array.isArray(value)) return { list: value.map((element: StateValue) => encode(element, pieces)) };
  const fields = Object.entries(value as { readonly [field: string]: StateValue });
  return { fields: Object.fromEntries(fields.map(([name, field]) => [name, encode(field, pieces)])) };
}

function padded(lengthBytes: number): number {
  return Math.ceil(lengthBytes / 8) * 8;
}

/** Everything before the pages. */
export function packHead(header: SnapshotHeader, pieces: readonly Uint8Array[]): Uint8Array {
  const document = {
    version: FORMAT_VERSION,
    header: { ...header, countedNs: header.countedNs.toString() },
    lengths: pieces.map((piece) => piece.length),
  };
  const json = new TextEncoder().encode(JSON.stringify(document));
  const start = MAGIC.length + 4;
  const lengthBytes = padded(start + json.length) + pieces.reduce((sum, p) => sum + padded(p.length), 0);
  if (lengthBytes > MAX_HEAD_BYTES) {
    throw new SnapshotError(
      `devices and disks in memory hold ${Math.ceil(lengthBytes / 2 ** 20)} MiB; a snapshot keeps ${MAX_HEAD_BYTES / 2 ** 20} MiB of them`,
      'devices',
    );
  }
  const bytes = new Uint8Array(lengthBytes);
  bytes.set(MAGIC, 0);
  new DataView(bytes.buffer).setUint32(MAGIC.length, json.length, true);
  bytes.set(json, start);
  let at = padded(start + json.length);
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += padded(piece.length);
  }
  return bytes;
}

/** A snapshot's header and pieces, and how many bytes of pages follow. */
export class SnapshotHead {
  constructor(
    readonly header: SnapshotHeader,
    readonly pageBytes: number,
    private readonly pieces: readonly Uint8Array[],
  ) {}

  /** The piece of that number, which must have that length. */
  piece(part: SnapshotPart, number: number | undefined, lengthBytes: number): Uint8Array {
    const found = this.pieces[number ?? -1];
    if (found?.length !== lengthBytes) throw new SnapshotError('the snapshot is damaged', part);
    return found;
  }

  /** The saved state of a part of the machine. */
  device(name: string): DeviceState {
    const { devices } = this.header;
    const encoded = Object.hasOwn(devices, name) ? devices[name] : undefined;
    const state = encoded === undefined ? undefined : this.#decode(encoded);
    if (!isFields(state)) throw new SnapshotError(`the snapshot has no state of ${name}`, 'devices');
    const { kind, version, fields } = state;
    if (typeof kind !== 'string' || typeof version !== 'number' || !isFields(fields)) {
      throw new SnapshotError(`the snapshot's state of ${name} is damaged`, 'devices');
    }
    return { kind, version, fields };
  }

  /** The value behind an Encoded, which is only believed to be one. */
  #decode(value: unknown, depth = 0): StateValue {
    const damaged = (): SnapshotError => new SnapshotError('a device state of the snapshot is damaged', 'devices');
    if (depth > MAX_DEPTH) throw damaged();
    if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string') return value;
    if (!isRecord(value)) throw damaged();
    const { bigint, bytes, list, fields } = value;
    if (typeof bigint === 'string' && BIGINT_TEXT.test(bigint)) return BigInt(bigint);
    if (typeof bytes === 'number') {
      const piece = this.pieces[bytes];
      if (piece) return piece;
    }
    if (Array.isArray(list)) return list.map((element: unknown) => this.#decode(element, depth + 1));
    if (!isRecord(fields)) throw damaged();
    return Object.fromEntries(
      Object.entries(fields).map(([name, field]) => [name, this.#decode(field, depth + 1)] as const),
    );
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isFields(value: StateValue | undefined): value is DeviceState['fields'] {
  return typeof value === 'object' && !Array.isArray(value) && !(value instanceof Uint8Array);
}

function damaged(): SnapshotError {
  return new SnapshotError('the snapshot is damaged');
}

function integerOf(record: Readonly<Record<string, unknown>>, name: string, max = Number.MAX_SAFE_INTEGER): number {
  const value = record[name];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) throw damaged();
  return value;
}

function integersOf(record: Readonly<Record<string, unknown>>, name: string, max: number): number[] {
  const list = record[name];
  if (!Array.isArray(list)) throw damaged();
  return list.map((_, index) => integerOf(list as unknown as Record<string, unknown>, String(index), max));
}

function parseHeader(record: Readonly<Record<string, unknown>>): SnapshotHeader {
  const { machine, devices, countedNs, nowNs } = record;
  if (!isRecord(machine) || !isRecord(devices)) throw damaged();
  if (typeof countedNs !== 'string' || !/^\d{1,19}$/.test(countedNs)) throw damaged();
  if (typeof nowNs !== 'number' || !(nowNs >= 0 && nowNs <= Number.MAX_SAFE_INTEGER)) throw damaged();
  const number = (name: string): number => integerOf(record, name, MAX_PIECES);
  return {
    machine: {
      vcpus: integerOf(machine, 'vcpus'),
      lowBytes: integerOf(machine, 'lowBytes'),
      highBytes: integerOf(machine, 'highBytes'),
      poolStart: integerOf(machine, 'poolStart'),
      romBytes: integerOf(machine, 'romBytes'),
    },
    nowNs,
    countedNs: BigInt(countedNs),
    activeCpus: integerOf(record, 'activeCpus', 0xffff_ffff),
    haltedCpus: integerOf(record, 'haltedCpus', 0xffff_ffff),
    usedChunks: integerOf(record, 'usedChunks', 0xffff_ffff),
    // Snapshots that are older than swap files have none.
    outside: record['outside'] === undefined ? [] : integersOf(record, 'outside', CHUNK_COUNT - 1),
    platformPiece: number('platformPiece'),
    uartRingsPiece: number('uartRingsPiece'),
    chunksPiece: number('chunksPiece'),
    pageMapPiece: number('pageMapPiece'),
    vcpuPieces: integersOf(record, 'vcpuPieces', MAX_PIECES),
    pending: integersOf(record, 'pending', 0xffff_ffff),
    devices: devices as Record<string, Encoded>,
  };
}

function parseDocument(json: Uint8Array): { readonly header: SnapshotHeader; readonly lengths: readonly number[] } {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder().decode(json));
  } catch {
    throw damaged();
  }
  if (!isRecord(document)) throw damaged();
  const version = integerOf(document, 'version');
  if (version !== FORMAT_VERSION) {
    throw new SnapshotError(`the snapshot has format ${version}; this program reads ${FORMAT_VERSION}`);
  }
  if (!isRecord(document['header'])) throw damaged();
  return { header: parseHeader(document['header']), lengths: integersOf(document, 'lengths', MAX_HEAD_BYTES) };
}

/** Reads up to the pages. Rejects with {@link SnapshotError}. */
export async function readHead(source: SnapshotSource): Promise<SnapshotHead> {
  const start = new Uint8Array(MAGIC.length + 4);
  if (source.lengthBytes < start.length) throw new SnapshotError('this is no snapshot of webhyve');
  await source.read(start);
  if (MAGIC.some((byte, at) => start[at] !== byte)) throw new SnapshotError('this is no snapshot of webhyve');
  const jsonBytes = new DataView(start.buffer).getUint32(MAGIC.length, true);
  const piecesAt = padded(start.length + jsonBytes);
  if (piecesAt > source.lengthBytes) throw new SnapshotError('the snapshot is cut short');
  if (piecesAt > MAX_HEAD_BYTES) throw damaged();
  const json = new Uint8Array(piecesAt - start.length);
  await source.read(json);
  const { header, lengths } = parseDocument(json.subarray(0, jsonBytes));
  if (lengths.length > MAX_PIECES) throw damaged();
  const headBytes = lengths.reduce((sum, length) => sum + padded(length), piecesAt);
  if (headBytes > MAX_HEAD_BYTES) throw damaged();
  if (headBytes > source.lengthBytes) throw new SnapshotError('the snapshot is cut short');
  const all = new Uint8Array(headBytes - piecesAt);
  await source.read(all);
  let at = 0;
  const pieces = lengths.map((length) => {
    const piece = all.subarray(at, at + length);
    at += padded(length);
    return piece;
  });
  return new SnapshotHead(header, source.lengthBytes - headBytes, pieces);
}
