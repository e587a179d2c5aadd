/**
 * Saving and restoring a whole machine: its configuration's fingerprint, clock, the core's state, every device's, and guest memory.
 *
 * A snapshot is checked like a stranger's file. Of the core's memory only what a machine's life makes is taken from it: the
 * configuration, locks, the host's words and the marks on code pages stay this machine's own; registers of the core's devices and of its
 * vCPUs are looked at by the core itself (core-as/restored.ts).
 */
import {
  ACTIVE_CPUS,
  CFG_ROM_BYTES,
  CFG_TIME_OFFSET_NS,
  CHUNKS,
  CHUNK_SIZE,
  DET_NOW_NS,
  HALTED_CPUS,
  HOST_UART_EVENTS,
  PEND_INIT,
  PEND_INTR,
  PEND_NMI,
  PEND_SIPI,
  PIC,
  POOL_USED_CHUNKS,
  R_PENDING,
  UART,
  UART_CONNECTED,
  UART_COUNT,
  UART_RINGS,
  UART_RING_SIZE,
  UART_STRIDE,
  UART_TX_NOTIFY,
  VCPU_STATE_SIZE,
} from '../../core-as/layout.ts';
import {
  BytesSource,
  SnapshotError,
  type DeviceState,
  type SnapshotPart,
  type SnapshotSink,
  type SnapshotSource,
  type Stateful,
} from '../snapshot.ts';
import { vcpuBlock } from './core.ts';
import type { Machine } from './machine.ts';
import {
  encodeState,
  packHead,
  PieceList,
  readHead,
  type Encoded,
  type Fingerprint,
  type SnapshotHead,
  type SnapshotHeader,
} from './snapshot-format.ts';
import {
  checkChunkTable,
  CHUNK_TABLE_BYTES,
  chunkTable,
  countPages,
  mapPages,
  pageMapBytes,
  readPages,
  RestoredChunks,
  SavedChunks,
  writePages,
} from './snapshot-memory.ts';

const PAGE_BYTES = 4096;
/** The core's interrupt controllers, timers and UARTs lie together. */
const PLATFORM = PIC;
const PLATFORM_BYTES = UART + UART_COUNT * UART_STRIDE - PIC;
const UART_RINGS_BYTES = UART_COUNT * 2 * UART_RING_SIZE;
/** Of what a vCPU was told, that which nobody would tell it again. */
const KEPT_PENDING = PEND_NMI | PEND_INIT | PEND_SIPI;

function fingerprint(machine: Machine): Fingerprint {
  const { vcpus, lowBytes, highBytes, poolStart } = machine.plan;
  return { vcpus, lowBytes, highBytes, poolStart, romBytes: machine.state.u32(CFG_ROM_BYTES) };
}

/** Saves a machine; pauses it for as long as that takes. */
export async function saveMachine(machine: Machine, sink: SnapshotSink): Promise<void> {
  const wasRunning = machine.running;
  await machine.pause();
  try {
    await write(machine, sink);
  } finally {
    if (wasRunning) machine.resume();
  }
}

async function write(machine: Machine, sink: SnapshotSink): Promise<void> {
  const { state, plan } = machine;
  const pieces = new PieceList();
  const piece = (start: number, length: number): number => pieces.add(state.u8.subarray(start, start + length));
  const vcpus = Array.from({ length: plan.vcpus }, (_, vcpu) => vcpuBlock(vcpu));
  const outside = machine.pager?.outside ?? [];
  const chunks = new SavedChunks(machine, outside);
  const pageMap = mapPages(chunks);
  const devices: Record<string, Encoded> = {};
  for (const [name, part] of machine.platform.devices.entries()) devices[name] = encodeState(part.save(), pieces);
  const header: SnapshotHeader = {
    machine: fingerprint(machine),
    nowNs: machine.clock.nowNs(),
    countedNs: state.u64(DET_NOW_NS),
    activeCpus: state.u32(ACTIVE_CPUS),
    haltedCpus: state.u32(HALTED_CPUS),
    usedChunks: state.u32(POOL_USED_CHUNKS),
    outside,
    platformPiece: piece(PLATFORM, PLATFORM_BYTES),
    uartRingsPiece: piece(UART_RINGS, UART_RINGS_BYTES),
    chunksPiece: pieces.add(chunkTable(machine)),
    pageMapPiece: pieces.add(pageMap),
    vcpuPieces: vcpus.map((block) => piece(block, VCPU_STATE_SIZE)),
    pending: vcpus.map((block) => state.u32(block + R_PENDING)),
    devices,
  };
  const head = packHead(header, pieces.pieces);
  await sink.begin(head.length + countPages(pageMap) * PAGE_BYTES);
  await sink.write(head);
  await writePages(chunks, pageMap, sink);
}

function checkFingerprint(machine: Machine, saved: Fingerprint): void {
  const own = fingerprint(machine);
  for (const key of ['vcpus', 'lowBytes', 'highBytes', 'poolStart', 'romBytes'] as const) {
    if (own[key] !== saved[key]) {
      throw new SnapshotError(`the snapshot is of another machine: ${key} is ${saved[key]}, not ${own[key]}`, 'memory');
    }
  }
}

