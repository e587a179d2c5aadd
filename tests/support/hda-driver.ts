/** The software side of an HDA controller: command rings, stream descriptors, buffer lists. */
import * as R from '../../devices/audio/hda/registers.ts';
import type { AccessSize } from '../../devices/bus/port-bus.ts';
import type { FakeMachine } from './fake-bus.ts';
import type { FakeRandom } from './fake-random.ts';
import type { HostileDriver, HostileMemory } from './hostile-guest.ts';

export const GCTL = 0x08;
export const STATESTS = 0x0e;
export const INTCTL = 0x20;
export const INTSTS = 0x24;
export const CORBWP = 0x48;
export const RIRBWP = 0x58;
export const RIRBSTS = 0x5d;
export const DPLBASE = 0x70;
/** 48 kHz, 16 bits, two channels. */
export const FORMAT_48_STEREO = 0x0011;

export class HdaDriver {
  readonly corb: number;
  readonly rirb: number;
  readonly lists: number;
  readonly positions: number;
  #rirbRead = 0;

  constructor(
    readonly machine: FakeMachine,
    private readonly slot: number,
    readonly base = 0x100000,
  ) {
    this.corb = base;
    this.rirb = base + 0x1000;
    this.positions = base + 0x2000;
    this.lists = base + 0x3000;
  }

