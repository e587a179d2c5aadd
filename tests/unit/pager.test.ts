import { beforeEach, describe, expect, test } from 'vitest';
import {
  CACHES,
  CHUNK_CLEAN,
  CHUNK_IDLE,
  CHUNK_OUT,
  CHUNK_RAM,
  CHUNK_SIZE,
  CHUNKS,
  CODE_RING_SEQ,
  MEMORY_LOW,
  PAGE_CODE,
  PAGE_FLAGS,
  PEND_MEMORY,
  R_PENDING,
  R_RING_SEEN,
} from '../../core-as/layout.ts';
import { GuestAddressError } from '../../devices/bus/guest-memory.ts';
import { CoreState, createCoreMemory, planMemory, vcpuBlock, writeCoreConfig } from '../../devices/machine/core.ts';
import { PagedGuestMemory } from '../../devices/machine/paged-memory.ts';
import { NOT_YET, Pager } from '../../devices/machine/pager.ts';
import { PLAIN_CORE_CONFIG } from '../support/core-config.ts';

const VCPUS = 2;
const GUEST_CHUNKS = 96;
const POOL_CHUNKS = 24;
const plan = planMemory(GUEST_CHUNKS * CHUNK_SIZE, VCPUS, 0, 0, POOL_CHUNKS * CHUNK_SIZE);
/** A quarter of the pool. */
const RESERVE = POOL_CHUNKS / 4;

class FakeSwap {
  readonly pages = new Map<number, Uint8Array>();
  writes = 0;
  full = false;

  read(into: Uint8Array, offset: number): void {
    const page = this.pages.get(Math.floor(offset / CHUNK_SIZE));
    const start = offset % CHUNK_SIZE;
    if (page) into.set(page.subarray(start, start + into.length));
    else into.fill(0);
  }

  write(from: Uint8Array, offset: number): void {
    if (this.full) throw new Error('no space left');
    this.writes++;
    const slot = Math.floor(offset / CHUNK_SIZE);
    const page = this.pages.get(slot) ?? new Uint8Array(CHUNK_SIZE);
    page.set(from, offset % CHUNK_SIZE);
    this.pages.set(slot, page);
  }

  close(): void {}
}

let state: CoreState;
let swap: FakeSwap;
let pager: Pager;
let memory: PagedGuestMemory;
let failures: string[];
let noted: [number, number][];
let nowNs: number;
const shared = createCoreMemory(plan);

const entry = (index: number): number => state.u32(CHUNKS + 4 * index);
const announce = (): void => state.setU32(CODE_RING_SEQ, state.u32(CODE_RING_SEQ) + 1);
/** A vCPU reaches a block boundary. */
const boundary = (...vcpus: number[]): void => {
  for (const vcpu of vcpus) state.setU32(vcpuBlock(vcpu) + R_RING_SEEN, state.u32(CODE_RING_SEQ));
};
/** A vCPU looks a chunk up, as the core does, and writes to it or not. */
function touch(vcpu: number, index: number, write = false): number {
  if (pager.resident(index) !== 0) pager.touch(index);
  const linear = pager.resident(index) || pager.chunk(index, vcpu);
  if (linear > 0 && write) pager.dirty(index);
  return linear;
}
const fill = (linear: number, value: number): void => {
  new Uint8Array(shared.buffer, linear, 64).fill(value);
  new Uint8Array(shared.buffer, linear + CHUNK_SIZE - 64, 64).fill(value);
};
/** Both vCPUs write to so many chunks, one after the other, and get on after each. */
function walk(count: number): void {
  for (let index = 0; index < count; index++) {
    const linear = touch(index % 2, index, true);
    expect(linear, `chunk ${index}`).toBeGreaterThan(0);
    fill(linear, index + 1);
    boundary(0, 1);
    pager.balance();
  }
}