/** What a snapshot puts into a machine, checked as far as it can be before anything changes. */
interface Restoration {
  readonly header: SnapshotHeader;
  readonly chunks: Uint8Array;
  readonly places: RestoredChunks;
  readonly pageMap: Uint8Array;
  readonly rings: Uint8Array;
  readonly registers: Registers;
  readonly devices: readonly { readonly part: Stateful; readonly state: DeviceState }[];
}

function check(machine: Machine, head: SnapshotHead): Restoration {
  const { header } = head;
  checkFingerprint(machine, header.machine);
  const savedTable = head.piece('memory', header.chunksPiece, CHUNK_TABLE_BYTES);
  const chunks = checkChunkTable(machine, savedTable, header.usedChunks, header.outside);
  const savedChunks = header.usedChunks + header.outside.length;
  const pageMap = head.piece('memory', header.pageMapPiece, pageMapBytes(savedChunks));
  const places = new RestoredChunks(machine, chunks, header.usedChunks, header.outside);
  if (head.pageBytes !== countPages(pageMap) * PAGE_BYTES) {
    throw new SnapshotError('the snapshot is cut short', 'memory');
  }
  const rings = head.piece('processors', header.uartRingsPiece, UART_RINGS_BYTES);
  const registers = registersOf(machine, head);
  const devices = [...machine.platform.devices.entries()].map(([name, part]) => ({ part, state: head.device(name) }));
  checkRegisters(machine, registers);
  return { header, chunks, places, pageMap, rings, registers, devices };
}

/** The core's saved registers and where they go. */
type Registers = readonly { readonly at: number; readonly bytes: Uint8Array }[];

function registersOf(machine: Machine, head: SnapshotHead): Registers {
  const { platformPiece, vcpuPieces } = head.header;
  return [
    { at: PLATFORM, bytes: head.piece('processors', platformPiece, PLATFORM_BYTES) },
    ...Array.from({ length: machine.plan.vcpus }, (_, vcpu) => ({
      at: vcpuBlock(vcpu),
      bytes: head.piece('processors', vcpuPieces[vcpu], VCPU_STATE_SIZE),
    })),
  ];
}

/** Whether a UART is connected, and when its output is announced, is for the host to say. */
const HOST_WORDS = Array.from({ length: UART_COUNT }, (_, uart) => UART + uart * UART_STRIDE).flatMap((block) => [
  block + UART_CONNECTED,
  block + UART_TX_NOTIFY,
]);

function putRegisters({ state }: Machine, registers: Registers): void {
  const kept = HOST_WORDS.map((at) => state.u32(at));
  for (const { at, bytes } of registers) state.u8.set(bytes, at);
  for (const [index, at] of HOST_WORDS.entries()) state.setU32(at, kept[index] ?? 0);
}

/** Lets the core look at the registers in their places; they are what they were afterwards. */
function checkRegisters(machine: Machine, registers: Registers): void {
  const { state } = machine;
  const before = registers.map(({ at, bytes }) => ({ at, bytes: state.u8.slice(at, at + bytes.length) }));
  putRegisters(machine, registers);
  const sound = machine.core.exports.restoredStateIsSound() !== 0;
  putRegisters(machine, before);
  if (!sound) throw new SnapshotError('the snapshot holds registers that no machine can have', 'processors');
}

/** What {@link restoreMachine} does, in this order. */
export type RestoreStep = 'pausing' | SnapshotPart | 'resuming';

/** Puts a snapshot into a machine of the same configuration that was not started yet. `begins` hears of each step. */
export async function restoreMachine(
  machine: Machine,
  snapshot: Uint8Array | SnapshotSource,
  begins: (step: RestoreStep) => void = () => undefined,
): Promise<void> {
  if (!machine.pristine) throw new SnapshotError('only a machine that was not started can be restored');
  const source = snapshot instanceof Uint8Array ? new BytesSource(snapshot) : snapshot;
  const head = await readHead(source);
  const { state, plan } = machine;
  const { header, chunks, places, pageMap, rings, registers, devices } = check(machine, head);
  begins('pausing');

  begins('memory');
  machine.clock.stop();
  new Uint8Array(state.memory.buffer, plan.poolStart, state.u32(POOL_USED_CHUNKS) * CHUNK_SIZE).fill(0);
  machine.pager?.forget();
  state.u8.set(chunks, CHUNKS);
  state.setU32(POOL_USED_CHUNKS, places.usedChunks);
  machine.memory.forgetChunks();
  await readPages(places, pageMap, source);
  machine.pager?.takeStock((linear) => machine.platform.isDeviceRam(linear));

  begins('devices');
  for (const { part, state: saved } of devices) restoreDevice(part, saved);

  begins('processors');
  // After the devices: what lines and registers of the core they moved while they were restored, its saved state has the last word.
  putRegisters(machine, registers);
  state.u8.set(rings, UART_RINGS);
  const allCpus = 2 ** plan.vcpus - 1;
  state.setU32(ACTIVE_CPUS, header.activeCpus & allCpus);
  state.setU32(HALTED_CPUS, header.haltedCpus & allCpus);
  state.setU64(DET_NOW_NS, header.countedNs);
  for (let vcpu = 0; vcpu < plan.vcpus; vcpu++) {
    // The stop that made the snapshot possible is over; what else was due is looked at again.
    state.setU32(vcpuBlock(vcpu) + R_PENDING, ((header.pending[vcpu] ?? 0) & KEPT_PENDING) | PEND_INTR);
  }
  state.setU32(HOST_UART_EVENTS, 2 ** UART_COUNT - 1);
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
