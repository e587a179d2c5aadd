/**
 * A whole machine as bytes: configuration fingerprint, clock, the core's memory and every device's state.
 *
 * Format: the magic, a u32 with the length of a JSON header, the header, then the binary pieces that the header refers to by
 * their number, each padded to 8 bytes. RAM is kept by pages; pages of zeros are left out.
 */
import {
  CHUNK_SIZE,
  POOL_USED_CHUNKS,
  R_PENDING,
  SHARED,
  VCPU_STATE_SIZE,
  CHUNKS,
  CHUNK_COUNT,
  CFG_POOL_START,
  CFG_ROM_BYTES,
  CFG_TIME_OFFSET_NS,
  HOST_DOORBELL,
  HOST_UART_EVENTS,
  INTC_LOCK,
  PEND_INTR,
  PEND_STOP,
  UART_RINGS,
  UART_RING_SIZE,
  UART_COUNT,
  UART,
  UART_CONNECTED,
  UART_STRIDE,
} from '../../core-as/layout.ts';
import { SnapshotError, type DeviceState, type SnapshotPart, type StateValue, type Stateful } from '../snapshot.ts';
import { vcpuBlock, type CoreState } from './core.ts';
import type { Machine } from './machine.ts';

const MAGIC = 'WEBHYVE\u0001';
const FORMAT_VERSION = 2;
const PAGE_BYTES = 4096;

/** StateValue in JSON: byte arrays by number, bigints as decimal text. */
type Encoded =
  number | boolean | string | { readonly bytes: number } | { readonly bigint: string } | EncodedList | EncodedFields;
type EncodedList = { readonly list: readonly Encoded[] };
type EncodedFields = { readonly fields: { readonly [name: string]: Encoded } };

interface Header {
  readonly version: number;
  readonly machine: Fingerprint;
  readonly nowNs: number;
  readonly usedChunks: number;
  readonly shared: number;
  readonly rings: number;
  readonly chunks: number;
  readonly vcpus: readonly number[];
  /** PEND_* bits of each vCPU: an NMI, INIT or SIPI may be on its way. */
  readonly pending: readonly number[];
  /** Pages of the pool that are not zero, as [first page, count] runs; and their contents. */
  readonly pageRuns: readonly (readonly [number, number])[];
  readonly pages: number;
  readonly devices: Readonly<Record<string, Encoded>>;
}

interface Fingerprint {
  readonly name: string;
  readonly vcpus: number;
  readonly lowBytes: number;
  readonly highBytes: number;
  readonly poolStart: number;
  readonly romBytes: number;
}

class Blobs {
  readonly #pieces: Uint8Array[] = [];

  add(bytes: Uint8Array): number {
    // A copy: the memory behind it may be shared and goes on changing.
    this.#pieces.push(new Uint8Array(bytes));
    return this.#pieces.length - 1;
  }

  get pieces(): readonly Uint8Array[] {
    return this.#pieces;
  }
}

function encode(value: StateValue, blobs: Blobs): Encoded {
  if (typeof value === 'bigint') return { bigint: value.toString() };
  if (typeof value !== 'object') return value;
  if (value instanceof Uint8Array) return { bytes: blobs.add(value) };
  if (Array.isArray(value)) return { list: value.map((element: StateValue) => encode(element, blobs)) };
  const fields = Object.entries(value as { readonly [field: string]: StateValue });
  return { fields: Object.fromEntries(fields.map(([name, field]) => [name, encode(field, blobs)])) };
}

function decode(value: Encoded, blobs: readonly Uint8Array[]): StateValue {
  if (typeof value !== 'object') return value;
  if ('bigint' in value) return BigInt(value.bigint);
  if ('bytes' in value) return blobs[value.bytes] ?? new Uint8Array();
  if ('list' in value) return value.list.map((element) => decode(element, blobs));
  return Object.fromEntries(Object.entries(value.fields).map(([name, field]) => [name, decode(field, blobs)]));
}

function decodeDevice(name: string, value: Encoded | undefined, blobs: readonly Uint8Array[]): DeviceState {
  const state = value === undefined ? undefined : decode(value, blobs);
  if (typeof state !== 'object' || state instanceof Uint8Array || Array.isArray(state)) {
    throw new SnapshotError(`the snapshot has no state of ${name}`, 'devices');
  }
  const { kind, version, fields } = state as { readonly [field: string]: StateValue };
  if (typeof kind !== 'string' || typeof version !== 'number' || typeof fields !== 'object') {
    throw new SnapshotError(`the snapshot's state of ${name} is damaged`, 'devices');
  }
  return { kind, version, fields: fields as DeviceState['fields'] };
}

function fingerprint(machine: Machine): Fingerprint {
  const { vcpus, lowBytes, highBytes, poolStart } = machine.plan;
  return { name: machine.name, vcpus, lowBytes, highBytes, poolStart, romBytes: machine.state.u32(CFG_ROM_BYTES) };
}

