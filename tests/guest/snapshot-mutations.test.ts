/**
 * Snapshots with one thing changed, as a stranger could send them: each is refused, by a SnapshotError and before the machine has run, or it
 * is restored and does no harm: the emulator neither fails nor touches what is not the guest's. SNAPSHOT_MUTATIONS is how many.
 */
import { afterEach, expect, test } from 'vitest';
import {
  CFG_FLAGS,
  CFG_NCPUS,
  CFG_POOL_END_PAGES,
  CFG_POOL_START,
  CFG_ROM_BYTES,
  POOL_USED_CHUNKS,
  STATIC_DATA_END,
} from '../../core-as/layout.ts';
import { checkChunkTable, chunkTable } from '../../devices/machine/snapshot-memory.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import { SnapshotError } from '../../devices/snapshot.ts';
import type { Machine } from '../../host-node/index.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { destroyTestMachines, payloadMachine, type TestMachine } from '../support/machine.ts';
import { putTogether, takeApart, type SnapshotParts } from '../support/snapshot-edit.ts';

const MUTATIONS = Number(process.env['SNAPSHOT_MUTATIONS'] ?? 100);
const DEVICES = ['-s', '3,virtio-rnd', '-s', '4,virtio-blk,/disk', '-s', '5,uart', '-m', '8M', '-c', '2'];
const CONFIGURATION = [CFG_FLAGS, CFG_NCPUS, CFG_POOL_START, CFG_POOL_END_PAGES, CFG_ROM_BYTES];
const STATIC_DATA_START = 1024;
/** What the processors do before the machine is looked at: the guest's loop once and a half. */
const TURNS = 6;
const INSNS_A_TURN = 1000;

const le32 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];

/** mov dx, port; mov al, value; out dx, al */
const outb = (port: number, value: number): number[] => [0x66, 0xba, port & 0xff, port >> 8, 0xb0, value, 0xee];
/** mov eax, [address] */
const load = (address: number): number[] => [0xa1, ...le32(address)];

/** Touches every register of the core's devices, for ever: reads all ports below 0x500, and writes where that changes something. */
const GUEST = ((): number[] => {
  const body = [
    // mov ecx, 0x4d2; back: mov edx, ecx; in al, dx; loop back
    ...[0xb9, ...le32(0x4d2), 0x89, 0xca, 0xec, 0xe2, 0xfb],
    // The CMOS index as the snapshot has it comes first.
    ...outb(0x71, 0x5a),
    ...outb(0x70, 0x40),
    ...outb(0x71, 0x11),
    ...outb(0x43, 0xc2),
    ...outb(0x40, 0x10),
    ...outb(0x40, 0x20),
    ...outb(0x42, 0x30),
    ...outb(0x61, 0x01),
    ...outb(0x61, 0x00),
    ...outb(0x20, 0x20),
    ...outb(0xa0, 0x0c),
    ...outb(0x3f9, 0x0f),
    ...outb(0x3fa, 0x07),
    ...outb(0x3f8, 0x41),
    ...load(0xfec00010),
    ...load(0xfed000f0),
    ...load(0xfed00108),
    ...load(0xfee00020),
    ...load(0xfee00390),
    // fninit would hide what was restored: fld1; fstp st(0)
    ...[0xd9, 0xe8, 0xdd, 0xd8],
  ];
  const back = -(body.length + 5);
  return [...body, 0xe9, ...le32(back)];
})();

afterEach(destroyTestMachines);

function guest(): Promise<TestMachine> {
  return payloadMachine(GUEST, {
    args: DEVICES,
    deterministic: { seed: 1, insnsPerSecond: 1_000_000 },
    backends: { block: () => Promise.resolve(new MemoryBackend(new Uint8Array(65536))) },
  });
}