beforeEach(() => {
  new Uint8Array(shared.buffer, 0, CACHES).fill(0);
  new Uint8Array(shared.buffer, plan.poolStart).fill(0);
  state = new CoreState(shared);
  writeCoreConfig(state, { ...PLAIN_CORE_CONFIG, plan });
  swap = new FakeSwap();
  failures = [];
  noted = [];
  nowNs = 0;
  pager = new Pager({
    state,
    plan,
    swap,
    exports: {
      flushAllVcpus: announce,
      dropChunkCode: (linear) => {
        const flags = state.u8.subarray(PAGE_FLAGS + linear / 4096, PAGE_FLAGS + (linear + CHUNK_SIZE) / 4096);
        if (!flags.includes(PAGE_CODE)) return 0;
        flags.fill(0);
        announce();
        return 1;
      },
    },
    isOutside: () => false,
    nowNs: () => nowNs,
    failed: (message) => failures.push(message),
  });
  memory = new PagedGuestMemory(
    shared,
    plan.lowBytes,
    plan.highBytes,
    {
      commitChunk: (index) => Math.max(pager.chunk(index, -1), 0),
      noteWrite: (linear, length) => noted.push([linear, length]),
    },
    pager,
  );
});

describe('chunks of guest memory', () => {
  test('go out and come back as they were', () => {
    walk(GUEST_CHUNKS);
    expect(pager.outside.length).toBeGreaterThanOrEqual(GUEST_CHUNKS - POOL_CHUNKS);
    for (let index = 0; index < GUEST_CHUNKS; index++) {
      const linear = touch(0, index);
      const bytes = new Uint8Array(shared.buffer, linear, CHUNK_SIZE);
      expect([bytes[0], bytes[CHUNK_SIZE - 1]]).toEqual([index + 1, index + 1]);
      boundary(0, 1);
    }
    // What was only read is not written again.
    expect(swap.writes).toBeLessThan(GUEST_CHUNKS + POOL_CHUNKS);
  });

  test('stay as long as a vCPU may hold their address', () => {
    walk(2 * RESERVE);
    const before = pager.counters.evictions;
    const held = new Map<number, number>();
    for (let index = 2 * RESERVE; index < POOL_CHUNKS; index++) held.set(index, touch(0, index));
    // vCPU 1 never reaches a boundary: what was marked since cannot go, and neither can what it is given.
    boundary(0);
    let given = 0;
    for (let index = POOL_CHUNKS; touch(1, index) > 0; index++) given++;
    expect(given).toBeLessThanOrEqual(2 * RESERVE);
    expect(pager.counters.evictions - before).toBe(given);
    for (const [index, linear] of held) if (pager.resident(index)) expect(pager.resident(index)).toBe(linear);
    expect(touch(1, POOL_CHUNKS + given)).toBe(NOT_YET);
    boundary(0, 1);
    expect(touch(1, POOL_CHUNKS + given)).toBeGreaterThan(0);
  });

  test('that are touched again are not taken', () => {
    walk(POOL_CHUNKS - RESERVE);
    const idle = (): number[] => Array.from({ length: GUEST_CHUNKS }, (_, i) => i).filter((i) => entry(i) & CHUNK_IDLE);
    boundary(0, 1);
    const used = idle()[0] ?? -1;
    const linear = pager.resident(used);
    expect(touch(0, used)).toBe(linear);
    expect(entry(used) & CHUNK_IDLE).toBe(0);
    for (let index = POOL_CHUNKS; index < POOL_CHUNKS + RESERVE; index++) {
      touch(1, index);
      boundary(0, 1);
    }
    expect(pager.resident(used)).toBe(linear);
  });

  test('low memory stops vCPUs at their boundaries until there is more', () => {
    walk(POOL_CHUNKS - RESERVE);
    for (let index = POOL_CHUNKS; state.u32(MEMORY_LOW) === 0; index++) expect(touch(0, index)).toBeGreaterThan(0);
    expect(state.u32(vcpuBlock(0) + R_PENDING) & PEND_MEMORY).toBe(PEND_MEMORY);
    expect(state.u32(vcpuBlock(1) + R_PENDING) & PEND_MEMORY).toBe(0);
    boundary(0, 1);
    for (let turns = 0; state.u32(MEMORY_LOW) !== 0 && turns < 5; turns++) {
      pager.balance();
      boundary(0, 1);
    }
    expect(state.u32(MEMORY_LOW)).toBe(0);
  });

  test('that are touched one after the other, unheard, leave enough for an instruction that is under way', () => {
    walk(2 * POOL_CHUNKS);
    for (let index = 0; index < GUEST_CHUNKS; index++) if (pager.resident(index) !== 0) pager.touch(index);
    // No vCPU reaches a boundary any more.
    let given = 0;
    for (let index = 0; given < RESERVE / 2; index++) {
      if (pager.resident(index) !== 0) continue;
      expect(touch(0, index)).toBeGreaterThan(0);
      given++;
    }
    expect(state.u32(MEMORY_LOW)).toBe(1);
  });

  test('with code are used again only when every vCPU has dropped it', () => {
    walk(POOL_CHUNKS);
    for (let index = 0; index < GUEST_CHUNKS; index++) {
      const flags = PAGE_FLAGS + pager.resident(index) / 4096;
      if (pager.resident(index) !== 0) state.u8.fill(PAGE_CODE, flags, flags + CHUNK_SIZE / 4096);
    }
    boundary(0, 1);
    const seen = new Set<number>();
    for (let index = POOL_CHUNKS; index < 3 * POOL_CHUNKS; index++) {
      let linear = touch(0, index);
      for (let turns = 0; linear === NOT_YET && turns < 5; turns++) {
        boundary(0, 1);
        linear = touch(0, index);
      }
      expect(linear).toBeGreaterThan(0);
      seen.add(linear);
      const code = state.u8.subarray(PAGE_FLAGS + linear / 4096, PAGE_FLAGS + (linear + CHUNK_SIZE) / 4096);
      expect(code.includes(PAGE_CODE)).toBe(false);
      boundary(0, 1);
    }
    expect(seen.size).toBeGreaterThan(2);
  });

  test('of zeros need no room in the file', () => {
    for (let index = 0; index < GUEST_CHUNKS; index++) {
      expect(touch(0, index, true)).toBeGreaterThan(0);
      boundary(0, 1);
      pager.balance();
    }
    expect(swap.writes).toBe(0);
    expect(pager.swappedBytes).toBe(0);
  });

  test('without end: a vCPU that holds all of them is told so', () => {
    let linear = 1;
    for (let index = 0; linear > 0; index++) linear = touch(0, index);
    expect(linear).toBe(NOT_YET);
    nowNs = 60e9;
    expect(touch(0, GUEST_CHUNKS - 1)).toBe(0);
  });

  test('a full file ends the machine, and nothing is lost', () => {
    walk(POOL_CHUNKS - RESERVE);
    swap.full = true;
    for (let index = POOL_CHUNKS; failures.length === 0 && index < GUEST_CHUNKS; index++) {
      touch(0, index);
      boundary(0, 1);
    }
    expect(failures).toEqual(['swap file: write error: no space left']);
    for (let index = 0; index < POOL_CHUNKS - RESERVE; index++) {
      const linear = pager.resident(index);
      if (linear) expect(new Uint8Array(shared.buffer, linear, 1)[0]).toBe(index + 1);
    }
  });
});

