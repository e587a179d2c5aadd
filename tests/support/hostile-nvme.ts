/** An NVMe driver that makes queues and fills them with good, bad and senseless commands. */
import * as R from '../../devices/nvme/registers.ts';
import type { FakeMachine } from './fake-bus.ts';
import { FAKE_CHUNK_BYTES } from './fake-memory.ts';
import { FakeNvmeDriver, type NvmeSubmission } from './fake-nvme.ts';
import type { FakeRandom } from './fake-random.ts';
import type { HostileDriver, HostileMemory } from './hostile-guest.ts';

const ADMIN_COMMANDS = [
  ...[
    R.ADMIN_DELETE_SQ,
    R.ADMIN_CREATE_SQ,
    R.ADMIN_GET_LOG_PAGE,
    R.ADMIN_DELETE_CQ,
    R.ADMIN_CREATE_CQ,
    R.ADMIN_IDENTIFY,
  ],
  ...[R.ADMIN_ABORT, R.ADMIN_SET_FEATURES, R.ADMIN_GET_FEATURES, R.ADMIN_ASYNC_EVENT_REQUEST, R.ADMIN_FORMAT_NVM],
];
const IO_COMMANDS = [R.IO_READ, R.IO_WRITE, R.IO_READ, R.IO_WRITE, R.IO_FLUSH, R.IO_DATASET_MANAGEMENT];
/** Pages that data may go to: below the untouched part, in the megabytes of the buffers. */
const DATA = FAKE_CHUNK_BYTES;
const DATA_PAGES = FAKE_CHUNK_BYTES / R.PAGE_BYTES - 1;
const NOT_MEMORY = 0x7fff_0000;
const LISTS = 0x80000;

export class HostileNvmeDriver implements HostileDriver {
  readonly #driver: FakeNvmeDriver;

  constructor(
    private readonly machine: FakeMachine,
    slot: number,
    private readonly random: FakeRandom,
    private readonly places: HostileMemory,
  ) {
    this.#driver = new FakeNvmeDriver(machine, slot, places.structuresGpa);
  }

  start(): void {
    this.#driver.start(16);
    for (let id = 1; id <= 3; id++) this.#driver.createQueues(id, this.random.pick([2, 5, 16]));
    this.#driver.completions(0);
  }

  registerValue(bar: number, offset: number, value: number): number {
    if (bar !== 0) return value;
    if (offset >= R.REG_ASQ && offset < R.REG_ACQ_HIGH + 4) {
      return this.random.pick([this.places.structuresGpa, this.places.structuresGpa + 0x2000, 0, NOT_MEMORY]);
    }
    // Most of the time the controller shall be on.
    if (offset >= R.REG_CC && offset < R.REG_CC + 4 && this.random.below(10) > 0) return this.#driver.read(R.REG_CC);
    return value;
  }

  /** A page that data may go to, or one that is none. */
  #page(): number {
    if (this.random.below(30) === 0) return this.random.pick([NOT_MEMORY, 2 ** 52, 0xffff_f000]);
    return DATA + R.PAGE_BYTES * this.random.below(DATA_PAGES);
  }

  step(): void {
    const { random } = this;
    const driver = this.#driver;
    switch (random.below(12)) {
      case 0:
        for (const id of driver.pairs.keys()) driver.completions(id);
        return;
      case 1:
        driver.write(R.DOORBELLS + 4 * random.below(40), random.below(random.pick([4, 20, 0x10000])));
        return;
      case 2:
        if (random.below(40) === 0) driver.write(R.REG_CC, random.pick([0, driver.read(R.REG_CC) | 0x4000, 1]));
        return;
      case 3:
        driver.submit(0, this.#admin());
        return;
      case 4:
        this.#list();
        return;
      default: {
        const queue = 1 + random.below(3);
        driver.submit(queue, this.#io());
        // A second processor changes what it has just handed over.
        const pair = driver.pairs.get(queue);
        if (pair && random.below(4) === 0) {
          this.machine.memory.writeU8(pair.sqGpa + 64 * random.below(pair.size) + random.below(24), random.below(256));
          this.#list();
        }
        driver.completions(queue);
      }
    }
  }

  /** Entries of a PRP list change. */
  #list(): void {
    const at = this.places.structuresGpa + LISTS + 8 * this.random.below(1024);
    for (let i = 0; i < 8; i++) {
      const leadsOn = this.random.below(6) === 0;
      this.machine.memory.writeU64(at + 8 * i, BigInt(leadsOn ? this.#listAddress() : this.#page()));
    }
  }

  #listAddress(): number {
    return this.places.structuresGpa + LISTS + this.random.pick([0, 0xff8, 0xff0, 8 * this.random.below(1024), 3]);
  }

  #io(): NvmeSubmission {
    const { random } = this;
    return {
      opcode: random.pick([random.below(256), ...IO_COMMANDS]),
      flags: random.below(40) === 0 ? random.below(256) : 0,
      namespaceId: random.below(30) === 0 ? random.nasty() : 1,
      prp1: this.#page() + (random.below(3) === 0 ? random.below(R.PAGE_BYTES) : 0),
      prp2: random.pick([this.#page(), this.#listAddress(), this.#listAddress()]),
      dwords: [
        random.pick([random.below(130), random.nasty()]),
        random.below(20) === 0 ? random.nasty() : random.pick([0, 4]),
        random.pick([random.below(8), random.below(40), random.nasty()]),
      ],
    };
  }

  #admin(): NvmeSubmission {
    const { random } = this;
    const opcode = random.pick([random.below(256), ...ADMIN_COMMANDS]);
    const isQueue = opcode <= R.ADMIN_CREATE_CQ && opcode !== R.ADMIN_GET_LOG_PAGE;
    return {
      opcode,
      namespaceId: random.pick([0, 1, 0xffffffff]),
      prp1: isQueue ? this.places.structuresGpa + 0x40000 + R.PAGE_BYTES * random.below(64) : this.#page(),
      prp2: this.#page(),
      dwords: [
        random.pick([random.below(12), random.below(12) | (random.below(64) << 16), random.nasty()]),
        random.pick([1, 3, (random.below(18) << 16) | 3, random.nasty()]),
        random.pick([0, random.nasty()]),
        random.pick([0, random.nasty()]),
      ],
    };
  }
}