function isZero(words: BigUint64Array): boolean {
  for (const word of words) if (word !== 0n) return false;
  return true;
}

/** Runs of pages in the used part of the pool that hold anything. */
function findPageRuns(state: CoreState, poolStart: number, usedChunks: number): [number, number][] {
  const runs: [number, number][] = [];
  for (let page = 0; page < (usedChunks * CHUNK_SIZE) / PAGE_BYTES; page++) {
    const words = new BigUint64Array(state.memory.buffer, poolStart + page * PAGE_BYTES, PAGE_BYTES / 8);
    if (isZero(words)) continue;
    const last = runs.at(-1);
    if (last && last[0] + last[1] === page) last[1]++;
    else runs.push([page, 1]);
  }
  return runs;
}

/** Saves a machine; pauses it for as long as that takes. */
export async function saveMachine(machine: Machine): Promise<Uint8Array> {
  const wasRunning = machine.running;
  await machine.pause();
  try {
    return write(machine);
  } finally {
    if (wasRunning) machine.resume();
  }
}

function write(machine: Machine): Uint8Array {
  const { state, plan } = machine;
  const blobs = new Blobs();
  const slice = (start: number, length: number): Uint8Array => state.u8.subarray(start, start + length);
  const usedChunks = state.u32(POOL_USED_CHUNKS);
  const pageRuns = findPageRuns(state, plan.poolStart, usedChunks);
  const pages = new Uint8Array(pageRuns.reduce((sum, [, count]) => sum + count, 0) * PAGE_BYTES);
  let at = 0;
  for (const [page, count] of pageRuns) {
    const run = new Uint8Array(state.memory.buffer, plan.poolStart + page * PAGE_BYTES, count * PAGE_BYTES);
    pages.set(run, at);
    at += run.length;
  }
  const devices: Record<string, Encoded> = {};
  for (const [name, part] of machine.platform.devices.entries()) {
    const { kind, version, fields } = part.save();
    devices[name] = encode({ kind, version, fields }, blobs);
  }
  const header: Header = {
    version: FORMAT_VERSION,
    machine: fingerprint(machine),
    nowNs: machine.clock.nowNs(),
    usedChunks,
    shared: blobs.add(slice(SHARED, UART_RINGS - SHARED)),
    rings: blobs.add(slice(UART_RINGS, UART_COUNT * 2 * UART_RING_SIZE)),
    chunks: blobs.add(slice(CHUNKS, CHUNK_COUNT * 4)),
    vcpus: Array.from({ length: plan.vcpus }, (_, vcpu) => blobs.add(slice(vcpuBlock(vcpu), VCPU_STATE_SIZE))),
    pending: Array.from({ length: plan.vcpus }, (_, vcpu) => state.u32(vcpuBlock(vcpu) + R_PENDING)),
    pageRuns,
    pages: blobs.add(pages),
    devices,
  };
  return pack(header, blobs.pieces);
}

function padded(length: number): number {
  return Math.ceil(length / 8) * 8;
}

function pack(header: Header, pieces: readonly Uint8Array[]): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify({ header, lengths: pieces.map((piece) => piece.length) }));
  const start = MAGIC.length + 4;
  const bytes = new Uint8Array(padded(start + json.length) + pieces.reduce((sum, p) => sum + padded(p.length), 0));
  bytes.set(new TextEncoder().encode(MAGIC), 0);
  new DataView(bytes.buffer).setUint32(MAGIC.length, json.length, true);
  bytes.set(json, start);
  let at = padded(start + json.length);
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += padded(piece.length);
  }
  return bytes;
}

function unpack(bytes: Uint8Array): { header: Header; pieces: Uint8Array[] } {
  const start = MAGIC.length + 4;
  if (bytes.length < start || new TextDecoder().decode(bytes.subarray(0, MAGIC.length)) !== MAGIC) {
    throw new SnapshotError('this is no snapshot of webhyve');
  }
  const jsonLength = new DataView(bytes.buffer, bytes.byteOffset).getUint32(MAGIC.length, true);
  let parsed: { header: Header; lengths: number[] };
  try {
    const text = new TextDecoder().decode(bytes.subarray(start, start + jsonLength));
    parsed = JSON.parse(text) as typeof parsed;
  } catch {
    throw new SnapshotError('the snapshot is damaged');
  }
  if (parsed.header.version !== FORMAT_VERSION) {
    throw new SnapshotError(`the snapshot has format ${parsed.header.version}; this program reads ${FORMAT_VERSION}`);
  }
  const pieces: Uint8Array[] = [];
  let at = padded(start + jsonLength);
  for (const length of parsed.lengths) {
    if (!Number.isSafeInteger(length) || length < 0 || at + length > bytes.length) {
      throw new SnapshotError('the snapshot is cut short');
    }
    pieces.push(bytes.slice(at, at + length));
    at += padded(length);
  }
  return { header: parsed.header, pieces };
}