describe('devices', () => {
  test('read and write what is out without bringing it in when vCPUs need the room', () => {
    walk(GUEST_CHUNKS);
    // No vCPU gets on: the reserve is all there is.
    for (let index = 0; state.u32(MEMORY_LOW) === 0; index++) touch(0, index);
    const out = pager.outside.at(-1) ?? -1;
    const at = out * CHUNK_SIZE;
    const [view] = memory.views(at + 8, 4);
    expect([...(view ?? [])]).toEqual([out + 1, out + 1, out + 1, out + 1]);
    view?.set([1, 2, 3, 4]);
    memory.written(at + 8, 4);
    memory.write(at + 20, Uint8Array.of(9));
    expect(pager.resident(out)).toBe(0);
    boundary(0, 1);
    pager.balance();
    boundary(0, 1);
    pager.balance();
    const linear = touch(1, out);
    const bytes = new Uint8Array(shared.buffer, linear, 24);
    expect([...bytes.subarray(6, 14)]).toEqual([out + 1, out + 1, 1, 2, 3, 4, out + 1, out + 1]);
    expect(bytes[20]).toBe(9);
    expect(entry(out) & CHUNK_CLEAN).toBe(CHUNK_CLEAN);
  });

  test('a request holds its chunks; without one they are free at the next turn', () => {
    walk(4);
    memory.views(0, 1);
    const release = memory.hold();
    memory.views(CHUNK_SIZE, 1);
    memory.turnBegins();
    const linear = pager.resident(0);
    for (let index = 4; index < GUEST_CHUNKS; index++) {
      touch(0, index, true);
      boundary(0, 1);
      pager.balance();
    }
    expect(pager.resident(0)).toBe(linear);
    expect(pager.resident(1)).toBe(0);
    expect(entry(1) & (CHUNK_RAM | CHUNK_OUT)).toBe(CHUNK_RAM | CHUNK_OUT);
    release();
    release();
    for (let index = 4; index < GUEST_CHUNKS; index++) {
      touch(0, index, true);
      boundary(0, 1);
      pager.balance();
    }
    expect(pager.resident(0)).toBe(0);
  });

  test('pin a part of the pool at most: the rest of a request is copied', () => {
    walk(POOL_CHUNKS);
    const scattered = Array.from({ length: GUEST_CHUNKS }, (_, index) => memory.views(index * CHUNK_SIZE, 2).at(0));
    const release = memory.hold();
    for (const [index, view] of scattered.entries()) view?.set([0xa0, index]);
    for (let index = 0; index < GUEST_CHUNKS; index++) memory.written(index * CHUNK_SIZE, 2);
    release();
    const copied = scattered.filter((view) => view?.buffer !== shared.buffer).length;
    expect(copied).toBeGreaterThan(GUEST_CHUNKS - POOL_CHUNKS / 2);
    for (let index = 0; index < GUEST_CHUNKS; index++)
      expect(memory.readU16(index * CHUNK_SIZE)).toBe(0xa0 | (index << 8));
    // Bytes that others write in a copied range after the request are not touched again.
    memory.writeU16(95 * CHUNK_SIZE, 7);
    memory.written(95 * CHUNK_SIZE, 2);
    expect(memory.readU16(95 * CHUNK_SIZE)).toBe(7);
  });

  test('rings are the memory that vCPUs see, and stay until they are given up', () => {
    walk(GUEST_CHUNKS);
    const { views, release } = memory.keep(5 * CHUNK_SIZE - 8, 16);
    expect(views.map(({ length }) => length)).toEqual([8, 8]);
    const places = [pager.resident(4), pager.resident(5)];
    walk(GUEST_CHUNKS);
    expect([pager.resident(4), pager.resident(5)]).toEqual(places);
    expect(views[1]?.[0]).toBe(6);
    release();
    expect(() => memory.keep(plan.lowBytes - 8, 16)).toThrow(GuestAddressError);
  });

  test('what a device writes is told to the core', () => {
    walk(4);
    noted = [];
    memory.write(CHUNK_SIZE - 2, Uint8Array.of(1, 2, 3, 4));
    expect(noted).toEqual([
      [pager.resident(0) + CHUNK_SIZE - 2, 2],
      [pager.resident(1), 2],
    ]);
    expect(memory.readU32(CHUNK_SIZE - 2)).toBe(0x04030201);
    memory.fill(CHUNK_SIZE - 1, 2, 0xee);
    expect(memory.readU32(CHUNK_SIZE - 2)).toBe(0x04eeee01);
  });
});
