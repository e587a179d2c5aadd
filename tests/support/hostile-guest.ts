/**
 * A guest that does to one PCI function whatever a guest can: configuration space by both mechanisms, BARs, MSI-X tables, and for virtio
 * functions rings with good, bad and senseless chains. A part of its memory is never named to the device and must stay as it is.
 */
import type { AccessSize } from '../../devices/bus/port-bus.ts';
import { VirtioDevice } from '../../devices/virtio/device.ts';
import { REG_GUEST_FEATURES, REG_QUEUE_NOTIFY, REG_QUEUE_PFN } from '../../devices/virtio/transport/legacy.ts';
import { REG_QUEUE_SELECT, REG_QUEUE_SIZE, REG_STATUS } from '../../devices/virtio/transport/legacy.ts';
import type { PciFunction } from '../../devices/pci/function.ts';
import type { FakeMachine } from './fake-bus.ts';
import { DESC_INDIRECT, DESC_NEXT, DESC_WRITE } from './fake-driver.ts';
import { FAKE_CHUNK_BYTES } from './fake-memory.ts';
import type { FakeRandom } from './fake-random.ts';

/** Where everything lies. Buffers reach across the end of a chunk and to the end of memory. */
export const RINGS = 0x100000;
const RING_BYTES = 0x4000;
/** Of more than 256 descriptors. */
const LARGE_RING_BYTES = 0x8000;
const INDIRECT = 0x1c0000;
/** Rings, tables and lists lie in so many bytes from {@link RINGS} on. */
export const STRUCTURES_BYTES = 0x100000;
const BUFFERS = FAKE_CHUNK_BYTES;
const UNTOUCHED = 2 * FAKE_CHUNK_BYTES;
const UNTOUCHED_END = 3 * FAKE_CHUNK_BYTES;
const MEMORY_END = 4 * FAKE_CHUNK_BYTES;
const UNTOUCHED_BYTE = 0x99;
const PAGE_BYTES = 4096;
/** A driver starts its device over about that often. */
const STEPS_A_LIFE = 150;

interface Ring {
  readonly gpa: number;
  readonly size: number;
  available: number;
}

export interface HostileGuestOptions {
  /** Writes something that the device understands, or nearly, into a readable buffer. */
  readonly fill?: (gpa: number, lengthBytes: number) => void;
  /** Lengths of buffers that the device's requests have. */
  readonly lengths?: readonly number[];
  /** Something happens at the device's other end. */
  readonly event?: () => void;
  /** A driver that is not virtio's. */
  readonly driver?: (memory: HostileMemory) => HostileDriver;
}

/** What a hostile driver may name to its device: nothing of it lies in the untouched part. */
export interface HostileMemory {
  /** Place and length of a buffer, good, bad or beyond memory. */
  buffer(): readonly [gpa: number, lengthBytes: number];
  /** Nothing of these 1 MiB is a buffer: queues, lists and tables lie there. */
  readonly structuresGpa: number;
}

export interface HostileDriver {
  /** Sets the device up as it should be. */
  start(): void;
  /** Does one thing that a driver of the device does, or nearly. */
  step(): void;
  /** A value in place of a random one that a register would take for an address in the untouched part. */
  registerValue(bar: number, offset: number, value: number): number;
}

export class HostileGuest {
  #rings: Ring[] = [];
  readonly #driver: HostileDriver | undefined;
  /** Where the firmware put the BARs. */
  readonly #bars: readonly { readonly index: number; readonly registerCount: number; readonly address: number }[];

  constructor(
    private readonly machine: FakeMachine,
    private readonly fn: PciFunction,
    private readonly slot: number,
    private readonly random: FakeRandom,
    private readonly options: HostileGuestOptions = {},
  ) {
    machine.memory.fill(UNTOUCHED, UNTOUCHED_END - UNTOUCHED, UNTOUCHED_BYTE);
    this.#bars = fn.bars.map(({ index, registerCount, address }) => ({ index, registerCount, address }));
    this.#driver = options.driver?.({ buffer: () => this.#buffer(), structuresGpa: RINGS });
    this.start();
  }

  /** What must hold at any time. */
  check(): void {
    const { memory, log } = this.machine;
    if (!memory.guardsIntact) throw new Error(`${this.fn.kind} wrote outside guest memory`);
    for (const view of memory.views(UNTOUCHED, UNTOUCHED_END - UNTOUCHED)) {
      if (view.some((byte) => byte !== UNTOUCHED_BYTE)) throw new Error(`${this.fn.kind} wrote where no buffer was`);
    }
    if (log.length > 100) throw new Error(`${this.fn.kind} fills the log: ${log[0]}`);
  }