/** Starts the machine, whose processors then take turns of a few instructions; it is paused afterwards, or has ended. */
async function turns(machine: Machine): Promise<void> {
  machine.start();
  await machine.pause();
  // A changed processor may have shut the machine down already.
  if (machine.status !== 'paused') return;
  let left = TURNS;
  const slices = machine.runSlices((core) => {
    if (--left <= 0) slices.stop();
    return core.exports.run(INSNS_A_TURN);
  });
  await slices.ended;
}

/** One change: of a byte of the document, or of a byte or word of one of the pieces. Says which. */
function mutate(parts: SnapshotParts, random: FakeRandom): readonly [what: string, snapshot: Uint8Array] {
  if (random.below(2) === 0) {
    const text = JSON.stringify(parts.document);
    const at = random.below(text.length);
    const byte = random.below(2) === 0 ? String(random.below(10)) : String.fromCharCode(random.below(127));
    const context = text.slice(Math.max(0, at - 40), at);
    return [
      `document at ${at} (...${context}): ${JSON.stringify(byte)}`,
      putTogether(parts, text.slice(0, at) + byte + text.slice(at + 1)),
    ];
  }
  const index = random.below(parts.pieces.length);
  const pieces = [...parts.pieces];
  const piece = Uint8Array.from(pieces[index] ?? []);
  pieces[index] = piece;
  if (piece.length < 4) return ['nothing', putTogether(parts)];
  // The beginning holds more than the rest of long pieces.
  const at = random.below(random.below(2) === 0 ? piece.length : Math.min(piece.length, 4096));
  const value = random.nasty();
  if (random.below(2) === 0) piece[at] = value & 0xff;
  else new DataView(piece.buffer).setUint32(Math.min(at & ~3, piece.length - 4), value, true);
  return [
    `piece ${index} of ${piece.length} bytes at 0x${at.toString(16)}: 0x${value.toString(16)}`,
    putTogether({ ...parts, pieces }),
  ];
}

/** What nothing in a snapshot may change. */
function fixedState({ state }: Machine): Buffer {
  const configuration = Uint32Array.from(CONFIGURATION, (at) => state.u32(at));
  return Buffer.concat([new Uint8Array(configuration.buffer), state.u8.slice(STATIC_DATA_START, STATIC_DATA_END)]);
}

test(`${MUTATIONS} changed snapshots are refused or harmless`, { timeout: 30_000 + MUTATIONS * 500 }, async () => {
  let parts: SnapshotParts;
  {
    await using first = await guest();
    await turns(first.machine);
    parts = takeApart(await first.machine.snapshot());
  }
  const random = new FakeRandom(20_261_128);
  let [refused, restored] = [0, 0];
  let fresh: TestMachine | undefined;
  for (let i = 0; i < MUTATIONS; i++) {
    const [what, snapshot] = mutate(parts, random);
    fresh ??= await guest();
    const { machine } = fresh;
    const before = fixedState(machine);
    try {
      await machine.restore(snapshot);
    } catch (error) {
      if (!(error instanceof SnapshotError)) throw new Error(`mutation ${i}, ${what}`, { cause: error });
      refused++;
      // A device state that does not fit is found when others have been restored: such a machine does not run either.
      if (error.part === 'devices') {
        await fresh[Symbol.asyncDispose]();
        fresh = undefined;
      }
      continue;
    }
    restored++;
    await turns(machine);
    const { state } = machine;
    expect(fixedState(machine).equals(before), `mutation ${i}, ${what}`).toBe(true);
    checkChunkTable(machine, chunkTable(machine), state.u32(POOL_USED_CHUNKS), machine.pager?.outside ?? []);
    await fresh[Symbol.asyncDispose]();
    const { message } = await machine.exited;
    expect({ errors: machine.deviceErrors, message }, `mutation ${i}, ${what}`).toMatchObject({
      errors: 0,
      message: expect.not.stringMatching(/RuntimeError|RangeError|TypeError/) as string,
    });
    fresh = undefined;
  }
  await fresh?.[Symbol.asyncDispose]();
  expect(refused).toBeGreaterThan(MUTATIONS / 20);
  expect(restored).toBeGreaterThan(MUTATIONS / 20);
});