  read(offset: number, size: AccessSize): number {
    return this.machine.mmio.read(this.machine.bar(this.slot, 0) + offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.machine.mmio.write(this.machine.bar(this.slot, 0) + offset, size, value);
  }

  /** Resets the controller and starts its rings. */
  start(): void {
    this.write(GCTL, 4, 0);
    this.write(GCTL, 4, R.GCTL_RUNNING);
    this.write(0x40, 4, this.corb);
    this.write(0x50, 4, this.rirb);
    this.write(0x4a, 2, R.CORBRP_RESET);
    this.write(0x4a, 2, 0);
    this.write(CORBWP, 2, 0);
    this.write(RIRBWP, 2, R.RIRBWP_RESET);
    this.write(0x5a, 2, 1);
    this.write(0x4c, 1, R.CORBCTL_RUN);
    this.write(0x5c, 1, R.RIRBCTL_RUN | R.RIRBCTL_INTERRUPT);
    this.write(INTCTL, 4, 0xc00000ff);
    this.#rirbRead = 0;
  }

  /** Sends a command through the rings; undefined: no response came. */
  command(node: number, verb: number, payload: number): number | undefined {
    const { memory } = this.machine;
    const next = (this.read(CORBWP, 2) + 1) & 0xff;
    const word = verb < 0x10 ? (verb << 16) | payload : (verb << 8) | payload;
    memory.writeU32(this.corb + 4 * next, ((node << 20) | word) >>> 0);
    this.write(CORBWP, 2, next);
    if (this.read(RIRBWP, 2) === this.#rirbRead) return undefined;
    this.#rirbRead = (this.#rirbRead + 1) & 0xff;
    this.write(RIRBSTS, 1, 5);
    return memory.readU32(this.rirb + 8 * this.#rirbRead);
  }

  stream(index: number): number {
    return R.STREAM_BASE + index * R.STREAM_STRIDE;
  }

  /** Sets a stream up with buffers of [address, length, interrupt], and lets it run. */
  run(index: number, tag: number, format: number, buffers: readonly (readonly [number, number, boolean])[]): void {
    const { memory } = this.machine;
    const list = this.lists + index * 0x1000;
    for (const [entry, [gpa, lengthBytes, interrupt]] of buffers.entries()) {
      memory.writeU64(list + 16 * entry, BigInt(gpa));
      memory.writeU32(list + 16 * entry + 8, lengthBytes);
      memory.writeU32(list + 16 * entry + 12, interrupt ? 1 : 0);
    }
    const at = this.stream(index);
    this.write(at, 1, R.SDCTL_RESET);
    this.write(at, 1, 0);
    this.write(at + 8, 4, buffers.reduce((sum, [, lengthBytes]) => sum + lengthBytes, 0) >>> 0);
    this.write(at + 0xc, 2, buffers.length - 1);
    this.write(at + 0x12, 2, format);
    this.write(at + 0x18, 4, list);
    this.write(at + 0x1c, 4, 0);
    this.write(at + 2, 1, tag << 4);
    this.write(at, 1, R.SDCTL_RUN | R.SDCTL_COMPLETION_INTERRUPT | R.SDCTL_ERROR_INTERRUPT);
  }
}

/** Commands, streams and lists, some of them as they should be. */
export class HostileHdaDriver implements HostileDriver {
  readonly #driver: HdaDriver;

  constructor(
    machine: FakeMachine,
    slot: number,
    private readonly random: FakeRandom,
    private readonly places: HostileMemory,
  ) {
    this.#driver = new HdaDriver(machine, slot, places.structuresGpa);
  }

  start(): void {
    const driver = this.#driver;
    driver.start();
    driver.write(DPLBASE, 4, driver.positions | 1);
    driver.command(2, 0x706, 0x10);
    driver.command(4, 0x706, 0x20);
  }

  step(): void {
    const { random, places } = this;
    const driver = this.#driver;
    const index = random.below(R.STREAMS);
    switch (random.below(8)) {
      case 0:
      case 1: {
        const { memory } = driver.machine;
        for (let i = 0; i < 4; i++) {
          const word = random.pick([
            random.u32(),
            (random.below(7) << 20) | (random.pick([0xf00, 0x706, 0x705, 0xf02, 0x7ff]) << 8) | random.below(32),
          ]);
          memory.writeU32(driver.corb + 4 * random.below(256), word >>> 0);
        }
        driver.write(CORBWP, 2, random.pick([random.below(256), random.nasty()]));
        driver.write(RIRBSTS, 1, 5);
        break;
      }
      case 2: {
        const buffers = Array.from({ length: 1 + random.below(6) }, () => {
          const [gpa, lengthBytes] = places.buffer();
          // A stream that records would go on into memory that no buffer is in.
          const long = index >= R.INPUT_STREAMS ? random.nasty() : lengthBytes;
          const length = random.pick([0, Math.min(128, lengthBytes), lengthBytes, long]);
          return [gpa, length, random.below(2) === 0] as const;
        });
        driver.run(
          index,
          random.pick([1, 2, random.below(16)]),
          random.pick([FORMAT_48_STEREO, 0x4011, random.nasty() & 0xffff]),
          buffers,
        );
        break;
      }
      case 3:
        driver.write(driver.stream(index) + 3, 1, 0xff);
        break;
      case 4:
        driver.write(driver.stream(index), 1, random.pick([0, 1, 2, 0x1e, random.below(256)]));
        break;
      case 5:
        driver.write(0x60, 4, random.u32());
        driver.write(0x68, 2, random.pick([1, 2, 3]));
        break;
      case 6:
        // LVI beyond the list: entries of whatever lies there.
        driver.write(driver.stream(index) + 0xc, 2, random.nasty() & 0xffff);
        break;
      default:
        if (random.below(30) === 0) this.start();
        else driver.write(0x38, 4, random.pick([0, random.below(256)]));
    }
  }

  registerValue(_bar: number, offset: number, value: number): number {
    const driver = this.#driver;
    const word = offset & ~3;
    if (word === 0x40) return driver.corb;
    if (word === 0x50) return driver.rirb;
    if (word === DPLBASE) return driver.positions | (value & 1);
    if (word === 0x44 || word === 0x54 || word === DPLBASE + 4) return random32(value);
    const inStream = (word - R.STREAM_BASE) % R.STREAM_STRIDE;
    if (word >= R.STREAM_BASE && word < R.STREAM_BASE + R.STREAMS * R.STREAM_STRIDE) {
      if (inStream === 0x18) return driver.lists + 0x1000 * (value & 7);
      if (inStream === 0x1c) return random32(value);
    }
    return value;
  }
}

/** An upper half that leads below 4 GiB, or out of memory. */
function random32(value: number): number {
  return value & 1 ? 0 : value;
}