  /** Decoding on, and for virtio functions a driver as it should be. */
  start(): void {
    const { machine, slot, fn } = this;
    machine.setConfig(slot, 4, 2, 0);
    for (const { index, registerCount, address } of this.#bars) {
      machine.setConfig(slot, 0x10 + 4 * index, 4, address % 2 ** 32);
      if (registerCount === 2) machine.setConfig(slot, 0x14 + 4 * index, 4, Math.floor(address / 2 ** 32));
    }
    machine.setConfig(slot, 4, 2, 7);
    this.#driver?.start();
    if (!(fn instanceof VirtioDevice)) return;
    this.#write(REG_STATUS, 1, 0);
    this.#write(REG_STATUS, 1, 3);
    this.#write(REG_GUEST_FEATURES, 4, this.random.pick([0, 0xffffffff, this.random.u32()]));
    const stride = fn.queues.some((queue) => queue.maxSize > 256) ? LARGE_RING_BYTES : RING_BYTES;
    this.#rings = fn.queues.map((_, index) => {
      this.#write(REG_QUEUE_SELECT, 2, index);
      const gpa = RINGS + index * stride;
      const size = machine.ports.read(machine.bar(slot, 0) + REG_QUEUE_SIZE, 2);
      machine.memory.writeU16(gpa + 16 * size + 2, 0);
      this.#write(REG_QUEUE_PFN, 4, gpa / PAGE_BYTES);
      return { gpa, size: fn.queues[index]?.size ?? 0, available: 0 };
    });
    this.#write(REG_STATUS, 1, 7);
  }

  #write(register: number, size: AccessSize, value: number): void {
    this.machine.ports.write(this.machine.bar(this.slot, 0) + register, size, value);
  }

  /** A number of any kind that is no address in the untouched part, so that it cannot become one by chance. */
  #value(): number {
    const value = this.random.nasty();
    return value >= UNTOUCHED - 0x10000 && value < UNTOUCHED_END ? value - UNTOUCHED : value;
  }

  #pageNumber(): number {
    const { random } = this;
    const page = random.pick([RINGS / PAGE_BYTES + 4 * random.below(this.#rings.length || 1), 0, this.#value()]);
    const gpa = page * PAGE_BYTES;
    return gpa > UNTOUCHED - 0x10000 && gpa < UNTOUCHED_END ? 0 : page;
  }

  /** One thing that a guest can do. */
  step(): void {
    const { machine, slot, random, fn } = this;
    const size = random.pick<AccessSize>([1, 2, 4]);
    const isVirtio = fn instanceof VirtioDevice;
    if (random.below(STEPS_A_LIFE) === 0) return this.start();
    if (this.#driver && random.below(2) === 0) return this.#driver.step();
    switch (random.below(isVirtio ? 14 : 6)) {
      case 0:
        return this.#configuration(size);
      case 1:
        machine.config(slot, random.below(0x108), size);
        return;
      case 2:
        this.options.event?.();
        return;
      case 3:
        return this.#barAccess(size, true);
      case 4:
      case 5:
        return this.#barAccess(size, false);
      case 6:
        return this.#write(REG_QUEUE_NOTIFY, 2, random.below(this.#rings.length + 1));
      case 7:
        return this.#senselessRing();
      case 8:
        this.#write(REG_QUEUE_SELECT, 2, random.pick([random.below(this.#rings.length + 1), random.nasty()]));
        return;
      default:
        return this.#chain();
    }
  }

  #configuration(size: AccessSize): void {
    const { machine, slot, random } = this;
    // BARs and the command register change seldom: most accesses shall find something.
    if (random.below(20) === 0) {
      machine.setConfig(slot, 4, 2, random.below(2048));
    } else if (random.below(20) === 0) {
      machine.setConfig(slot, 0x10 + 4 * random.below(6), 4, random.pick([0x2000, 0xc0000000, random.nasty()]));
    } else if (random.below(2) === 0) {
      machine.ports.write(0xcf8, 4, 0x80000000 | (slot << 11) | (0x28 + random.below(0xd8)));
      machine.ports.write(0xcfc + random.below(4), size, random.nasty());
    } else {
      machine.setConfig(slot, 0x28 + random.below(0x110), size, random.nasty());
    }
  }

  #barAccess(size: AccessSize, write: boolean): void {
    const { machine, fn, random } = this;
    const bar = fn.bars[random.below(fn.bars.length || 1)];
    if (!bar) return;
    const offset = random.below(Math.min(bar.sizeBytes, 0x1010) + 4);
    const at = bar.address + offset;
    const bus = bar.kind === 'io' ? machine.ports : machine.mmio;
    if (!write) {
      const value = bus.read(bar.kind === 'io' ? at & 0xffff : at, size);
      if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw new Error(`read ${value}`);
      return;
    }
    const isPfn = fn instanceof VirtioDevice && bar.kind === 'io' && offset === REG_QUEUE_PFN;
    const value = isPfn ? this.#pageNumber() : random.nasty();
    const allowed = this.#driver?.registerValue(bar.index, offset, value) ?? value;
    bus.write(bar.kind === 'io' ? at & 0xffff : at, size, allowed);
  }

  /** A buffer's place and length; nothing of it lies in the untouched part. */
  #buffer(): readonly [gpa: number, lengthBytes: number] {
    const { random } = this;
    const { lengths = [] } = this.options;
    const usual = random.pick([1, 8, 16, 512, random.below(600), random.below(50) === 0 ? this.#value() : 1]);
    const lengthBytes = random.below(2) === 0 ? (lengths[random.below(lengths.length || 1)] ?? usual) : usual;
    const gpa = random.pick([
      BUFFERS + 16 * random.below(0x1000),
      BUFFERS + 16 * random.below(0x1000),
      UNTOUCHED - 8 - 512,
      MEMORY_END - random.below(520),
      random.below(4) === 0 ? this.#value() * random.pick([1, 1, 2 ** 20, 2 ** 31]) : BUFFERS,
    ]);
    const touches = gpa < UNTOUCHED_END && gpa + lengthBytes > UNTOUCHED;
    return touches ? [BUFFERS, lengthBytes % 512] : [gpa, lengthBytes];
  }

  #descriptor(table: number, index: number, flags: number, next: number): void {
    const { machine, random, options } = this;
    let [gpa, lengthBytes] = this.#buffer();
    if (flags & DESC_INDIRECT) {
      gpa = random.below(20) === 0 ? 0xfffffff0 : INDIRECT + 0x400 * random.below(16);
      lengthBytes = random.pick([16, 32, 64, 16 * random.below(40), random.below(100)]);
    }
    const at = table + 16 * index;
    machine.memory.writeU64(at, BigInt(gpa));
    machine.memory.writeU32(at + 8, lengthBytes);
    machine.memory.writeU16(at + 12, flags);
    machine.memory.writeU16(at + 14, next);
    if (!(flags & (DESC_WRITE | DESC_INDIRECT)) && gpa >= BUFFERS && gpa < UNTOUCHED) {
      if (machine.memory.contains(gpa, 16)) options.fill?.(gpa, lengthBytes);
    }
  }

  /** A chain as drivers make them, mostly. */
  #chain(): void {
    const { random, machine } = this;
    const queue = random.pick([random.below(this.#rings.length), random.below(Math.min(this.#rings.length, 6))]);
    const ring = this.#rings[queue];
    if (!ring) return;
    const indirect = random.below(4) === 0;
    const table = indirect ? INDIRECT + 0x400 * random.below(16) : ring.gpa;
    const head = random.below(ring.size);
    const count = 1 + random.below(4);
    for (let i = 0; i < count; i++) {
      const last = i === count - 1;
      const writes = i > 0 && (last || random.below(2) === 0) ? DESC_WRITE : random.below(6) === 0 ? DESC_WRITE : 0;
      const index = indirect ? i : (head + i) % ring.size;
      this.#descriptor(table, index, writes | (last ? 0 : DESC_NEXT), indirect ? i + 1 : (index + 1) % ring.size);
    }
    if (indirect) {
      const at = ring.gpa + 16 * head;
      machine.memory.writeU64(at, BigInt(table));
      machine.memory.writeU32(at + 8, 16 * count);
      machine.memory.writeU16(at + 12, DESC_INDIRECT);
    }
    const avail = ring.gpa + 16 * ring.size;
    machine.memory.writeU16(avail + 4 + 2 * (ring.available % ring.size), head);
    ring.available = (ring.available + 1) & 0xffff;
    machine.memory.writeU16(avail + 2, ring.available);
    this.#write(REG_QUEUE_NOTIFY, 2, queue);
  }

  /** Flags, links and indices that no driver writes. */
  #senselessRing(): void {
    const { random, machine } = this;
    const ring = this.#rings[random.below(this.#rings.length)];
    if (!ring) return;
    const avail = ring.gpa + 16 * ring.size;
    switch (random.below(4)) {
      case 0:
        this.#descriptor(ring.gpa, random.below(ring.size), random.below(8), random.nasty() & 0xffff);
        break;
      case 1:
        this.#descriptor(INDIRECT + 0x400 * random.below(16), random.below(8), random.below(8), random.below(10));
        break;
      case 2:
        machine.memory.writeU16(avail + 4 + 2 * random.below(ring.size), random.nasty() & 0xffff);
        break;
      default:
        machine.memory.writeU16(avail + random.pick([0, 2, 4 + 2 * ring.size]), random.nasty() & 0xffff);
    }
  }
}
