import { describe, expect, test } from 'vitest';
import {
  CACHES,
  CFG_FLAGS,
  CFGF_DETERMINISTIC,
  CHUNKS,
  CHUNK_RAM,
  CHUNK_SIZE,
  DET_NOW_NS,
} from '../../core-as/layout.ts';
import { GuestAddressError } from '../../devices/bus/guest-memory.ts';
import { MachineClock } from '../../devices/machine/clock.ts';
import {
  codeCacheBytes,
  CoreState,
  createCoreMemory,
  MemoryConfigError,
  planMemory,
  writeCoreConfig,
} from '../../devices/machine/core.ts';
import { CoreGuestMemory, type ChunkSource } from '../../devices/machine/guest-memory.ts';
import { PLAIN_CORE_CONFIG } from '../support/core-config.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** WebAssembly pages of what lies below the code caches. */
const PAGES_BELOW_POOL = CACHES / 65536;

describe('memory plan', () => {
  test('RAM below 4 GiB ends at 3 GiB, the rest is above', () => {
    expect(planMemory(256 * MIB, 1)).toMatchObject({ lowBytes: 256 * MIB, highBytes: 0 });
    expect(planMemory(3 * GIB, 1)).toMatchObject({ lowBytes: 3 * GIB, highBytes: 0 });
    expect(planMemory(24 * GIB, 16)).toMatchObject({ lowBytes: 3 * GIB, highBytes: 21 * GIB, poolEndPages: 65536 });
  });

  test('the pool holds all of RAM when that fits, and begins after the code caches', () => {
    const plan = planMemory(256 * MIB, 2);
    expect(plan.poolStart % CHUNK_SIZE).toBe(0);
    expect(plan.poolStart).toBeGreaterThanOrEqual(CACHES + 2 * codeCacheBytes(2));
    expect(plan.poolEndPages * 65536 - plan.poolStart).toBe(256 * MIB);
  });

  test('a cache of code is larger where few vCPUs share the room', () => {
    expect([1, 2, 4, 16].map((vcpus) => codeCacheBytes(vcpus) / MIB)).toEqual([96, 96, 48, 36]);
  });

  test('what cannot be', () => {
    expect(() => planMemory(GIB, 17)).toThrow(MemoryConfigError);
    expect(() => planMemory(GIB, 0)).toThrow(MemoryConfigError);
    expect(() => planMemory(200 * GIB, 1)).toThrow(MemoryConfigError);
    expect(() => planMemory(0, 1)).toThrow(MemoryConfigError);
  });

  test('the chunk table marks RAM and nothing else', () => {
    const plan = planMemory(3 * GIB + 3 * MIB, 1);
    const state = new CoreState(createCoreMemory({ ...plan, poolEndPages: PAGES_BELOW_POOL }));
    writeCoreConfig(state, { ...PLAIN_CORE_CONFIG, plan });
    const ram = (gpa: number): boolean => state.u32(CHUNKS + Math.floor(gpa / CHUNK_SIZE) * 4) === CHUNK_RAM;
    expect(ram(0)).toBe(true);
    expect(ram(3 * GIB - 1)).toBe(true);
    expect(ram(3 * GIB)).toBe(false);
    expect(ram(4 * GIB - 1)).toBe(false);
    expect(ram(4 * GIB + 3 * MIB - 1)).toBe(true);
    expect(ram(4 * GIB + 4 * MIB)).toBe(false);
  });
});

/** Chunks in the reverse of their order, so that neighbours in guest memory never are neighbours here. */
function guestMemory(lowChunks: number, highBytes = 0): { memory: CoreGuestMemory; noted: [number, number][] } {
  const wasm = new WebAssembly.Memory({ initial: 1024, maximum: 1024, shared: true });
  const linear = new Map<number, number>();
  const noted: [number, number][] = [];
  const source: ChunkSource = {
    commitChunk: (index) => {
      const known = linear.get(index);
      if (known !== undefined) return known;
      const address = wasm.buffer.byteLength - (linear.size + 1) * CHUNK_SIZE;
      linear.set(index, address);
      return address;
    },
    noteWrite: (address, lengthBytes) => noted.push([address, lengthBytes]),
  };
  return { memory: new CoreGuestMemory(wasm, lowChunks * CHUNK_SIZE, highBytes, source), noted };
}