function checkFingerprint(machine: Machine, saved: Fingerprint): void {
  const own = fingerprint(machine);
  for (const key of ['vcpus', 'lowBytes', 'highBytes', 'poolStart', 'romBytes'] as const) {
    if (own[key] !== saved[key]) {
      throw new SnapshotError(`the snapshot is of another machine: ${key} is ${saved[key]}, not ${own[key]}`, 'memory');
    }
  }
}

/** What {@link restoreMachine} does, in this order. */
export type RestoreStep = 'pausing' | SnapshotPart | 'resuming';

/** Puts a snapshot into a machine of the same configuration that was not started yet. `begins` hears of each step. */
export async function restoreMachine(
  machine: Machine,
  bytes: Uint8Array,
  begins: (step: RestoreStep) => void = () => undefined,
): Promise<void> {
  if (!machine.pristine) throw new SnapshotError('only a machine that was not started can be restored');
  const { header, pieces } = unpack(bytes);
  checkFingerprint(machine, header.machine);
  const piece = (part: SnapshotPart, number: number, length: number): Uint8Array => {
    const found = pieces[number];
    if (found?.length !== length) throw new SnapshotError('the snapshot is damaged', part);
    return found;
  };
  const { state, plan } = machine;
  const shared = piece('processors', header.shared, UART_RINGS - SHARED);
  const rings = piece('processors', header.rings, UART_COUNT * 2 * UART_RING_SIZE);
  const chunks = piece('memory', header.chunks, CHUNK_COUNT * 4);
  const vcpus = Array.from({ length: plan.vcpus }, (_, vcpu) =>
    piece('processors', header.vcpus[vcpu] ?? -1, VCPU_STATE_SIZE),
  );
  const devices = [...machine.platform.devices.entries()].map(([name, part]) => ({
    part,
    state: decodeDevice(name, header.devices[name], pieces),
  }));
  const poolBytes = plan.poolEndPages * 65536 - plan.poolStart;
  const pageCount = header.pageRuns.reduce((sum, [, count]) => sum + count, 0);
  const pages = piece('memory', header.pages, pageCount * PAGE_BYTES);
  for (const [page, count] of header.pageRuns) {
    if (!(page >= 0 && count > 0 && (page + count) * PAGE_BYTES <= poolBytes)) {
      throw new SnapshotError('the snapshot holds memory outside the machine', 'memory');
    }
  }
  begins('pausing');

  // From here on the machine changes; everything was checked that can be checked before.
  begins('memory');
  machine.clock.stop();
  const connected = Array.from({ length: UART_COUNT }, (_, n) => state.u32(UART + n * UART_STRIDE + UART_CONNECTED));
  const used = state.u32(POOL_USED_CHUNKS);
  new Uint8Array(state.memory.buffer, plan.poolStart, used * CHUNK_SIZE).fill(0);
  state.u8.set(chunks, CHUNKS);
  let at = 0;
  for (const [page, count] of header.pageRuns) {
    const run = new Uint8Array(state.memory.buffer, plan.poolStart + page * PAGE_BYTES, count * PAGE_BYTES);
    run.set(pages.subarray(at, at + run.length));
    at += run.length;
  }
  state.setU32(POOL_USED_CHUNKS, header.usedChunks);
  machine.memory.forgetChunks();

  // Before the core: what lines and registers of it devices move while they are restored, its saved state has the last word.
  begins('devices');
  for (const { part, state: saved } of devices) restoreDevice(part, saved);

  begins('processors');
  // A device may have looked at memory that nobody had touched.
  const usedChunks = state.u32(POOL_USED_CHUNKS);
  state.u8.set(shared, SHARED);
  state.setU32(POOL_USED_CHUNKS, usedChunks);
  state.u8.set(rings, UART_RINGS);
  for (const [vcpu, saved] of vcpus.entries()) {
    const block = vcpuBlock(vcpu);
    state.u8.set(saved, block);
    // The stop that made the snapshot possible is over; everything else that was due is looked at again.
    state.setU32(block + R_PENDING, ((header.pending[vcpu] ?? 0) & ~PEND_STOP) | PEND_INTR);
  }
  state.setU32(CFG_POOL_START, plan.poolStart);
  state.setU32(INTC_LOCK, 0);
  state.setU32(HOST_DOORBELL, 0);
  state.setU32(HOST_UART_EVENTS, 2 ** UART_COUNT - 1);
  for (const [n, value] of connected.entries()) state.setU32(UART + n * UART_STRIDE + UART_CONNECTED, value);
  state.setF64(CFG_TIME_OFFSET_NS, 0);

  begins('resuming');
  machine.clock.resume(header.nowNs);
}

function restoreDevice(part: Stateful, saved: DeviceState): void {
  try {
    part.restore(saved);
  } catch (error) {
    throw error instanceof SnapshotError ? new SnapshotError(error.message, 'devices') : error;
  }
}
