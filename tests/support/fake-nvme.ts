/** The driver's side of an NVMe controller: queues and commands in fake guest memory. */
import * as R from '../../devices/nvme/registers.ts';
import type { FakeMachine } from './fake-bus.ts';

export interface NvmeSubmission {
  readonly opcode: number;
  readonly id?: number;
  readonly flags?: number;
  readonly namespaceId?: number;
  readonly prp1?: number;
  readonly prp2?: number;
  /** Command dwords from 10 on. */
  readonly dwords?: readonly number[];
}

export interface NvmeCompletion {
  readonly id: number;
  /** Without the phase bit and "do not retry". */
  readonly status: number;
  readonly result: number;
  readonly head: number;
}

interface Pair {
  readonly sqGpa: number;
  readonly cqGpa: number;
  readonly size: number;
  tail: number;
  head: number;
  phase: number;
}

export class FakeNvmeDriver {
  readonly pairs = new Map<number, Pair>();
  #nextId = 0;

  constructor(
    readonly machine: FakeMachine,
    readonly slot = 3,
    readonly base = 0x20000,
  ) {}

  /** Where the registers are now. */
  get bar(): number {
    return this.machine.bar(this.slot, 0);
  }

  read(register: number): number {
    return this.machine.mmio.read(this.bar + register, 4);
  }

  write(register: number, value: number): void {
    this.machine.mmio.write(this.bar + register, 4, value >>> 0);
  }

  #pair(id: number, size: number): Pair {
    const sqGpa = this.base + id * 0x4000;
    const cqGpa = sqGpa + 0x2000;
    this.machine.memory.fill(sqGpa, 0x4000, 0);
    const pair = { sqGpa, cqGpa, size, tail: 0, head: 0, phase: 1 };
    this.pairs.set(id, pair);
    return pair;
  }

  /** Messages have the vector as data. */
  enableMsix(vectors: number): void {
    const { machine, slot } = this;
    const capability = machine.capability(slot, 0x11);
    machine.setConfig(slot, capability + 2, 2, 0x8000);
    const table = machine.bar(slot, 4);
    for (let vector = 0; vector < vectors; vector++) {
      machine.mmio.write(table + 16 * vector, 4, 0xfee00000);
      machine.mmio.write(table + 16 * vector + 8, 4, vector);
      machine.mmio.write(table + 16 * vector + 12, 4, 0);
    }
  }

  start(size = 16): void {
    this.write(R.REG_CC, 0);
    this.pairs.clear();
    const admin = this.#pair(0, size);
    this.write(R.REG_AQA, ((size - 1) << 16) | (size - 1));
    this.write(R.REG_ASQ, admin.sqGpa);
    this.write(R.REG_ASQ_HIGH, 0);
    this.write(R.REG_ACQ, admin.cqGpa);
    this.write(R.REG_ACQ_HIGH, 0);
    this.write(R.REG_CC, (4 << 20) | (6 << 16) | R.CC_EN);
  }

  /** An I/O queue pair with its own vector. */
  createQueues(id: number, size = 16): void {
    const { sqGpa, cqGpa } = this.#pair(id, size);
    const first = ((size - 1) << 16) | id;
    this.submit(0, { opcode: R.ADMIN_CREATE_CQ, prp1: cqGpa, dwords: [first, (id << 16) | 3] });
    this.submit(0, { opcode: R.ADMIN_CREATE_SQ, prp1: sqGpa, dwords: [first, (id << 16) | 1] });
  }

  /** Writes a command into a queue and rings; its id. */
  submit(queue: number, submission: NvmeSubmission): number {
    const pair = this.pairs.get(queue);
    if (!pair) throw new Error(`no queue ${queue}`);
    const { memory } = this.machine;
    const id = submission.id ?? this.#nextId++ & 0xffff;
    const { opcode, flags = 0, namespaceId = queue === 0 ? 0 : 1, prp1 = 0, prp2 = 0, dwords = [] } = submission;
    const entry = new Uint8Array(64);
    const view = new DataView(entry.buffer);
    view.setUint32(0, (opcode | (flags << 8) | (id << 16)) >>> 0, true);
    view.setUint32(4, namespaceId, true);
    view.setBigUint64(24, BigInt(prp1), true);
    view.setBigUint64(32, BigInt(prp2), true);
    dwords.forEach((value, index) => view.setUint32(40 + 4 * index, value >>> 0, true));
    memory.write(pair.sqGpa + 64 * pair.tail, entry);
    pair.tail = (pair.tail + 1) % pair.size;
    this.write(R.DOORBELLS + 8 * queue, pair.tail);
    return id;
  }

  /** Takes the completions that have come, and tells the controller. */
  completions(queue: number): NvmeCompletion[] {
    const pair = this.pairs.get(queue);
    if (!pair) return [];
    const { memory } = this.machine;
    const list: NvmeCompletion[] = [];
    for (let count = 0; count < pair.size; count++) {
      const at = pair.cqGpa + 16 * pair.head;
      const last = memory.readU32(at + 12);
      if (((last >>> 16) & 1) !== pair.phase) break;
      const status = (last >>> 17) & 0x3fff;
      list.push({ id: last & 0xffff, status, result: memory.readU32(at), head: memory.readU16(at + 8) });
      pair.head = (pair.head + 1) % pair.size;
      if (pair.head === 0) pair.phase ^= 1;
    }
    if (list.length > 0) this.write(R.DOORBELLS + 8 * queue + 4, pair.head);
    return list;
  }
}