describe('guest memory', () => {
  test('values and blocks across chunk boundaries', () => {
    const { memory, noted } = guestMemory(3);
    memory.writeU64(CHUNK_SIZE - 3, 0x0102030405060708n);
    expect(memory.readU64(CHUNK_SIZE - 3)).toBe(0x0102030405060708n);
    expect(memory.readU8(CHUNK_SIZE)).toBe(0x05);
    expect(noted.map(([, length]) => length)).toEqual([3, 5]);
    const bytes = Uint8Array.from({ length: CHUNK_SIZE + 100 }, (_, i) => i * 7);
    memory.write(CHUNK_SIZE - 50, bytes);
    const back = new Uint8Array(bytes.length);
    memory.read(CHUNK_SIZE - 50, back);
    expect(Buffer.compare(back, bytes)).toBe(0);
    expect(memory.views(CHUNK_SIZE - 50, bytes.length).map((view) => view.length)).toEqual([50, CHUNK_SIZE, 50]);
    memory.fill(CHUNK_SIZE - 1, 2, 0xee);
    expect(memory.readU16(CHUNK_SIZE - 1)).toBe(0xeeee);
  });

  test('short reads and writes over a chunk boundary, inside one, and of nothing at all', () => {
    const { memory, noted } = guestMemory(2);
    const bytes = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
    for (const gpa of [0, CHUNK_SIZE - 64, CHUNK_SIZE - 32, CHUNK_SIZE]) {
      const back = new Uint8Array(64);
      memory.write(gpa, bytes);
      memory.read(gpa, back);
      expect(back).toEqual(bytes);
    }
    expect(noted.map(([, length]) => length)).toEqual([64, 64, 32, 32, 64]);
    // An empty range is RAM wherever it is.
    memory.read(2 ** 45, new Uint8Array(0));
    memory.write(2 ** 45, new Uint8Array(0));
    expect(noted).toHaveLength(5);
  });

  test('DMA is told to the core by chunk', () => {
    const { memory, noted } = guestMemory(2);
    memory.written(CHUNK_SIZE - 16, 32);
    expect(noted.map(([, length]) => length)).toEqual([16, 16]);
  });

  test.each([
    [2 * CHUNK_SIZE, 1],
    [2 * CHUNK_SIZE - 3, 4],
    [-1, 1],
    [-8, 16],
    [0.5, 1],
    [Number.NaN, 1],
    [2 ** 53, 1],
    [4 * GIB + 4096, 1],
    [4 * GIB - 1, 2],
    [0, -1],
    [0, 2 ** 40],
    [2 ** 52, 2 ** 52],
  ])('nothing at %d+%d', (gpa, length) => {
    const { memory } = guestMemory(2, 4096);
    expect(memory.contains(gpa, length)).toBe(false);
    expect(() => memory.views(gpa, length)).toThrow(GuestAddressError);
  });

  test('a bad write changes nothing', () => {
    const { memory } = guestMemory(1);
    expect(() => memory.write(CHUNK_SIZE - 4, new Uint8Array(8).fill(1))).toThrow(GuestAddressError);
    expect(memory.readU32(CHUNK_SIZE - 4)).toBe(0);
    expect(() => memory.writeU64(CHUNK_SIZE - 4, 1n)).toThrow(GuestAddressError);
    expect(() => memory.readU16(CHUNK_SIZE - 1)).toThrow(GuestAddressError);
  });
});

describe('clock', () => {
  const make = (): { clock: MachineClock; state: CoreState; host: { ns: number } } => {
    const state = new CoreState(
      new WebAssembly.Memory({ initial: PAGES_BELOW_POOL, maximum: PAGES_BELOW_POOL, shared: true }),
    );
    const host = { ns: 0 };
    return { state, host, clock: new MachineClock(state, () => host.ns) };
  };

  test('timers run in order, once, and not before their time', () => {
    const { clock, host } = make();
    const ran: string[] = [];
    clock.at(300, () => ran.push('c'));
    clock.at(100, () => ran.push('a'));
    const cancel = clock.at(200, () => ran.push('cancelled'));
    clock.at(200, () => ran.push('b'));
    cancel();
    host.ns = 99;
    clock.runDue();
    expect(ran).toEqual([]);
    host.ns = 250;
    clock.runDue();
    expect(ran).toEqual(['a', 'b']);
    host.ns = 1000;
    clock.runDue();
    clock.runDue();
    expect(ran).toEqual(['a', 'b', 'c']);
    clock.close();
  });

  test('a timer that sets itself again does not hold the loop', () => {
    const { clock } = make();
    let count = 0;
    const again = (): void => {
      count++;
      clock.at(0, again);
    };
    again();
    clock.runDue();
    expect(count).toBe(2);
    clock.close();
  });

  test('a pause is not seen by the guest', () => {
    const { clock, host } = make();
    let ran = 0;
    clock.at(2000, () => ran++);
    host.ns = 1000;
    clock.stop();
    host.ns = 50_000;
    expect(clock.nowNs()).toBe(1000);
    clock.runDue();
    expect(ran).toBe(0);
    clock.resume();
    expect(clock.nowNs()).toBe(1000);
    host.ns = 51_000;
    clock.runDue();
    expect(ran).toBe(1);
    clock.close();
  });

  test('host timers fire by themselves', async () => {
    const state = new CoreState(
      new WebAssembly.Memory({ initial: PAGES_BELOW_POOL, maximum: PAGES_BELOW_POOL, shared: true }),
    );
    const clock = new MachineClock(state, () => performance.now() * 1e6);
    const from = clock.nowNs();
    const at = await new Promise<number>((resolve) => clock.at(from + 20e6, () => resolve(clock.nowNs())));
    expect(at - from).toBeGreaterThanOrEqual(20e6);
    expect(at - from).toBeLessThan(2e9);
  });

  test('counted time', () => {
    const { clock, state, host } = make();
    state.setU32(CFG_FLAGS, CFGF_DETERMINISTIC);
    host.ns = 999;
    expect(clock.nowNs()).toBe(0);
    state.setU64(DET_NOW_NS, 500n);
    let ran = 0;
    clock.at(500, () => ran++);
    expect(clock.nextDeadlineNs).toBe(500);
    clock.runDue();
    expect(ran).toBe(1);
    expect(clock.nextDeadlineNs).toBe(Infinity);
  });
});
